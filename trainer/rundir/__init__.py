"""Run directory: layout, lease, checkpoints, resume."""
