"""Pictures: any names, any number of classes, bounded memory and bytes, no warning."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from eval.reports import examples
from tests.support.commands import ROOT
from trainer import errors
from trainer.monitoring import pictures
from trainer.monitoring.printable import abbreviate

ODD = [
    "$1_$5", r"\frac{$", "猫", "🐈", "שלום", "مرحبا", "a\nb", "\u202eevil", "x" * 300,
    "", " \u200b", "<b>&\"'", "\x1b[31m", "ok",
]  # fmt: skip
MEASURED = """
import json, sys
import numpy as np
import matplotlib.backends.backend_agg  # loaded: what follows is the pictures'
from tests.support.memory import peak_bytes
from trainer.monitoring import pictures

for classes in map(int, sys.argv[1:]):
    names = [f"$class_{n}$ {'x' * 300}" for n in range(classes)]
    counts = np.random.default_rng(0).integers(0, 9, (classes, classes))
    images, labels = np.zeros((32, 99, 99, 3), np.uint8), np.arange(32) % classes
    before = peak_bytes()
    heat = pictures.confusion_picture(counts, names)
    grid = pictures.grid(images, labels, names)
    print(json.dumps([peak_bytes(since=before), heat.shape, grid.shape]))
"""


@pytest.mark.parametrize(
    "classes",
    [["2", "1100"], pytest.param(["2", "10", "200", "1100"], marks=pytest.mark.slow)],
    ids=len,
)
def test_memory_and_size_do_not_grow_with_the_classes(classes):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *classes],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr == ""
    assert len(lines := done.stdout.splitlines()) == len(classes)
    for grown, *shapes in map(json.loads, lines):
        assert grown < 120e6
        assert all(np.prod(shape) < 1400 * 1400 * 3 for shape in shapes)


@pytest.mark.parametrize("count", [len(ODD), 30, 60])
def test_names_are_text_in_every_picture(count, recwarn, capfd):
    names = ODD + [f"n{n}" for n in range(count - len(ODD))]
    counts = np.arange(count * count).reshape(count, count)
    assert pictures.confusion_picture(counts, names).std() > 10
    images = np.zeros((3, 8, 8, 1), np.uint8)
    assert pictures.grid(images, np.arange(3), names).ndim == 3
    assert not [str(warning.message) for warning in recwarn.list]
    assert capfd.readouterr() == ("", "")


def test_labels_are_readable_and_tell_classes_apart():
    found = pictures.lettering([*ODD, "y" * 200 + "1", "y" * 200 + "1", "class 2"])
    assert len(set(found.labels)) == len(found.labels)
    assert found.labels[0] == "$1_$5"
    assert found.labels[6:10] == ("a b", "evil", "x" * 16 + "…" + "x" * 7, "class 9")
    assert max(map(len, found.labels)) <= pictures.LONGEST + 4
    shown = [abbreviate(name, 60) for name in ODD]
    assert all(
        label in (text, f"class {n}", f"{n}: class {n}") or "…" in label
        for n, (label, text) in enumerate(zip(found.labels, shown, strict=False))
    )


def test_a_font_that_has_the_letters_is_found():
    script = "\U0001d49c"  # not in DejaVu Sans, but in a font that matplotlib brings
    found = pictures.lettering([script, "b"])
    assert found.labels == (script, "b")
    assert found.families[0] == pictures.FAMILY
    assert len(found.families) == 2


def test_more_confusions_than_cells_are_added_up():
    counts = np.ones((1100, 1100), int)
    pooled, step = pictures._pooled(counts)
    assert (step, len(pooled), pooled.sum()) == (11, 100, counts.sum())


def test_a_picture_that_fails_is_a_line():
    said = []

    def draw():
        raise MemoryError("no room")

    assert errors.attempt_drawing(draw, "the picture x", said.append) is None
    assert said == ["the picture x could not be drawn: MemoryError: no room"]


def test_large_images_do_not_make_a_large_page():
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (1024, 700, 3), np.uint8)
    uri = examples.data_uri(noise)
    assert len(uri) < 80_000
    small = examples.data_uri(noise[:32, :32])
    import base64

    packed = base64.b64decode(small.split(",")[1])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(packed))),
                                  noise[:32, :32])  # fmt: skip
