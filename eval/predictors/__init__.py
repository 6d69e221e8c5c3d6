"""Predictors: any model file as a function from uint8 images to probabilities."""
