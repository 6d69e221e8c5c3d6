"""C source: it compiles, holds the model's bytes, and its interpreter agrees."""

import ctypes
import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from ai_edge_litert import interpreter as litert

from eval.formats import input_normalization
from eval.formats.embedded import one_line
from eval.formats.flatbuffer import FlatbufferInfo, Layer
from export.artifact import artifact
from export.artifact.number_formats import Io, Scheme
from export.artifact.serving_module import ServingModule
from export.examples import c_text
from export.lite import converter, metadata_writer, tflite_writer
from export.lite.calibration_images import CalibrationImages
from export.lite.tflite_options import TFLiteOptions
from export.microcontroller.micro_formats import MICRO_IO, MicroOptions, Runtime
from export.microcontroller.tflm import (
    c_source,
    cmsis_nn,
    interpreter,
    project_files,
    tflm_writer,
)
from export.microcontroller.tflm.c_source import ModelConstants
from tests.support import commands, export_runs
from trainer.config import schema
from trainer.models import builder

LABELS = ["cat", 'a "b"\\', "what??!", "été", "0123"]
CONSTANTS = ModelConstants(
    comment="a model",
    image_shape=(4, 5, 3),
    input_is="input: pixel - 128",
    input=(1 / 128, 0),
    output=(1 / 256, -128),
    arena_bytes=4096,
    labels=LABELS,
    cmsis_nn_bytes=8192,
)
CONTENT = bytes(range(256)) * 3 + b"\x1c"
NO_THRESHOLD = {"threshold": None, "quantized": None, "guarantee": "None: */ too few."}


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_what_is_compiled_is_the_model(tmp_path):
    (tmp_path / "model.h").write_text(c_source.format_header(CONTENT, CONSTANTS))
    (tmp_path / "model.c").write_text(c_source.format_source(CONTENT, CONSTANTS))
    strict = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*strict, "model.c", "-o", "model.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "model.so"))
    data = (ctypes.c_ubyte * len(CONTENT)).in_dll(library, "model_data")
    assert bytes(data) == CONTENT and ctypes.addressof(data) % 16 == 0
    labels = (ctypes.c_char_p * len(LABELS)).in_dll(library, "model_labels")
    assert [label.decode() for label in labels] == LABELS


def test_the_header_states_every_number():
    text = c_source.format_header(CONTENT, CONSTANTS)
    for line in (
        "#define MODEL_BYTES 769",
        "#define MODEL_ARENA_BYTES 4096",
        "#define MODEL_ARENA_BYTES_CMSIS_NN 8192",
        "#define MODEL_HEIGHT 4",
        "#define MODEL_WIDTH 5",
        "#define MODEL_CHANNELS 3",
        "#define MODEL_CLASSES 5",
        "#define MODEL_INPUT_SCALE 0.0078125",
        "#define MODEL_OUTPUT_ZERO_POINT (-128)",
    ):
        assert f"{line}\n" in text


def test_an_arena_that_is_not_known_is_not_stated():
    text = c_source.format_header(
        CONTENT, dataclasses.replace(CONSTANTS, cmsis_nn_bytes=None)
    )
    assert "MODEL_ARENA_BYTES_CMSIS_NN" not in text and "is not known" in text


def thresholds(scheme: Scheme) -> dict:
    """The "abstain" of a manifest: one that exists and one that does not."""
    raw = {Scheme.INT8: -28, Scheme.INT16X8: 12800, Scheme.FLOAT32: None}
    return {
        "0.95": {"threshold": 0.390625, "quantized": raw[scheme], "guarantee": ""},
        "0.99": NO_THRESHOLD,
    }


def test_thresholds_are_macros_and_what_does_not_exist_is_not_defined():
    lines = {
        scheme: c_text.c_thresholds(thresholds(scheme)).splitlines()
        for scheme in MICRO_IO
    }
    assert [first for first, _ in lines.values()] == [
        "#define MODEL_THRESHOLD_95 (-28)",
        "#define MODEL_THRESHOLD_95 12800",
        "#define MODEL_THRESHOLD_95 0.390625f",
    ]
    assert lines[Scheme.INT8][1] == "/* no MODEL_THRESHOLD_99: None: * / too few. */"


