"""The images that judge a model, and the options that name them."""
