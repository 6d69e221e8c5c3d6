"""ImageNet weights: the file that Keras would take, and what is said without one."""

import dataclasses

import keras
import pytest
from keras.src.utils import file_utils

from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, DataConfig, ModelConfig
from trainer.errors import InvalidInput
from trainer.pretrained import imagenet, source

CASES = [
    ("MobileNet", {"alpha": 0.25}, 128),
    ("MobileNet", {}, 100),
    ("MobileNetV2", {"alpha": 0.35}, 96),
    ("MobileNetV3Small", {"minimalistic": True}, 0),
    ("VGG16", {}, 0),
]
SLOW = [
    ("MobileNetV2", {"alpha": 1}, 0),
    ("MobileNetV3Large", {"alpha": 0.75}, 0),
    ("ConvNeXtTiny", {}, 0),
    ("DenseNet121", {}, 0),
    ("EfficientNetB0", {}, 0),
    ("EfficientNetV2B0", {}, 0),
    ("EfficientNetV2S", {}, 0),
    ("InceptionResNetV2", {}, 0),
    ("InceptionV3", {}, 0),
    ("NASNetMobile", {}, 0),
    ("ResNet50", {}, 0),
    ("ResNet50V2", {}, 0),
    ("Xception", {}, 0),
]


class _Asked(Exception):
    """Raised in place of a download."""


@pytest.mark.parametrize(
    ("name", "kwargs", "side"),
    CASES + [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW],
)
def test_the_file_is_the_one_that_keras_takes(monkeypatch, name, kwargs, side):
    def ask(file: str, *_, **__):
        raise _Asked(file)

    monkeypatch.setattr(file_utils, "get_file", ask)
    shape = (side, side, 3) if side else None
    with pytest.raises(_Asked) as asked:
        getattr(keras.applications, name)(
            include_top=False, weights="imagenet", input_shape=shape, **kwargs
        )
    assert imagenet.file_name(name, kwargs, side) == str(asked.value)


def test_every_application_has_a_file():
    for name, found in vars(keras.applications).items():
        if callable(found) and name[0].isupper():
            assert imagenet.file_name(name, {}, 0).endswith(".h5")


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small"])
def test_widths_without_weights_are_named(name):
    with pytest.raises(InvalidInput, match=r"no weights for alpha=0.6; .* 0.75, 1.0"):
        imagenet.file_name(name, {"alpha": 0.6}, 0)


def test_networks_of_ours_have_none():
    given = RunConfig(init_from="imagenet")
    with pytest.raises(InvalidInput, match="got model=resnet8; use e.g. model=keras:"):
        source.add_sha256(Config(model=ModelConfig(name="resnet8")), given)


def named(size: int | None = None) -> Config:
    shape = None if size is None else (size, size)
    config = Config(model=ModelConfig(name="keras:MobileNet"))
    data = dataclasses.replace(DataConfig(), image_size=shape)
    return dataclasses.replace(config, data=data)


def test_a_file_that_was_copied_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "mobilenet_1_0_160_tf_no_top.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    found = source.add_sha256(named(160), RunConfig(init_from="imagenet"))
    assert found.model.init_sha256 == source._sha256(path)


@pytest.mark.slow  # a process of Keras tries to download
def test_without_a_network_the_message_names_file_and_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):  # nobody listens there
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(InvalidInput) as refused:
        source.add_sha256(named(), RunConfig(init_from="imagenet"))
    said = str(refused.value)
    assert f"mobilenet_1_0_224_tf_no_top.h5 is not in {tmp_path / 'models'}" in said
    assert "URL fetch failure" in said or "refused" in said
    assert "init_from=FILE.weights.h5" in said
    assert len(said.splitlines()) <= 2
