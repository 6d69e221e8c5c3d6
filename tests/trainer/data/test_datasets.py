"""Any TFDS classification set: what is accepted, and what a refusal says."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.support.tfds_sets import pixels, prepare
from trainer.config.schema import DataConfig
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec
from trainer.data.sources import digits, tfds_source
from trainer.data.sources.tfds_source import TfdsSource
from trainer.errors import InvalidInput


def test_digits_are_the_real_ones_split_with_every_class(data_dir):
    builder = tfds_source.locate("digits", str(data_dir))
    train, test = (
        tfds_source.load_split(builder, "train"),
        tfds_source.load_split(builder, "test"),
    )
    assert (len(train.labels), len(test.labels)) == (1437, 360)
    assert train.images.shape == (1437, 32, 32, 3)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int32
    assert not set(train.ids) & set(test.ids)
    assert len(set(train.ids) | set(test.ids)) == 1797
    assert np.bincount(test.labels).min() >= 34
    assert train.names == tuple("0123456789")
    again = tfds_source.load_split(builder, "train")
    assert again.sha256 == train.sha256 != test.sha256


def test_enlarging_keeps_the_picture():
    small = np.zeros((8, 8))
    small[2:4, 5:7] = 16
    large = digits.enlarge(small)
    assert large.shape == (32, 32, 3)
    assert large.max() == 255
    assert (large[9:15, 21:27] > 100).all()
    assert abs(large.mean() / 255 - small.mean() / 16) < 0.01


def test_grey_images_are_taken_as_they_are(tmp_path):
    images = pixels(6, 9, 7, 1)
    builder = prepare(tmp_path, "grey", images, [0, 1, 2] * 2, shape=(None, None, 1))
    split = tfds_source.load_split(builder, "train")
    np.testing.assert_array_equal(split.images, np.stack(images))
    assert split.names == ("a", "b", "c")
    assert len(set(split.ids)) == 6


def test_images_of_several_sizes_are_refused_with_both_sizes(tmp_path):
    images = [*pixels(3, 8, 8, 3), *pixels(1, 9, 8, 3)]
    builder = prepare(tmp_path, "sizes", images, [0, 1, 2, 0], shape=(None, None, 3))
    with pytest.raises(InvalidInput, match=r"\(8, 8, 3\), number 3 is \(9, 8, 3\)"):
        tfds_source.load_split(builder, "train")


def test_no_class_label_is_refused(tmp_path):
    number = tfds.features.Scalar(np.float32)
    builder = prepare(
        tmp_path, "numbers", pixels(2, 4, 4, 3), [0.5, 1.5], shape=(4, 4, 3),
        feature=number,
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="not for image classification"):
        tfds_source.load_split(builder, "train")


def test_a_set_larger_than_memory_is_refused_with_the_bytes(tmp_path, monkeypatch):
    import psutil

    builder = prepare(tmp_path, "large", pixels(3, 8, 8, 3), [0, 1, 2], shape=(8, 8, 3))

    class Little:
        available = 100

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(InvalidInput, match="1,152 bytes.*100 are free"):
        tfds_source.load_split(builder, "train")


@pytest.mark.parametrize("name", ["no_such_set", "cifar10:0.0.1", "a/b/c", "cifar10/x"])
def test_unknown_names_are_refused(tmp_path, name):
    with pytest.raises(InvalidInput, match="dataset="):
        tfds_source.locate(name, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_s_name_is_refused():
    with pytest.raises(InvalidInput, match="`data_dir` is empty"):
        tfds_source.locate("digits", "")


@pytest.mark.parametrize("hidden", [[-1] * 6, [0, 1, -1, 2, 0, 1]])
def test_hidden_labels_are_called_so_and_the_split_with_labels_named(tmp_path, hidden):
    images, shown = pixels(6, 8, 8, 1), [0, 1, 2, 0, 1, 2]
    labels = {"train": shown, "test": hidden, "validation": shown}
    builder = prepare_splits(tmp_path, "contest", images, labels)
    assert len(tfds_source.load_split(builder, "train").labels) == 6
    with pytest.raises(InvalidInput) as raised:
        tfds_source.load_split(builder, "test")
    assert f"hides {hidden.count(-1)} of its 6 labels (-1)" in str(raised.value)
    assert "with labels: train, validation;" in str(raised.value)
    assert "again" not in str(raised.value)
    assert "\n" in str(raised.value)


def prepare_splits(path, name: str, images, labels: dict[str, list[int]]):
    """A data set of the same images in splits that tell these labels."""
    features = {
        "image": tfds.features.Image(shape=images[0].shape),
        "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            split: [
                (key, {"image": image, "label": label})
                for key, (image, label) in enumerate(zip(images, told, strict=True))
            ]
            for split, told in labels.items()
        },
        data_dir=str(path),
        disable_shuffling=True,
    )
    return tfds_source.locate(name, str(path))


def test_images_of_several_sizes_become_one_by_the_rule_of_files(tmp_path):
    images = [*pixels(2, 9, 12, 3), *pixels(2, 20, 8, 3)]
    builder = prepare(tmp_path, "resized", images, [0, 1, 2, 0], shape=(None, None, 3))
    config = DataConfig(image_size=(8, 10), channels=1)
    source = TfdsSource(builder).with_pixels(config)
    spec = PixelSpec(8, 10, 1)
    assert source.spec == spec
    for ours, image in zip(source.load("train").images, images, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        expected = preprocessing.decode(buffer.getvalue(), spec)
        np.testing.assert_array_equal(ours, expected)


def test_a_size_that_images_have_changes_nothing(tmp_path):
    builder = prepare(
        tmp_path, "same", pixels(4, 8, 8, 3), [0, 1, 2, 0], shape=(8, 8, 3)
    )
    source = TfdsSource(builder)
    assert source.with_pixels(DataConfig(image_size=(8, 8))) == source
    assert source.with_pixels(DataConfig(channels=3)) == source
    assert source.with_pixels(DataConfig(channels=1)).spec == PixelSpec(8, 8, 1)
