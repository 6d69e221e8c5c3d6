"""Images of every kind that phones, cameras and programs write."""

import io
import random

import numpy as np
from PIL import Image

# Format, mode and the options to save them with.
KINDS = {
    "jpeg": ("JPEG", "RGB", {"quality": 85}),
    "jpeg progressive": ("JPEG", "RGB", {"quality": 60, "progressive": True}),
    "jpeg grey": ("JPEG", "L", {"quality": 90}),
    "jpeg 4:2:0": ("JPEG", "RGB", {"quality": 75, "subsampling": 2}),
    "jpeg cmyk": ("JPEG", "CMYK", {"quality": 90}),
    "png": ("PNG", "RGB", {}),
    "png grey": ("PNG", "L", {}),
    "png alpha": ("PNG", "RGBA", {}),
    "png grey alpha": ("PNG", "LA", {}),
    "png palette": ("PNG", "P", {}),
    "png 1 bit": ("PNG", "1", {}),
    "png 16 bit": ("PNG", "I;16", {}),
    "gif": ("GIF", "P", {}),
    "bmp": ("BMP", "RGB", {}),
    "webp": ("WEBP", "RGB", {"lossless": True}),
    "tiff": ("TIFF", "RGB", {}),
    "tiff 16 bit": ("TIFF", "I;16", {}),
}
IN_GRAPH = [name for name in KINDS if name.startswith(("jpeg", "png", "bmp"))]
SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp"}
SUFFIX |= {"WEBP": ".webp", "TIFF": ".tif"}


def encode_image(
    kind: str, size: tuple[int, int], seed: int, orientation: int | None = None
) -> bytes:
    """An image file of random smooth pixels; `size` is height and width."""
    form, mode, options = KINDS[kind]
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, 4), np.uint8)
    smooth = Image.fromarray(coarse, "RGBA").resize(
        size[::-1], Image.Resampling.BICUBIC
    )
    noise = rng.integers(-20, 20, (*size, 4))
    pixels = np.clip(np.asarray(smooth).astype(int) + noise, 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels, "RGBA")
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, size, np.uint16))
    elif mode == "P":
        image = image.convert("RGB").quantize(64)
    elif mode != "RGBA":
        image = (
            image.convert("RGB").convert(mode) if mode != "LA" else image.convert(mode)
        )
    if orientation is not None and form in ("JPEG", "PNG"):
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = options | {"exif": exif}
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def sample_image(
    generator: random.Random, kinds: list[str] | None = None
) -> tuple[str, bytes]:
    """An image of a random kind, size and orientation: its kind and its content."""
    kind = generator.choice(kinds or list(KINDS))
    size = (generator.randint(1, 120), generator.randint(1, 120))
    orientation = generator.choice([None, None, *range(1, 9)])
    return kind, encode_image(kind, size, generator.randrange(2**32), orientation)
