"""A quantised `.tflite` as plain C99 that needs no library."""
