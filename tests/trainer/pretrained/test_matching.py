"""Weights of every file format end in the variables they belong to, or are refused."""

import dataclasses
import json
import os
import pathlib

import h5py
import keras
import numpy as np
import pytest

from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, ModelConfig
from trainer.errors import InvalidInput
from trainer.models import builder
from trainer.pretrained import first_weights, freezing, matching, source, weight_files

SHAPE = (16, 16, 3)
SMALL = ModelConfig(name="resnet8", kwargs={"width": 0.25})


def body(config: ModelConfig = SMALL, classes: int = 10) -> keras.Model:
    keras.utils.set_random_seed(7)
    model = builder.build_model(config, image_shape=SHAPE, num_classes=classes)
    return model.get_layer("body")


def keras_net(prefix="", classes=10, *, top=True, attention=True) -> keras.Model:
    """A small network of Keras' own layers, whose weights are random numbers."""

    def named(name: str) -> dict:
        return {"name": f"{prefix}{name}"} if prefix is not None else {}

    x = pixels = keras.Input(SHAPE)
    x = keras.layers.SeparableConv2D(4, 3, **named("sep"))(x)
    x = keras.layers.BatchNormalization(scale=False, **named("norm"))(x)
    x = keras.layers.Conv2D(6, 3, strides=4, **named("conv"))(x)
    x = keras.layers.BatchNormalization(**named("norm_2"))(x)
    x = keras.layers.Reshape((9, 6))(x)
    if attention:
        x = keras.layers.MultiHeadAttention(2, 3, **named("mha"))(x, x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    if top:
        x = keras.layers.Dense(classes, **named("classes"))(x)
    model = keras.Model(pixels, x)
    generator = np.random.default_rng(classes)
    for variable in model.variables:
        variable.assign(generator.normal(size=variable.shape))
    return model


def stored(path: pathlib.Path) -> weight_files.StoredWeights:
    return weight_files.parse(path, path.read_bytes())


def load(net: keras.Model, path: pathlib.Path) -> matching.Matching:
    found = matching.match(net, stored(path), f"init_from={path}")
    matching.assign(net, found)
    return found


def assert_equal(net: keras.Model, other: keras.Model, count: int | None = None):
    pairs = list(zip(net.variables, other.variables, strict=count is None))
    for mine, theirs in pairs[:count]:
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
@pytest.mark.parametrize("names", ["", "my_", None], ids=["named", "other", "unnamed"])
def test_files_of_keras_are_taken_by_name_or_position(tmp_path, suffix, names):
    theirs, mine = keras_net(names), keras_net("" if names == "" else None, 7)
    path = tmp_path / f"net{suffix}"
    (theirs.save_weights if suffix == ".weights.h5" else theirs.save)(path)
    found = load(mine, path)
    assert_equal(mine, theirs, -2)
    assert list(found.new) == [v.path for v in mine.variables[-2:]]  # 7 classes, not 10
    assert len(found.unused) == 1


def test_a_file_without_top_and_one_of_older_keras_are_taken(tmp_path):
    theirs = keras_net(top=False, attention=False)
    path = tmp_path / "net.weights.h5"
    theirs.save_weights(path)
    with h5py.File(path, "a") as file:  # before there were names
        for name in file["layers"]:
            file[f"layers/{name}/vars"].attrs.clear()
    for prefix in ("", None):
        net = keras_net(prefix, 3, attention=False)
        found = load(net, path)
        assert_equal(net, theirs, -2)
        assert len(found.new) == 2 and not found.unused


def test_names_in_parts_are_read(tmp_path):
    theirs, mine = keras_net("my_"), keras_net()
    path = tmp_path / "net.h5"
    theirs.save(path)
    with h5py.File(path, "a") as file:
        attributes = file["model_weights"].attrs
        names = attributes.pop("layer_names")
        attributes["layer_names0"], attributes["layer_names1"] = names[:2], names[2:]
    assert not load(mine, path).new
    assert_equal(mine, theirs)


def test_a_network_of_ours_is_taken_from_npz_by_path(tmp_path):
    theirs, mine = body(), body(classes=4)
    for variable in theirs.variables:
        variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    arrays = {v.path: v.numpy() for v in theirs.variables}
    np.savez(tmp_path / "a.npz", **arrays)
    found = load(mine, tmp_path / "a.npz")
    assert list(found.new) == ["classes/kernel", "classes/bias"]
    assert_equal(mine, theirs, -2)
    prefixed = {f"model/{path}": array for path, array in arrays.items()}
    np.savez(tmp_path / "variables.npz", **prefixed, **{"optimizer/rate": np.zeros(1)})
    found = load(theirs, tmp_path / "variables.npz")
    assert not found.new and not found.unused


def test_batch_norm_of_keras_is_ours(tmp_path):
    x = pixels = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem_conv")(x)
    x = keras.layers.BatchNormalization(name="stem_norm")(x)
    theirs = keras.Model(pixels, x)
    theirs.layers[-1].moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    theirs.save_weights(tmp_path / "a.weights.h5")
    mine = body()
    assert len(load(mine, tmp_path / "a.weights.h5").taken) == 6
    mean = mine.get_layer("stem_norm").moving_mean.numpy()
    np.testing.assert_array_equal(mean, [1, 2, 3, 4])


def damaged(path: pathlib.Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "NaN":
        with h5py.File(path, "a") as file:
            file["layers/conv2d/vars/0"][0] = np.nan
    elif kind == "link":
        with h5py.File(path, "a") as file:
            del file["layers/conv2d/vars/0"]
            file["layers/conv2d/vars/0"] = h5py.ExternalLink("other.h5", "/x")
    elif kind == "empty":
        h5py.File(path, "w").close()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cut", "cannot be read"),
        ("NaN", "NaN or infinite"),
        ("link", "is a link"),
        ("empty", "has no weights"),
    ],
)
def test_damaged_files_are_refused(tmp_path, kind, said):
    path = tmp_path / "net.weights.h5"
    keras_net().save_weights(path)
    damaged(path, kind)
    with pytest.raises(InvalidInput, match=said) as refused:
        load(keras_net(), path)
    assert len(str(refused.value).splitlines()) <= 2


