"""Platforms: what each scheduler tells a worker, and the jobs written for it."""
