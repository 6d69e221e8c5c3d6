"""Trains a small image classifier, exactly, on one device or many.

Synopsis::

    python -m trainer.main --strategy=mirrored --dataset=digits --epochs=5
"""
