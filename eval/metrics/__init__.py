"""Metrics of probabilities and labels: accuracy, calibration, significance."""
