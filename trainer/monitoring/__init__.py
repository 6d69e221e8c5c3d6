"""Monitoring: progress, metrics.jsonl, TensorBoard, pictures, Kubeflow status."""
