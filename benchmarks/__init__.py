"""Benchmarks that measure the numbers in docs/; not part of the toolkit."""
