"""Programs make the pixels of training of a picture, of any size and kind."""

import io
import pathlib
import random
import runpy
import subprocess

import numpy as np
import pytest
from PIL import Image

from eval.formats import input_normalization
from eval.formats.input_normalization import InputNormalization
from export.artifact.number_formats import Io
from export.examples import lite_programs, source_templates
from tests.support import c_projects, odd_images, program_facts
from trainer.config.enums import Resize
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec

SHAPES = [(8, 12, 3), (16, 9, 1)]
# Reads pictures as classify.cc does, and prints their pixels.
READER = """
#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum {{ HEIGHT = {0}, WIDTH = {1}, CHANNELS = {2}, CLASSES = 1 }};
enum {{ CROP, LETTERBOX, SQUASH, RESIZE = {3} }};
static const double THRESHOLD = 0;
static const char *const LABELS[] = {{"a"}};
{4}
int main(int argc, char **argv) {{
  const double one = 1;
  for (int i = 1; i < argc; ++i) {{
    const Picture picture = fit(flatten(read_picture(argv[i])));
    fwrite(picture.data, 1, HEIGHT * WIDTH * CHANNELS, stdout);
    free(picture.data);
  }}
  if (argc < 2) describe("", &one);
  return 0;
}}
"""


def load_program(folder: pathlib.Path, **changes) -> dict:
    """The functions of classify.py for a manifest with `changes`."""
    text = lite_programs.format_programs("a.tflite", program_facts.facts(**changes))
    (folder / "classify.py").write_text(text["classify.py"])
    return runpy.run_path(str(folder / "classify.py"))


@pytest.mark.parametrize("resize", Resize)
@pytest.mark.parametrize("shape", SHAPES)
def test_python_reads_a_picture_as_training_does(shape, resize, tmp_path):
    program = load_program(
        tmp_path, image_shape=list(shape), preprocessing={"resize": resize.value}
    )
    spec, draws = PixelSpec(*shape, resize), random.Random(1)
    for _ in range(60):
        kind, content = odd_images.sample_image(draws)
        expected = preprocessing.decode(content, spec)
        found = program["read_pixels"](io.BytesIO(content))
        np.testing.assert_array_equal(found[0], expected, err_msg=kind)


@c_projects.needs_compiler
@pytest.mark.parametrize("resize", Resize)
@pytest.mark.parametrize("shape", SHAPES)
def test_c_resamples_a_picture_as_training_does(shape, resize, tmp_path):
    pixels = source_templates.fill_template("pixels.c")
    source = READER.format(*shape, resize.value.upper(), pixels)
    (tmp_path / "reader.c").write_text(source)
    flags = (*c_projects.STRICT, "-lm")
    program = tmp_path / "reader"
    words = ["gcc", tmp_path / "reader.c", *flags, "-o", program]
    subprocess.run(words, check=True)
    draws, expected, paths = np.random.default_rng(2), [], []
    for number in range(40):
        height, width = draws.integers(1, 60, 2)
        channels = draws.choice([1, 3])
        values = draws.integers(0, 256, (height, width, channels), np.uint8)
        paths.append(tmp_path / f"{number}.ppm")
        Image.fromarray(values.squeeze(2) if channels == 1 else values).save(paths[-1])
        png = io.BytesIO()
        Image.open(paths[-1]).save(png, "PNG")
        spec = PixelSpec(*shape, resize)
        expected.append(preprocessing.decode(png.getvalue(), spec))
    done = subprocess.run([program, *paths], capture_output=True)
    assert done.returncode == 0, done.stderr
    found = np.frombuffer(done.stdout, np.uint8).reshape(-1, *shape)
    np.testing.assert_array_equal(found, expected)


@c_projects.needs_compiler
def test_c_refuses_what_is_no_picture(tmp_path):
    pixels = source_templates.fill_template("pixels.c")
    (tmp_path / "reader.c").write_text(READER.format(8, 12, 3, "CROP", pixels))
    program = tmp_path / "reader"
    flags = ["-std=c99", *c_projects.sanitizers(), "-lm", "-o", program]
    subprocess.run(["gcc", tmp_path / "reader.c", *flags], check=True)
    for name, content in {
        "empty": b"",
        "text": b"P3\n1 1\n255\n0 0 0\n",
        "short": b"P6\n# a comment\n4 4\n255\nabc",
        "deep": b"P5 1 1 65535\n\0\0",
        "huge": b"P6 999999999999 1 255\n",
        "negative": b"P6 -1 1 255\n",
    }.items():
        (tmp_path / name).write_bytes(content)
        done = subprocess.run([program, tmp_path / name], capture_output=True)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1, name
        assert not done.stdout
    assert subprocess.run([program, tmp_path / "none"]).returncode == 1


@pytest.mark.parametrize("kind", Io)
def test_python_encodes_pixels_as_the_predictor_does(kind, tmp_path):
    scale = float(np.float32(1 / 32767)) if kind is Io.INT16 else 1 / 128
    ends = {"input": kind.value, "output": "float32", "input_scale": scale}
    program = load_program(tmp_path, io=ends)
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    real = None if np.dtype(kind.value).itemsize == 1 else InputNormalization(128, 128)
    expected = input_normalization.encode(pixels, kind.value, (scale, 0), real)
    found = program["encode"](pixels)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
