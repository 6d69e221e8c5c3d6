"""Finds a network by name and checks its options, before TensorFlow is imported."""
