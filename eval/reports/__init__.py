"""Evaluation reports: data, charts and pages of one model or of several."""
