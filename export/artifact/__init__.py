"""Inputs, verification and manifest, which every export shares."""
