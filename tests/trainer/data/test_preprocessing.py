"""An image file becomes the pixels that Pillow gives, whatever its format."""

import io

import numpy as np
import pytest
from PIL import Image

from trainer.config.enums import Resize
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec, UnreadableImage, decode, probe

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
SPEC = PixelSpec(20, 30, 3)


def encode(image: Image.Image | np.ndarray, form: str = "PNG", **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pillow(content: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert(mode))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_as_they_were(form):
    assert (decode(encode(RGB, form), SPEC) == RGB).all()


@pytest.mark.parametrize(
    "content",
    [
        encode(RGB, "JPEG", progressive=True),
        encode(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
        encode(RGB, "WEBP"),
        encode(Image.fromarray(RGB).convert("P"), "GIF"),
        encode(Image.fromarray(RGB).convert("P"), "PNG"),
        encode(Image.fromarray(RGB).convert("YCbCr"), "TIFF"),
    ],
)
def test_every_format_gives_what_pillow_gives(content):
    assert (decode(content, SPEC) == pillow(content)).all()
    assert probe(content).channels == 3


UPRIGHT = {  # by EXIF's orientation
    1: RGB,
    2: RGB[:, ::-1],
    3: RGB[::-1, ::-1],
    4: RGB[::-1],
    5: RGB.swapaxes(0, 1),
    6: np.rot90(RGB, -1),
    7: RGB[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(RGB),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_turned_photograph_is_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content, wanted = encode(RGB, "PNG", exif=exif), UPRIGHT[orientation]
    found = probe(content)
    assert (found.height, found.width) == wanted.shape[:2]
    assert (decode(content, PixelSpec(*wanted.shape)) == wanted).all()


def test_grey_files_have_one_channel_and_16_bits_become_8():
    wide = np.array([[0, 257, 65535, 128, 129]], np.uint16)
    content = encode(Image.fromarray(wide))
    assert probe(content).channels == 1
    found = decode(content, PixelSpec(1, 5, 1))
    assert found[0, :, 0].tolist() == [0, 1, 255, 0, 1]
    grey = encode(Image.fromarray(RGB).convert("L"))
    assert (decode(grey, PixelSpec(20, 30, 1))[..., 0] == pillow(grey, "L")).all()
    palette = encode(Image.fromarray(RGB).convert("L").convert("P"), "GIF")
    assert probe(palette).channels == 1


def test_what_is_transparent_is_white():
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (decode(encode(clear), PixelSpec(4, 4, 3)) == 255).all()
    half = Image.new("LA", (4, 4), (0, 255))
    assert (decode(encode(half), PixelSpec(4, 4, 1)) == 0).all()


def test_a_gif_gives_its_first_frame():
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 200)]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(content, PixelSpec(8, 8, 1)) == 0).all()


@pytest.mark.parametrize("how", Resize)
@pytest.mark.parametrize("size", [(40, 60), (200, 31), (1, 500), (7, 9)])
def test_every_size_becomes_the_wanted_one(how, size):
    image = np.full((*size, 3), 77, np.uint8)
    found = decode(encode(image), PixelSpec(20, 30, 3, how))
    assert found.shape == (20, 30, 3)
    allowed = {77, preprocessing.GREY} if how is Resize.LETTERBOX else {77}
    assert set(np.unique(found)) <= allowed
    assert 77 in found


def test_crop_keeps_the_middle_and_squash_the_edges():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    content = encode(wide)
    assert (decode(content, PixelSpec(10, 10, 3, Resize.CROP)) == 255).all()
    squashed = decode(content, PixelSpec(10, 10, 3, Resize.SQUASH))
    assert squashed[0, 0, 0] == 0
    assert squashed[0, 5, 0] == 255
    boxed = decode(content, PixelSpec(30, 30, 3, Resize.LETTERBOX))
    assert (boxed[:10] == preprocessing.GREY).all()
    assert (boxed[10:20] == wide).all()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"no picture", "known format"),
        (encode(RGB)[:100], "damaged"),
        (encode(RGB, "JPEG")[:-200], "damaged"),
        (encode(np.ones((4, 4), np.float32), "TIFF"), "fractions"),
        (encode(Image.new("1", (60_000, 6_000))), "pixels"),
    ],
)
def test_what_cannot_be_read_says_why(content, why):
    with pytest.raises(UnreadableImage, match=why):
        decode(content, SPEC)


def test_a_specification_survives_json():
    spec = PixelSpec(96, 128, 3, Resize.LETTERBOX)
    assert PixelSpec.from_json(spec.to_json()) == spec
