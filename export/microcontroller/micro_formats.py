"""TensorFlow Lite Micro: its package and the number formats it has kernels for."""

from export.artifact.number_formats import Io, Scheme

PACKAGE = "tflite-micro"  # optional
# The type of input and output: these files cannot CAST uint8.
MICRO_IO = {
    Scheme.INT8: Io.INT8,
    Scheme.INT16X8: Io.INT16,
    Scheme.FLOAT32: Io.FLOAT32,
}
ACTIVATION_BYTES = {Scheme.INT8: 1, Scheme.INT16X8: 2, Scheme.FLOAT32: 4}
