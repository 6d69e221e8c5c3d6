"""Every .tflite answers as its checkpoint does, and says truly what it is."""

import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from absl import flags
from ai_edge_litert import schema_py_generated as schema

from eval.formats import tflite_metadata
from eval.formats.flatbuffer import FlatbufferInfo
from export import tflite
from export.artifact import artifact
from export.artifact.number_formats import (
    IO_TYPES,
    NEEDS_CALIBRATION,
    Io,
    Scheme,
    resolve_formats,
)
from export.lite import converter, metadata_writer, tflite_writer
from export.lite.calibration_images import CalibrationImages
from export.lite.tflite_options import TFLiteOptions
from tests.support import commands, export_runs
from trainer import contract
from trainer.cli import command
from trainer.errors import InvalidInput, TrainingFailed

# The tiny network sees 360 images only: one is worth 0.3 points.
DROP = 0.02
# A stranger's program: LiteRT and NumPy; pixels in, labels from the file.
STRANGER = """
import sys, zipfile
import numpy as np
from ai_edge_litert.interpreter import Interpreter
path, data = sys.argv[1:]
labels = zipfile.ZipFile(path).read("labels.txt").decode().splitlines()
model = Interpreter(path)
model.allocate_tensors()
source = model.get_input_details()[0]["index"]
sink = model.get_output_details()[0]["index"]
split, right = np.load(data), 0
for pixels, name in zip(split["images"], split["names"]):
    model.set_tensor(source, pixels[None])
    model.invoke()
    right += labels[model.get_tensor(sink)[0].argmax()] == name
print(right)
assert not {"tensorflow", "keras", "trainer", "eval", "export"} & set(sys.modules)
"""


def export(scheme: Scheme, io: Io | None = None) -> artifact.Artifact:
    opened = export_runs.opened(f"--max_accuracy_drop={DROP}")
    scheme, io = resolve_formats(False, scheme, io)
    return tflite_writer.write_tflite(opened, TFLiteOptions(scheme, io))


@pytest.fixture(scope="module")
def made() -> dict[Scheme, artifact.Artifact]:
    return {s: export_runs.exported(s, IO_TYPES[s][0]) for s in Scheme}


@pytest.mark.parametrize("scheme", Scheme)
def test_a_strangers_program_gets_the_manifests_accuracy(made, scheme, tmp_path):
    found, shown = made[scheme], export_runs.opened().verification_set
    if found.manifest["io"]["input"] != "uint8":
        pytest.skip("takes (pixel - 128) / 128")
    names = [shown.names[label] for label in shown.labels]
    np.savez(tmp_path / "data.npz", images=shown.images, names=names)
    words = [sys.executable, "-c", STRANGER, found.path, tmp_path / "data.npz"]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert int(printed) == found.manifest["test"]["correct"]


@pytest.mark.parametrize("scheme", Scheme)
def test_manifest_and_file_belong_together(made, scheme):
    opened, found = export_runs.opened(), artifact.load_artifact(made[scheme].path)
    manifest = found.manifest
    assert manifest["scheme"] == scheme.value
    assert manifest["weights_sha256"] == opened.run.result()["weights_sha256"]
    assert manifest["data_sha256"] == opened.run.result()["data_sha256"]
    assert manifest["temperature"] == opened.calibration.temperature
    assert manifest["test"]["images"] == 360 and not manifest["test"]["sampled"]
    inside = json.loads(zipfile.ZipFile(found.path).read(metadata_writer.PROVENANCE))
    assert inside.items() <= manifest.items()


def test_floats_agree_with_the_checkpoint(made):
    for scheme in (Scheme.FLOAT32, Scheme.FLOAT16):
        assert made[scheme].manifest["test"]["flips"] == 0
    assert made[Scheme.FLOAT32].manifest["test"]["largest_difference"] <= 1e-5


# One of floats and the two ends of int8, which differ in how pixels become integers.
QUICK = [(Scheme.FLOAT32, Io.FLOAT32), (Scheme.INT8, Io.INT8)]
QUICK += [(Scheme.INT8, Io.FLOAT32)]


@pytest.mark.parametrize(
    ("scheme", "io"),
    [
        pytest.param(s, io, marks=[pytest.mark.slow] * ((s, io) not in QUICK))
        for s in Scheme
        for io in IO_TYPES[s][1:]
    ],
)
def test_other_ends_give_the_same_answers(made, scheme, io, tmp_path):
    other = export_runs.exported(scheme, io).manifest["test"]
    own = made[scheme].manifest["test"]
    assert other["correct"] == own["correct"]
    assert other["largest_difference"] == pytest.approx(
        own["largest_difference"], abs=1e-4
    )