def test_the_resolver_has_every_operator_once():
    text = project_files.format_resolver(["CONV_2D", "MAX_POOL_2D", "RELU6", "PADV2"])
    assert re.findall(r"resolver\.(\w+)\(", text) == [
        "AddConv2D",
        "AddMaxPool2D",
        "AddRelu6",
        "AddPadV2",
    ]
    assert "kModelOperators = 4;" in text


# As far as the sketch uses them; signatures as in the documentation of TensorFlow Lite
# Micro.
DECLARATIONS = {
    "micro/micro_mutable_op_resolver.h": """
        #pragma once
        enum TfLiteStatus { kTfLiteOk, kTfLiteError };
        namespace tflite {
        template <unsigned int count> struct MicroMutableOpResolver {
          TfLiteStatus AddConv2D();
          TfLiteStatus AddSoftmax();
        };
        }""",
    "micro/micro_interpreter.h": """
        #pragma once
        #include <cstddef>
        #include <cstdint>
        union TfLitePtrUnion { int8_t* int8; int16_t* i16; float* f; };
        struct TfLiteTensor { TfLitePtrUnion data; };
        namespace tflite {
        struct Model;
        struct MicroInterpreter {
          template <class Resolver> MicroInterpreter(
              const Model*, const Resolver&, uint8_t*, size_t);
          TfLiteStatus AllocateTensors();
          TfLiteStatus Invoke();
          TfLiteTensor* input(size_t);
          TfLiteTensor* output(size_t);
          size_t arena_used_bytes() const;
        };
        }""",
    "schema/schema_generated.h": """
        namespace tflite { struct Model; const Model* GetModel(const void*); }""",
}


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("scheme", MICRO_IO)
@pytest.mark.parametrize("key", ["0.95", "0.99"])
def test_the_sketch_has_no_errors_of_syntax_or_type(scheme, key, tmp_path):
    constants = dataclasses.replace(CONSTANTS, abstain={key: thresholds(scheme)[key]})
    for name, text in DECLARATIONS.items():
        path = tmp_path / "tensorflow" / "lite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    answers = np.linspace(0, 1, 10).reshape(2, 5).astype(np.float32)
    if scheme is not Scheme.FLOAT32:
        answers = (255 * answers - 128).astype(int)
    project = {
        "model.h": c_source.format_header(CONTENT, constants),
        "resolver.h": project_files.format_resolver(["CONV_2D", "SOFTMAX"]),
        "sketch.cc": project_files.format_sketch(scheme, cmsis_nn=True),
        **project_files.format_vectors(scheme, pixels, answers),
    }
    for name, text in project.items():
        (tmp_path / name).write_text(text)
    strict = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I."]
    for compiler in (["c++", "-std=c++17", "sketch.cc"], ["cc", "vectors.c"]):
        subprocess.run([*compiler, *strict], cwd=tmp_path, check=True)


# name, kernel, width of an activation, bytes with DSP and with MVE instructions
SCRATCH = [
    ("CONV_2D", (16, 3, 3, 3), 1, 2 * 28 * 2, 4 * 32),
    ("CONV_2D", (64, 3, 3, 64), 1, 2 * 576 * 2, 4 * 576),
    ("CONV_2D", (64, 1, 1, 32), 1, 2 * 32 * 2, 0),
    ("CONV_2D", (16, 3, 3, 3), 2, 2 * 27 * 2, 0),
    ("CONV_2D", (64, 3, 3, 64), 2, 0, 0),  # 576 values: not the fast kernel
    ("FULLY_CONNECTED", (10, 64), 1, 0, 0),
    ("DEPTHWISE_CONV_2D", (1, 3, 3, 8), 1, None, None),
]


