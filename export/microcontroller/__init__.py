"""C source for microcontrollers: for TensorFlow Lite Micro, or for no library."""
