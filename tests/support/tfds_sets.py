"""Small TFDS data sets of random pixels."""

import numpy as np
import tensorflow_datasets as tfds

from trainer.data.sources import tfds_source


def prepare(path, name: str, images, labels, *, shape, feature=None, split="train"):
    """A small data set prepared by TFDS itself, readable without a builder's class."""
    features = {
        "image": tfds.features.Image(shape=shape),
        "label": feature or tfds.features.ClassLabel(names=["a", "b", "c"]),
    }
    examples = [
        (key, {"image": image, "label": label})
        for key, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets=dict.fromkeys(("train", "test"), examples),
        data_dir=str(path),
        disable_shuffling=True,
    )
    return tfds_source.locate(name, str(path))


def pixels(count: int, *shape: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8))
