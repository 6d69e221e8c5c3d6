"""Inputs, verification and manifest, shared by all exports."""
