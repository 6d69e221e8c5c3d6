"""Runtimes of model files: LiteRT's two programming interfaces, and ONNX Runtime."""
