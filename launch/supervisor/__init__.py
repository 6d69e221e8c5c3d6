"""Supervisor: starts the workers of one job, watches them and restarts the group."""
