"""Abstention: thresholds of runs and files, and what is refused."""
