"""Latency, memory and size of exported files, each measured in its own process."""
