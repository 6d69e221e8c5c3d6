"""Signatures of exported files, and lists of what they were made with."""
