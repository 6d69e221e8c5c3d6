"""A study: many trials of the trainer, and one table of them."""
