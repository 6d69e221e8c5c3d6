"""Formats of model files: manifests, metadata, graphs; folders written atomically."""
