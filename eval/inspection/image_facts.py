"""ImageFacts: what one image of a data set is, measured on its pixels."""

import dataclasses
import hashlib
import os

import numpy as np
from PIL import Image

from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec, UnreadableImage

LUMA_SIDE, CHROMA_SIDE = 16, 4  # cells of a signature
SIGNATURE_SIZE = LUMA_SIDE**2 + 2 * CHROMA_SIDE**2
PLANES = (LUMA_SIDE**2, LUMA_SIDE**2 + CHROMA_SIDE**2)  # where its planes end
SHARPNESS_SIDE = 256  # pixels of the longer side on which sharpness is measured
SMALL_SIDE = 16  # pixels; a shorter side is odd
LONG_RATIO = 4  # of the sides; a longer picture is odd
_EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "PNG": {".png"},
    "GIF": {".gif"},
    "BMP": {".bmp", ".dib"},
    "WEBP": {".webp"},
    "TIFF": {".tif", ".tiff"},
}


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image is.

    Attributes:
        format, mode: by Pillow's names; "array" for pixels of no file.
        height, width: in pixels, upright.
        channels: 1 where there is no colour, otherwise 3.
        bytes: size of the file, or of the pixels.
        odd: what is unusual about it, in words.
        file_sha256: of the file, b"" for pixels of no file.
        pixels_sha256: of height, width and decoded pixels as RGB.
        brightness: mean luma, 0 to 255.
        sharpness: variance of the Laplacian of the luma, at most SHARPNESS_SIDE pixels
            wide and high (Pech-Pacheco et al. 2000).
        signature: float32 [SIGNATURE_SIZE], the picture from afar: means of luma in
            16 x 16 cells and of both chromas in 4 x 4 (YCbCr of JPEG), 0 to 255.
    """

    format: str
    mode: str
    height: int
    width: int
    channels: int
    bytes: int
    odd: tuple[str, ...]
    file_sha256: bytes
    pixels_sha256: bytes
    brightness: float
    sharpness: float
    signature: np.ndarray


def measure_file(content: bytes, name: str) -> ImageFacts:
    """Measures an image file, its bytes, that is called `name`.

    Raises:
        UnreadableImage: it cannot be used; the message is the reason.
    """
    info = preprocessing.probe(content)
    pixels = preprocessing.decode(content, PixelSpec(info.height, info.width, 3))
    described = {
        "format": info.format,
        "mode": info.mode,
        "channels": info.channels,
        "bytes": len(content),
        "odd": (
            *_find_odd_format(info.format, info.mode, name),
            *_find_odd_size(pixels),
        ),
        "file_sha256": hashlib.sha256(content).digest(),
    }
    return _measure(pixels, described)


def measure_pixels(image: np.ndarray) -> ImageFacts:
    """Measures pixels, uint8 [H, W, C].

    Raises:
        UnreadableImage: they have neither one channel nor three.
    """
    channels = image.shape[2]
    if channels not in (1, 3):
        raise UnreadableImage(f"it has {channels} channels; 1 or 3 can be shown")
    described = {
        "format": "array",
        "mode": "L" if channels == 1 else "RGB",
        "channels": channels,
        "bytes": image.nbytes,
        "odd": _find_odd_size(image),
        "file_sha256": b"",
    }
    return _measure(np.repeat(image, 3, 2) if channels == 1 else image, described)


def _measure(pixels: np.ndarray, described: dict[str, object]) -> ImageFacts:
    """Measures RGB pixels uint8 [H, W, 3]; `described` holds the other facts."""
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels))
    image = _reduce(Image.fromarray(pixels), SHARPNESS_SIDE)
    luma, *chroma = (part.convert("F") for part in image.convert("YCbCr").split())
    values = np.asarray(luma)
    return ImageFacts(
        height=pixels.shape[0],
        width=pixels.shape[1],
        pixels_sha256=digest.digest(),
        brightness=float(values.mean()),
        sharpness=_laplacian_variance(values),
        signature=np.concatenate(
            [_cells(luma, LUMA_SIDE), *(_cells(part, CHROMA_SIDE) for part in chroma)]
        ),
        **described,
    )


def _reduce(image: Image.Image, side: int) -> Image.Image:
    """Means of whole blocks of pixels, so that the longer side has about `side`."""
    factor = max(1, round(max(image.size) / side))
    shorter = max(1, min(image.size))
    return image.reduce(min(factor, shorter)) if factor > 1 else image


def _cells(part: Image.Image, side: int) -> np.ndarray:
    """Means of a plane of floats in `side` x `side` cells: float32 [side * side]."""
    cells = part.resize((side, side), Image.Resampling.BOX)
    return np.asarray(cells, np.float32).ravel()


def _laplacian_variance(luma: np.ndarray) -> float:
    if min(luma.shape) < 3:
        return 0.0
    middle = luma[1:-1, 1:-1]
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float(np.var(around - 4 * middle))


def _find_odd_format(kind: str, mode: str, name: str) -> list[str]:
    odd = []
    ending = os.path.splitext(name)[1].lower()
    if ending not in _EXTENSIONS.get(kind, ()):
        called = f"is called {ending}" if ending else "has no extension"
        odd.append(f"a {kind} file that {called}")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        odd.append("it has transparency, which is put on white")
    if mode == "CMYK":
        odd.append("its colours are for printing (CMYK)")
    if mode.startswith("I"):
        odd.append("it has 16 bits, which are reduced to 8")
    if mode == "1":
        odd.append("it is black and white alone")
    return odd


def _find_odd_size(pixels: np.ndarray) -> tuple[str, ...]:
    height, width = pixels.shape[:2]
    shown = f"{width} x {height} pixels"
    if max(height, width) > LONG_RATIO * min(height, width):
        return (f"it is long: {shown}",)
    return (f"it is small: {shown}",) if min(height, width) < SMALL_SIDE else ()
