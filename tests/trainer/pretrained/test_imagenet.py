"""ImageNet weights: the file that Keras would take, and what is said without one."""

import dataclasses

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from tests.support import keras_models
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, DataConfig, ModelConfig
from trainer.errors import InvalidInput
from trainer.models import registry
from trainer.pretrained import first_weights, imagenet, matching, source

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


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
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


APPLICATIONS = [
    ("MobileNetV2", {"alpha": 0.35}, 32),
    pytest.param("MobileNetV3Small", {}, 32, marks=pytest.mark.slow),
    pytest.param("EfficientNetB0", {}, 32, marks=pytest.mark.slow),
    pytest.param("InceptionV3", {}, 75, marks=pytest.mark.slow),
    pytest.param("ResNet50", {}, 32, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "kwargs", "side"), APPLICATIONS)
def test_every_weight_of_the_file_is_taken(monkeypatch, tmp_path, name, kwargs, side):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    shape = (side, side, 3)
    theirs = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=shape, **kwargs
    )
    generator = np.random.default_rng(0)
    for variable in theirs.variables:
        variable.assign(generator.normal(size=variable.shape))
    theirs.save(tmp_path / "models" / imagenet.file_name(name, kwargs, side))
    config = Config(model=ModelConfig(name=f"keras:{name}", kwargs=kwargs))
    data = dataclasses.replace(DataConfig(), image_size=(side, side))
    given = RunConfig(init_from="imagenet")
    config = source.add_sha256(dataclasses.replace(config, data=data), given)
    function = registry.import_network(config.model)
    body = keras_models.build(function, kwargs=kwargs, shape=shape)
    found = matching.match(
        body, first_weights.load(config, given), "init_from=imagenet"
    )
    assert [path.split("/")[0] for path in found.new] == ["classes", "classes"]
    matching.assign(body, found)
    scaling = keras.layers.Normalization  # of pixels, which ours does in front
    layers = [layer for layer in theirs.layers if not isinstance(layer, scaling)]
    kept = [v for layer in layers for v in layer.weights]  # no states of seeds
    for mine, other in zip(body.variables[:-2], kept, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy(), err_msg=mine.path)