def test_the_quantised_input_is_the_pixel(made):
    ends = made[Scheme.INT8].manifest["io"]
    assert (ends["input_scale"], ends["input_zero_point"]) == (1 / 128, 128)


def test_the_oldest_runtime_is_noted(made):
    """As seen: tflite-runtime 2.14 loads all of these but the dynamic one."""
    noted = {s: made[s].manifest["min_runtime_version"] for s in Scheme}
    assert noted.pop(Scheme.DYNAMIC) == "2.17.0"
    assert noted[Scheme.INT16X8] == "2.3.0"
    assert all(int(v.split(".")[1]) <= 15 for v in noted.values())


def kernel_scales(content: bytes) -> list[tuple[int, int]]:
    """Channels and scales of the kernel of each convolution and dense layer."""
    model, found = schema.Model.GetRootAsModel(content), []
    graph = model.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number in (
            schema.BuiltinOperator.CONV_2D,
            schema.BuiltinOperator.FULLY_CONNECTED,
        ):
            kernel = graph.Tensors(operator.Inputs(1))
            found.append((kernel.Shape(0), kernel.Quantization().ScaleLength()))
    assert found
    return found


def test_int8_is_integer_only_and_per_channel(made):
    content = made[Scheme.INT8].path.read_bytes()
    operators = FlatbufferInfo(content).operators()
    # One QUANTIZE at each end turns uint8 into int8 and back.
    assert operators == made[Scheme.INT8].manifest["operators"]
    assert operators.pop("QUANTIZE") == 2
    edge = {"CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"}
    assert set(operators) == edge
    assert all(channels == scales for channels, scales in kernel_scales(content))


def test_integer_files_list_the_error_of_each_layer(made):
    for scheme in Scheme:
        rows = made[scheme].manifest["layers"]
        if scheme not in NEEDS_CALIBRATION:
            assert not rows
            continue
        counted = collections.Counter(row["operator"] for row in rows)
        assert counted == {"CONV_2D": 6, "MAX_POOL_2D": 3, "FULLY_CONNECTED": 2}
        ends = rows[0]["layer"], rows[-1]["layer"]
        assert ends == ("block1_conv_a", "classes")
        assert all(0 <= row["added"] <= row["error"] < 0.2 for row in rows)
    errors = {s: made[s].manifest["layers"][-1]["error"] for s in NEEDS_CALIBRATION}
    assert errors[Scheme.INT16X8] < errors[Scheme.INT8]
    assert made[Scheme.INT8].manifest["quantised_kernels"] == {"per_channel": 8}
    assert made[Scheme.FLOAT32].manifest["quantised_kernels"] == {}


def test_no_normalisation_is_left_to_a_client_of_raw_pixels(made):
    for scheme, mean in ((Scheme.FLOAT32, [0.0]), (Scheme.INT16X8, [128.0])):
        found = tflite_metadata.parse_normalization(made[scheme].path.read_bytes())
        assert found.mean == mean


def test_conversion_and_packing_are_repeatable(made):
    content = made[Scheme.FLOAT16].path.read_bytes()
    before = made[Scheme.FLOAT16].manifest["sha256"]
    again = export(Scheme.FLOAT16)
    assert again.manifest["sha256"] == before
    assert again.path.read_bytes() == content


def black(self):
    """Calibration images that are black but for the two pixels of the range."""
    for image in np.zeros_like(self.images[:20]):
        image.flat[:2] = (0, 255)
        yield [(image[None].astype(np.float32) - 128) / 128]


def read_files(folder):
    """The content of every int8 file in `folder`, and of the programs beside it."""
    found = [p for made in folder.glob("model_int8*") for p in (made, *made.rglob("*"))]
    return {str(path): path.read_bytes() for path in found if path.is_file()}


def test_black_calibration_images_fail_and_keep_nothing(made, monkeypatch):
    opened = export_runs.opened()
    before = read_files(opened.folder)
    monkeypatch.setattr(CalibrationImages, "normalised", black)
    with pytest.raises(
        TrainingFailed, match="accuracy drops by .* nothing was kept"
    ) as it:
        export(Scheme.INT8)
    assert re.search(r"lose most: \w+ \+\d+\.\d%, block\d_\w+ \+\d", str(it.value))
    assert read_files(opened.folder) == before