def test_another_width_and_another_network_are_refused(tmp_path):
    wide = body(dataclasses.replace(SMALL, kwargs={"width": 0.5}))
    path = tmp_path / "wide.npz"
    np.savez(path, **{v.path: v.numpy() for v in wide.variables})
    with pytest.raises(
        InvalidInput, match="stem_conv/kernel is 3x3x3x8 there, 3x3x3x4"
    ):
        load(body(), path)
    np.savez(path, **{"classes/kernel": np.zeros((16, 10)), "other/bias": np.zeros(2)})
    with pytest.raises(InvalidInput, match="no weights of this network: it has other/"):
        load(body(), path)


def test_the_head_is_the_layer_of_the_logits_and_its_scale():
    assert freezing.head_layers(body()) == {"classes"}
    speed = body(ModelConfig(name="speednet", kwargs={"width": 0.25}))
    assert freezing.head_layers(speed) == {"classes"}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("convolution", "names no layer of this network, .* stem_conv, stem_norm"),
        (".", "leaves no layer to train"),
    ],
)
def test_what_cannot_be_frozen_is_refused(pattern, said):
    with pytest.raises(InvalidInput, match=said):
        freezing.frozen_layers(body(), pattern)


def test_a_pattern_is_searched_in_the_names():
    found = freezing.frozen_layers(body(), "^stem|^stack1_a")
    names = [layer.name for layer in found]
    assert names == ["stem_conv", "stem_norm", "stack1_a_conv", "stack1_a_norm"]


CASES = {
    "nothing.npz": "does not exist",
    "net.pth": "is not a file of weights that can be read",
    "text.npz": "is not of the format that its name says",
    "folder": "is not a run",
    "pipe.npz": "it is not a regular file",
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_file_of_weights_is_refused(tmp_path, name):
    (tmp_path / "net.pth").write_bytes(b"PK")
    (tmp_path / "text.npz").write_text("weights")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.npz")
    given = RunConfig(init_from=str(tmp_path / name))
    with pytest.raises(InvalidInput, match=CASES[name]):
        source.add_sha256(Config(), given)


def test_the_config_has_the_hash_and_another_file_is_refused(tmp_path):
    path, other = tmp_path / "a.npz", tmp_path / "b.npz"
    np.savez(path, a=np.zeros(1))
    np.savez(other, a=np.ones(1))
    found = source.add_sha256(Config(), RunConfig(init_from=str(path)))
    assert len(found.model.init_sha256) == 64
    assert json.dumps(found.to_json())
    with pytest.raises(InvalidInput, match="has the hash"):
        source.add_sha256(found, RunConfig(init_from=str(other)))
    with pytest.raises(
        InvalidInput, match="is not the file that this run started from"
    ):
        first_weights.load(found, RunConfig(init_from=str(other)))
    with pytest.raises(InvalidInput, match="name them with `init_from`"):
        source.add_sha256(found, RunConfig())
    frozen = Config(model=ModelConfig(freeze="backbone"))
    with pytest.raises(InvalidInput, match="freeze=backbone needs `init_from`"):
        source.add_sha256(frozen, RunConfig())
    with pytest.raises(InvalidInput, match="is also `run_dir`"):
        source.add_sha256(
            Config(), RunConfig(init_from=str(tmp_path), run_dir=str(tmp_path))
        )
