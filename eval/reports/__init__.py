"""Evaluation reports: data, plots and HTML of one model or of several side by side."""
