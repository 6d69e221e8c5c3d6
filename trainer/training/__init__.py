"""Training: session, loop, compiled step and callbacks."""
