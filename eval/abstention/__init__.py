"""Abstention: thresholds of runs and files, below which a model does not answer."""
