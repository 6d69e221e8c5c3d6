"""Inputs, network with its normalisation, verification and manifest of all exports."""
