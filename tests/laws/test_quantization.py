"""--qat: fine-tuning that rounds, from a finished run to its int8 file."""

import json
import signal

import numpy as np
import pytest

from export.artifact.number_formats import Io, Scheme
from export.lite import tflite_writer
from export.lite.tflite_options import TFLiteOptions
from tests.support import export_runs
from tests.support.commands import result, run_trainer
from tests.support.flag_values import read
from tests.support.resumed_runs import EXACT, assert_equal_runs, interrupt
from trainer.config.schema import Config
from trainer.errors import InvalidConfig, InvalidInput
from trainer.rundir.layout import Run

TWO = ["--strategy=mirrored", "--logical_devices=2"]
WIDTH = f"--model_kwargs=width={1 / 16}"  # of the template


def test_a_fine_tuned_run_ends_as_an_int8_file_that_answers_as_it_does(
    data_dir, tmp_path
):
    path, first = tmp_path / "run", export_runs.run()
    words = ["--qat", f"--init_from={first}", "--train_steps=12", "--warmup_epochs=0"]
    words += ["--model_kwargs=dropout=0", "--validation_fraction=0.2"]
    done = run_trainer(data_dir, path, *words, "--learning_rate=0.0005", check=True)
    assert "took 16 of 16 weights" in done.stderr
    assert result(path)["test_accuracy"] > result(first)["test_accuracy"] - 0.02
    opened = export_runs.open_inputs(f"--run_dir={path}", "--max_accuracy_drop=0.02")
    made = tflite_writer.write_tflite(opened, TFLiteOptions(Scheme.INT8, Io.UINT8))
    manifest = made.manifest
    assert manifest["test"]["rounded"] and manifest["calibration"] is None
    assert manifest["test"]["flips"] <= 0.02 * manifest["test"]["images"]
    assert set(manifest["quantised_kernels"]) == {"per_channel"}
    assert manifest["operators"]["QUANTIZE"] == 2
    # Their errors contain what ranges cut off: the float tensor is the one before.
    assert manifest["layers"][-1]["layer"] == "classes"
    with pytest.raises(InvalidConfig, match="scheme=int16x8 is not for a run of `qat`"):
        tflite_writer.write_tflite(opened, TFLiteOptions(Scheme.INT16X8, Io.INT16))


@pytest.mark.slow
@pytest.mark.parametrize("places", [[], TWO], ids=["one", "two"])
def test_killed_and_resumed_equals_never_killed(data_dir, template, tmp_path, places):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ["--qat", f"--init_from={template}", "--train_steps=48", WIDTH, *places]
    run_trainer(data_dir, whole, *EXACT, *words, check=True)
    assert interrupt(data_dir, cut, signal.SIGKILL, words) == -signal.SIGKILL
    run_trainer(data_dir, cut, *EXACT, *words, check=True)
    assert_equal_runs(whole, cut)


@pytest.mark.slow
def test_two_replicas_end_near_one_in_float64(data_dir, template, tmp_path):
    words = ["--qat", f"--init_from={template}", "--train_steps=5"]
    words += ["--precision=float64", "--warmup_epochs=0", WIDTH]
    losses = []
    for name, more in (("one", []), ("two", TWO)):
        run_trainer(data_dir, tmp_path / name, *words, *more, check=True)
        losses.append(result(tmp_path / name)["test_loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--qat fine-tunes a finished run; name it with --init_from"),
        (["--freeze=backbone", "--init_from={run}"], "cannot be combined with --qat"),
        (
            ["--model=resnet8", "--sync_batch_norm", "--init_from={run}"],
            "no effect with",
        ),
        (["--model=speednet", "--progressive_size=24", "--init_from={run}"], "ranges"),
    ],
)
def test_what_does_not_go_with_qat_is_said(template, words, said):
    with pytest.raises(InvalidInput, match=said):
        read("--qat", *(word.format(run=template) for word in words))


def test_a_run_of_another_network_is_refused(data_dir, template, tmp_path):
    words = ["--qat", f"--init_from={template}", "--train_steps=2"]
    done = run_trainer(data_dir, tmp_path / "run", *words, "--model=resnet8")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) <= 2
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_config_without_qat_is_that_of_older_runs(template):
    recorded = json.loads((template / "config.json").read_text())["config"]
    recorded["model"].pop("qat")
    assert Config.from_json(recorded) == Run(template).config()
