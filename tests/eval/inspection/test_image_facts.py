"""ImageFacts: what a file is, in words and numbers."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from eval.inspection.image_facts import SIGNATURE_SIZE, measure_file, measure_pixels
from trainer.data.preprocessing import UnreadableImage

GENERATOR = np.random.default_rng(0)
PHOTO = Image.fromarray(GENERATOR.integers(0, 256, (60, 80, 3), np.uint8))


def encode(image: Image.Image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_file_and_its_pixels_have_the_same_facts():
    file = measure_file(encode(PHOTO), "a.png")
    pixels = measure_pixels(np.asarray(PHOTO))
    assert (file.format, file.mode, file.channels) == ("PNG", "RGB", 3)
    assert (file.height, file.width, file.odd) == (60, 80, ())
    assert file.pixels_sha256 == pixels.pixels_sha256
    np.testing.assert_array_equal(file.signature, pixels.signature)
    assert file.signature.shape == (SIGNATURE_SIZE,)


ODD = {
    "a.jpg": (PHOTO, "a PNG file that is called .jpg"),
    "a": (PHOTO, "no extension"),
    "alpha.png": (PHOTO.convert("RGBA"), "transparency"),
    "long.png": (PHOTO.resize((100, 20)), "long"),
    "small.png": (PHOTO.resize((9, 12)), "small"),
    "deep.png": (Image.fromarray(np.zeros((20, 20), np.uint16)), "16 bits"),
    "lines.png": (PHOTO.convert("1"), "black and white"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_said(name):
    image, said = ODD[name]
    assert said in " ".join(measure_file(encode(image), name).odd)


def test_print_colours_are_odd():
    found = measure_file(encode(PHOTO.convert("CMYK"), "JPEG"), "a.JPG")
    assert found.odd == ("its colours are for printing (CMYK)",)


def test_blur_and_light_are_measured():
    sharp = measure_file(encode(PHOTO), "a.png")
    blurred = PHOTO.filter(ImageFilter.GaussianBlur(2))
    assert measure_file(encode(blurred), "a.png").sharpness < sharp.sharpness / 10
    for level in (0, 100, 255):
        flat = measure_pixels(np.full((5, 2, 1), level, np.uint8))
        assert flat.brightness == pytest.approx(level, abs=0.6) and flat.sharpness == 0


def test_pixels_that_cannot_be_shown_and_files_that_are_none():
    with pytest.raises(UnreadableImage, match="4 channels"):
        measure_pixels(np.zeros((5, 5, 4), np.uint8))
    with pytest.raises(UnreadableImage):
        measure_file(b"none", "a.png")
