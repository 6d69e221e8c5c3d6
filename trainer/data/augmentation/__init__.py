"""Augmentation of a batch, from stateless random streams."""
