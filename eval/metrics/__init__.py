"""Metrics of probabilities and labels; the validation rows that some are found on."""
