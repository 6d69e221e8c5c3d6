"""Training: the session, its loop, the compiled step and its callbacks."""
