"""Training from weights that were trained before."""
