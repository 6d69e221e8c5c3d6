"""Probabilities and labels to numbers: accuracy, calibration, significance."""
