"""Corrupted test images, and images of no class at all."""