def test_a_pixel_range_that_is_not_whole_fails(monkeypatch):
    opened = export_runs.opened()
    options = TFLiteOptions(Scheme.INT8, Io.UINT8)
    images = tflite_writer.select_calibration_images(opened, options)
    images.images[:] = images.images.clip(3, 250)
    with pytest.raises(TrainingFailed, match="must hold a pixel 0 and a pixel 255"):
        converter.convert(opened.network, Scheme.INT8, Io.UINT8, images)


def test_a_sample_is_called_one():
    opened = export_runs.opened("--verify_sample=50", "--max_accuracy_drop=1")
    options = TFLiteOptions(Scheme.DYNAMIC, Io.FLOAT32)
    made = tflite_writer.write_tflite(opened, options)
    test = made.manifest["test"]
    assert test["images"] == 50 and test["sampled"]
    assert "of a sample of 50 of 360 test images" in made.summary()


def test_uncalibrated_says_so():
    opened = export_runs.opened("--nocalibrate")
    assert opened.facts()["temperature"] == "uncalibrated"
    calibrated = export_runs.opened()
    same = calibrated.verification_set.reference.argmax(
        1
    ) == opened.verification_set.reference.argmax(1)
    assert same.all()
    assert not np.allclose(
        calibrated.verification_set.reference, opened.verification_set.reference
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--scheme=int4"],
        ["--quantize", "--scheme=float16"],
        ["--scheme=int16x8", "--io=int8"],
        ["--verify_sample=0"],
        ["--kernels=neon"],
        ["--max_accuracy_drop=2"],
        ["--calibration_images=0"],
        ["--quantize", "--calibration_images=0"],
        ["--calibration_images=10"],
        ["--run_dir=nowhere"],
    ],
)
def test_wrong_usage_is_2_in_two_lines_before_tensorflow(words):
    done = commands.run_command("export.tflite", *words)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) <= 2, done.stderr
    assert lines[0].startswith("export.tflite: ")


def test_a_missed_gate_is_1_in_two_lines(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(CalibrationImages, "normalised", black)
    run = export_runs.copied(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tflite", "--quantize", f"--run_dir={run}"])
    values = tflite.define(flags.FlagValues())
    with pytest.raises(SystemExit) as caught:
        command.run("export.tflite", "", values, lambda: tflite.main(values))
    assert caught.value.code == 1
    said = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in said if not contract.is_progress_line(line)]  # if slow
    assert len(lines) == 2 and lines[0].startswith("export.tflite: accuracy drops by")
    assert not (run / "export").exists()


def swapped(folder) -> str:
    """A --data_dir whose training split holds the test images, and the reverse."""
    root = pathlib.Path(export_runs.opened().data_source.folder)
    copy = shutil.copytree(root, folder / "digits" / root.name)
    names = {"train": "test", "test": "train"}
    for path in [p for p in copy.iterdir() if "tfrecord" in p.name]:
        path.rename(path.with_suffix(f"{path.suffix}.aside"))
    for path in copy.glob("*.aside"):
        (own,) = (name for name in names if f"-{name}." in path.name)
        path.rename(copy / path.stem.replace(f"-{own}.", f"-{names[own]}."))
    info = json.loads((copy / "dataset_info.json").read_text())
    for split in info["splits"]:
        split["name"] = names[split["name"]]
    (copy / "dataset_info.json").write_text(json.dumps(info))
    return str(folder)


def test_training_images_that_are_not_the_runs_own_are_refused(tmp_path):
    run = export_runs.copied(tmp_path)
    where = [f"--run_dir={run}", f"--data_dir={swapped(tmp_path / 'data')}"]
    for scheme in ("int8", "int16x8"):
        values = export_runs.parsed(tflite.define, *where, f"--scheme={scheme}")
        with pytest.raises(
            InvalidInput, match="(?s)are not the run's own .*`data_dir`"
        ):
            tflite.main(values)
    assert not list(run.glob("export/*")) and not (run / "calibration.json").exists()


def unfinished(run) -> None:
    (run / "result.json").unlink()


def damaged(run) -> None:
    (variables,) = run.glob("checkpoints/*/variables.npz")
    content = bytearray(variables.read_bytes())
    content[len(content) // 2] ^= 1
    variables.write_bytes(content)


@pytest.mark.parametrize("harm", [unfinished, damaged])
def test_a_run_that_cannot_be_exported_is_wrong_usage(harm, tmp_path):
    run = export_runs.copied(tmp_path)
    harm(run)
    values = export_runs.parsed(tflite.define, f"--run_dir={run}")
    with pytest.raises(InvalidInput) as caught:
        tflite.main(values)
    assert len(str(caught.value).splitlines()) <= 2
    assert not (run / "export").exists()
