"""The graph that decodes image files gives the pixels that Pillow gives."""

import collections
import random

import numpy as np
import pytest
import tensorflow as tf

from export.serving import image_decoding
from tests.support.odd_images import IN_GRAPH, sample_image
from trainer.config.enums import Resize
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec

SPECS = [
    PixelSpec(24, 32, channels, resize) for channels in (1, 3) for resize in Resize
]


def compare(count: int, seed: int) -> dict[str, collections.Counter]:
    """How many files of each kind have a value that differs by so much at most."""
    found = collections.defaultdict(collections.Counter)
    in_graph = {
        spec: tf.function(
            lambda files, spec=spec: image_decoding.decode_images(files, spec),
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )
        for spec in SPECS
    }
    generator = random.Random(seed)
    for number in range(count):
        kind, content = sample_image(generator, IN_GRAPH)
        spec = SPECS[number % len(SPECS)]
        expected = preprocessing.decode(content, spec).astype(int)
        try:
            (ours,) = in_graph[spec](tf.constant([content])).numpy()
        except tf.errors.OpError:
            found[kind]["refused"] += 1
            continue
        found[kind][int(np.abs(ours.astype(int) - expected).max())] += 1
    return found


def check(found: dict[str, collections.Counter]) -> None:
    for kind, differences in sorted(found.items()):
        print(f"{kind}: {dict(differences)}")
        assert set(differences) == {0}, kind


def test_it_gives_the_same_pixels():
    check(compare(60, 1))


@pytest.mark.slow
def test_it_gives_the_same_pixels_of_a_thousand_files():
    """The table in docs/data.md: pytest -m slow -s with this file."""
    check(compare(1000, 2))
