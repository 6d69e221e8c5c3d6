"""Exports for ONNX Runtime and other readers of ONNX; needs optional packages."""
