"""Inspection of a data set: what is wrong with its images, before a training."""
