"""Distillation: trains a student on the soft labels of a finished run."""
