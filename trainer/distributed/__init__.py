"""Replicas and workers: strategy, exchange, agreement, heartbeat, shutdown."""