@pytest.mark.parametrize(("name", "kernel", "width", "dsp", "mve"), SCRATCH)
def test_scratch_buffers_are_those_of_the_formulas(name, kernel, width, dsp, mve):
    layer = Layer(name, kernel, (1, 8, 8, kernel[0]))
    assert cmsis_nn.scratch_bytes(layer, width, "dsp") == dsp
    assert cmsis_nn.scratch_bytes(layer, width, "mve") == mve


def test_resnet8_has_room_for_what_cmsis_nn_was_seen_to_need():
    """54,340 bytes with the reference kernels and 54,996 with CMSIS-NN's."""
    network = builder.build_model(
        schema.ModelConfig(name="resnet8"), image_shape=(32, 32, 3), num_classes=10
    )
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images.flat[:2] = (0, 255)
    calibration = CalibrationImages(images, "", "")
    content = converter.convert(
        ServingModule(network, 1.0), Scheme.INT8, Io.INT8, calibration
    )
    extra = cmsis_nn.extra_bytes(FlatbufferInfo(content), 1)
    for need in extra.values():
        assert 54_996 - 54_340 <= need <= 4096


def test_names_of_classes_are_whole_in_c_whatever_is_in_them():
    for name in ("a\0b", "line\u2028line", "a\nb"):
        text = c_text.c_string(one_line(name))
        assert text.isascii() and "\\000" not in text and text.count("\n") == 0


def test_without_its_package_it_says_which(monkeypatch):
    if importlib.util.find_spec("tflite_micro"):
        pytest.skip("tflite-micro is installed")
    done = commands.run_command("export.micro")
    assert done.returncode == 2 and "pip install tflite-micro" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


@pytest.mark.slow
def test_int8_is_bit_for_bit_what_the_reference_kernels_give():
    pytest.importorskip("tflite_micro")
    opened = export_runs.opened()
    options = TFLiteOptions(Scheme.INT8, Io.INT8)
    images = tflite_writer.select_calibration_images(opened, options)
    content = converter.convert(opened.network, Scheme.INT8, Io.INT8, images)
    asked = opened.verification_set.images[:40]
    model = interpreter.MicroModel(metadata_writer.align_buffers(content))
    ours = model(asked, lambda _: None)
    own = litert.Interpreter(
        model_content=content,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
    )
    own.allocate_tensors()
    source, sink = own.get_input_details()[0], own.get_output_details()[0]
    for image, answer in zip(asked, ours, strict=True):
        own.set_tensor(source["index"], (image.astype(int) - 128).astype(np.int8)[None])
        own.invoke()
        raw = own.get_tensor(sink["index"])
        np.testing.assert_array_equal(
            input_normalization.dequantize(raw[0], sink["quantization"]), answer
        )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", MICRO_IO)
def test_the_microcontrollers_interpreter_agrees_with_litert(scheme, capfd):
    pytest.importorskip("tflite_micro")
    made = tflm_writer.write_tflm(
        export_runs.opened("--max_accuracy_drop=0.02"),
        MicroOptions(Runtime.TFLM, scheme, vectors=3),
    )
    found = artifact.load_artifact(made.path).manifest
    told = [line for line in capfd.readouterr().err.splitlines() if "flash" in line]
    sizes = [
        int(n.replace(",", "")) for n in re.findall(r"([\d,]+) bytes", "".join(told))
    ]
    about, flash, arena = sizes
    assert len(told) == 2 and about / 2 < flash < 3 * about
    assert arena == found["arena_bytes"]
    assert found["test"]["litert"]["agreement"] > 0.98
    assert found["arena_bytes"] % 16 == 0
    arena = found["arena"]
    assert arena["reference"] == {"bytes": found["arena_bytes"], "measured": True}
    assert arena["cmsis_nn"]["dsp"] >= found["arena_bytes"]
    if scheme is Scheme.FLOAT32:
        assert found["test"]["litert"]["largest_difference"] < 1e-5
    assert "#define MODEL_VECTORS 3\n" in (made.path / "vectors.h").read_text()
    assert (
        f"MODEL_ARENA_BYTES {found['arena_bytes']}\n"
        in (made.path / "model.h").read_text()
    )
    assert json.loads((made.path / "manifest.json").read_text()) == found
