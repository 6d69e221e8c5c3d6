"""How pixels are normalised: (pixel - PIXEL_MEAN) / PIXEL_STD.

Exact in every precision that networks are trained in. A quantised input has scale
1 / PIXEL_STD and zero point PIXEL_MEAN: it is the pixel. Without TensorFlow, so that
exported files can be described and run without it.
"""

PIXEL_MEAN, PIXEL_STD = 128, 128
NORMALIZED = f"(pixel - {PIXEL_MEAN}) / {PIXEL_STD}"  # as manifests say it
