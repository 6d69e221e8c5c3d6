"""Distillation: a finished run teaches another one through its soft labels."""
