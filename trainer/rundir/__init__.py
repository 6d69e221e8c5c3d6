"""Run directory: layout, lease, checkpoints and resume."""
