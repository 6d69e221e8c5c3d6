"""Preprocessing: an image file to the pixels that networks see.

One specification and one implementation, used by the store, by `eval.predict` and by
whatever else opens image files. Pillow decodes; nothing here depends on TensorFlow.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from trainer import files
from trainer.config.enums import Resize
from trainer.errors import first_line

# The formats that are opened, by Pillow's names. JPEG includes MPO: files of cameras
# that keep a preview beside the picture.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".dib", ".webp"}
    | {".tif", ".tiff"}
)
VERSION = 3  # of the rules below: it changes when a file may give other pixels
GREY = 128  # around a letterboxed image: zero after normalisation
BACKGROUND = 255  # white, under what is transparent
MAX_FILE_BYTES = 1 << 30
MAX_PIXELS = 178_956_970  # of a file: where Pillow, too, suspects a decompression bomb
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})
# What Pillow's decoders raise for damaged files of these formats.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)
_DAMAGE += (OverflowError, ZeroDivisionError, struct.error, AttributeError)


class UnreadableImage(ValueError):
    """A file that is no picture that can be used; the message is the reason alone."""


@dataclasses.dataclass(frozen=True)
class PixelSpec:
    """How an image file becomes pixels.

    An image of just this height and width is not resampled. Others are resampled by
    Pillow's bilinear filter, which is as wide as the reduction (antialiased).

    Attributes:
        height, width: in pixels.
        channels: 1 (grey: ITU-R 601-2 luma) or 3 (RGB).
        resize: what happens to an image of another shape.
    """

    height: int
    width: int
    channels: int
    resize: Resize = Resize.CROP

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.height, self.width, self.channels

    def __str__(self) -> str:
        """In words, for people."""
        kind = "grey" if self.channels == 1 else "RGB"
        return f"{self.height} x {self.width} {kind}, {self.resize.value}"

    def to_json(self) -> dict[str, Any]:
        """The specification in words and numbers, as manifests record it."""
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "resize": self.resize.value,
            "filter": "bilinear, antialiased",
            "orientation": "EXIF",
            "letterbox_grey": GREY,
            "transparency_background": BACKGROUND,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "PixelSpec":
        """The PixelSpec that `to_json` described."""
        sizes = (int(fields[name]) for name in ("height", "width", "channels"))
        return cls(*sizes, Resize(fields["resize"]))


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """What the header of an image file says.

    Attributes:
        height, width: upright, as `decode` gives it.
        channels: 1 where the file has no colour, otherwise 3.
        format: by Pillow's name, e.g. "JPEG".
        mode: of its pixels, by Pillow's name, e.g. "RGB".
    """

    height: int
    width: int
    channels: int
    format: str
    mode: str


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file.

    Raises:
        OSError: it cannot be opened, is no regular file, or is larger than
            MAX_FILE_BYTES.
    """
    return files.read_bytes(path, MAX_FILE_BYTES)


def probe(content: bytes | pathlib.Path) -> ImageInfo:
    """Looks at the header of an image file: its bytes or its path.

    Raises:
        UnreadableImage: it is not a picture of a known format, or far too large.
        OSError: the file cannot be opened.
    """
    with _open(content) as image:
        height, width = image.height, image.width
        if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
            height, width = width, height
        return ImageInfo(
            height, width, _channels(image), image.format or "", image.mode
        )


def decode(content: bytes | pathlib.Path, spec: PixelSpec) -> np.ndarray:
    """The pixels of an image file, its bytes or its path: uint8 [H, W, C].

    The first frame, upright, on a white background, 16 bits divided by 257, in the size
    of `spec`.

    Raises:
        UnreadableImage: it is damaged, of an unknown format, or far too large.
        OSError: the file cannot be opened.
    """
    with _open(content) as image:
        ImageOps.exif_transpose(image, in_place=True)
        flat = _flatten(image, spec.channels)
        sized = resize(flat, spec)
        return np.asarray(sized, np.uint8).reshape(spec.shape)


