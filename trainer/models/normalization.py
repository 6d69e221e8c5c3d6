"""Normalisation of pixels: (pixel - PIXEL_MEAN) / PIXEL_STD.

It is exact in every precision that networks are trained in. A quantised input has scale
1 / PIXEL_STD and zero point PIXEL_MEAN, so its integers are the pixels. This module
does not import TensorFlow, so that exported files can be described and run without it.
"""

PIXEL_MEAN, PIXEL_STD = 128, 128
NORMALIZED = f"(pixel - {PIXEL_MEAN}) / {PIXEL_STD}"  # the text in manifests
