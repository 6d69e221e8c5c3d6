"""The images that judge a model, and images that two splits have in common."""