@contextlib.contextmanager
def _open(content: bytes | pathlib.Path) -> Iterator[Image.Image]:
    """Opens a file; says what is wrong with it in an UnreadableImage."""
    data = content if isinstance(content, bytes) else read_file(content)
    if not data:
        raise UnreadableImage("the file is empty")
    Image.init()  # all formats; done once
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of large images
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(image)
                yield image
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError as error:
        raise UnreadableImage("no picture of a known format") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"over {MAX_PIXELS:,} pixels") from error
    except MemoryError as error:
        raise UnreadableImage("it does not fit into memory") from error
    except _DAMAGE as error:
        raise UnreadableImage(f"damaged: {first_line(error)}") from error


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        raise UnreadableImage(f"{size} is over {MAX_PIXELS:,} pixels")
    if image.width == 0 or image.height == 0:
        raise UnreadableImage("it has no pixels")


def _channels(image: Image.Image) -> int:
    if image.mode in _GREY_MODES:
        return 1
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return 1 if (palette == palette[:, :1]).all() else 3
    return 3


def _flatten(image: Image.Image, channels: int) -> Image.Image:
    """Grey or RGB of 8 bits, with what is transparent on white."""
    image = _reduce_depth(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, (BACKGROUND,) * 3 + (255,))
        image.alpha_composite(layer)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _reduce_depth(image: Image.Image) -> Image.Image:
    """8 bits of 16; other modes as they are."""
    if image.mode == "F":
        raise UnreadableImage("its pixels are fractions; whole numbers are needed")
    if not image.mode.startswith("I"):
        return image
    wide = np.asarray(image).astype(np.int64)
    if wide.min(initial=0) < 0 or wide.max(initial=0) > 65535:
        raise UnreadableImage("its pixels have more than 16 bits")
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8))


def resize(image: Image.Image, spec: PixelSpec) -> Image.Image:
    """Brings a grey or RGB image to the height and width of `spec`."""
    target = (spec.width, spec.height)
    if image.size == target:
        return image
    across, down = (spec.width / image.width), (spec.height / image.height)
    match spec.resize:
        case Resize.SQUASH:
            return _resample(image, (0, 0, *image.size), target)
        case Resize.CROP:
            scale = max(across, down)
            width, height = spec.width / scale, spec.height / scale
            # Rounded, they may exceed the image by the last bit, which Pillow refuses.
            width, height = min(width, image.width), min(height, image.height)
            left, top = (image.width - width) / 2, (image.height - height) / 2
            right, bottom = left + width, top + height
            box = (left, top, min(right, image.width), min(bottom, image.height))
            return _resample(image, box, target)
        case Resize.LETTERBOX:
            return _letterbox(image, target, min(across, down))


def _resample(
    image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]
) -> Image.Image:
    """Resamples a box of an image (left, top, right, bottom) to a width and height.

    Columns, then rows. Pillow 13 chooses the order by the sizes, which changes a fifth
    of the images by 1; a graph or a page could not follow it.
    """
    left, top, right, bottom = box
    bilinear, width = Image.Resampling.BILINEAR, size[0]
    columns = (left, 0, right, image.height)
    narrow = image.resize((width, image.height), bilinear, box=columns)
    return narrow.resize(size, bilinear, box=(0, top, width, bottom))


def _letterbox(
    image: Image.Image, target: tuple[int, int], scale: float
) -> Image.Image:
    """The whole image, as large as fits, in the middle of grey."""
    size = tuple(
        min(limit, max(1, round(side * scale)))
        for side, limit in zip(image.size, target, strict=True)
    )
    inner = _resample(image, (0, 0, *image.size), size)
    whole = Image.new(image.mode, target, GREY if image.mode == "L" else (GREY,) * 3)
    whole.paste(inner, ((target[0] - size[0]) // 2, (target[1] - size[1]) // 2))
    return whole
