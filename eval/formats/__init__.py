"""What model files say of themselves: manifests, metadata, graphs."""
