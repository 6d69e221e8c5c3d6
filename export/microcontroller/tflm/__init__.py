"""C source for TensorFlow Lite Micro, and the interpreter that checks it."""
