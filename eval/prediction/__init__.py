"""Prediction: image files to classes and probabilities by any model."""
