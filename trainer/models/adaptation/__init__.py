"""Adapts Keras models to training that is exact: see `adapter`."""
