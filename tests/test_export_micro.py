"""C source: it compiles, holds the model's bytes, and its interpreter agrees."""

import ctypes
import json
import shutil
import subprocess

import numpy as np
import pytest
from ai_edge_litert import interpreter

from eval import pixels
from export import (
    artifact,
    c_source,
    converter,
    metadata,
    micro,
    micro_model,
    tflite,
)
from export.c_source import Constants
from export.scheme import Io, Scheme
from tests import conftest, export_kit

LABELS = ["cat", 'a "b"\\', "what??!", "été", "0123"]
CONSTANTS = Constants(
    comment="a model",
    image_shape=(4, 5, 3),
    input_is="input: pixel - 128",
    input=(1 / 128, 0),
    output=(1 / 256, -128),
    arena_bytes=4096,
    labels=LABELS,
)
CONTENT = bytes(range(256)) * 3 + b"\x1c"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_what_is_compiled_is_the_model(tmp_path):
    (tmp_path / "model.h").write_text(c_source.header(CONTENT, CONSTANTS))
    (tmp_path / "model.c").write_text(c_source.source(CONTENT, CONSTANTS))
    strict = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*strict, "model.c", "-o", "model.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "model.so"))
    data = (ctypes.c_ubyte * len(CONTENT)).in_dll(library, "model_data")
    assert bytes(data) == CONTENT and ctypes.addressof(data) % 16 == 0
    labels = (ctypes.c_char_p * len(LABELS)).in_dll(library, "model_labels")
    assert [label.decode() for label in labels] == LABELS


def test_the_header_states_every_number():
    text = c_source.header(CONTENT, CONSTANTS)
    for line in (
        "#define MODEL_BYTES 769",
        "#define MODEL_ARENA_BYTES 4096",
        "#define MODEL_HEIGHT 4",
        "#define MODEL_WIDTH 5",
        "#define MODEL_CHANNELS 3",
        "#define MODEL_CLASSES 5",
        "#define MODEL_INPUT_SCALE 0.0078125",
        "#define MODEL_OUTPUT_ZERO_POINT (-128)",
    ):
        assert f"{line}\n" in text


def test_without_its_package_it_says_which(monkeypatch):
    if micro.installed():
        pytest.skip("tflite-micro is installed")
    done = conftest.command("export.micro")
    assert done.returncode == 2 and "pip install tflite-micro" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


@pytest.mark.slow
def test_int8_is_bit_for_bit_what_the_reference_kernels_give():
    pytest.importorskip("tflite_micro")
    opened = export_kit.opened()
    order = tflite.Order(Scheme.INT8, Io.INT8)
    images = tflite.representative(opened, order)
    content = converter.convert(opened.network, Scheme.INT8, Io.INT8, images)
    asked = opened.exam.images[:40]
    model = micro_model.MicroModel(metadata.aligned(content))
    ours = model(asked, lambda _: None)
    own = interpreter.Interpreter(
        model_content=content,
        experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_REF,
    )
    own.allocate_tensors()
    source, sink = own.get_input_details()[0], own.get_output_details()[0]
    for image, answer in zip(asked, ours, strict=True):
        own.set_tensor(source["index"], (image.astype(int) - 128).astype(np.int8)[None])
        own.invoke()
        raw = own.get_tensor(sink["index"])
        np.testing.assert_array_equal(
            pixels.dequantize(raw[0], sink["quantization"]), answer
        )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", micro.ENDS)
def test_the_microcontrollers_interpreter_agrees_with_litert(scheme):
    pytest.importorskip("tflite_micro")
    made = micro.export(export_kit.opened(), scheme, 0.02)
    found = artifact.read(made.path).manifest
    assert found["test"]["litert"]["agreement"] > 0.98
    assert found["arena_bytes"] % 16 == 0
    if scheme is Scheme.FLOAT32:
        assert found["test"]["litert"]["largest_difference"] < 1e-5
    assert (
        f"MODEL_ARENA_BYTES {found['arena_bytes']}\n"
        in (made.path / "model.h").read_text()
    )
    assert json.loads((made.path / "manifest.json").read_text()) == found
