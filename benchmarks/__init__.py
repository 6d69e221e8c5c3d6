"""What the numbers in docs/ are made with; not part of the toolkit."""
