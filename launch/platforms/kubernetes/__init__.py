"""Kinds of Kubernetes: each reads its workers and builds its manifests."""
