"""Accuracy under corruptions of the test images."""
