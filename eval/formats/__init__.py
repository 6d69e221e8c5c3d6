"""Formats of model files: manifests, metadata and graphs; atomic folders."""
