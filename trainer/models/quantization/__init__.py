"""Quantisation-aware fine-tuning: fake quantisation of a finished network."""
