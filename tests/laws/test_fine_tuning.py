"""--init_from, --freeze, --unfreeze_epoch, --backbone_lr_multiplier as commands."""

import json
import shutil
import signal

import numpy as np
import pytest

from tests.support.commands import result, run_command, run_trainer
from tests.support.flag_values import read
from tests.support.resumed_runs import EXACT, assert_equal_runs, interrupt
from trainer.config.schema import Config
from trainer.errors import InvalidInput
from trainer.rundir import checkpoints
from trainer.rundir.layout import Run
from trainer.rundir.weights import eval_weights

SAME = "--model_kwargs=width=0.0625"  # the network of the template
TUNED = [SAME, "--freeze=backbone", "--backbone_lr_multiplier=0.1"]


def weights(path) -> dict[str, np.ndarray]:
    kept = checkpoints.load_latest(Run(path).checkpoints, skipped=print)
    return eval_weights(kept.arrays)


def test_a_run_starts_from_another_one(data_dir, template, tmp_path):
    path = tmp_path / "run"
    given = [f"--init_from={template}", SAME, "--freeze=backbone"]
    short = ["--train_steps=3", "--warmup_epochs=0"]
    done = run_trainer(data_dir, path, *short, *given, check=True)
    before, after = weights(template), weights(path)
    moved = {k for k in before if not np.array_equal(before[k], after[k])}
    assert {name.split("/")[0] for name in moved} == {"classes"}
    assert f"took {len(before)} of {len(before)} weights" in done.stderr
    assert "frozen: " in done.stderr
    recorded = json.loads((path / "config.json").read_text())
    assert (
        recorded["config"]["model"]["init_sha256"] == result(template)["weights_sha256"]
    )
    assert recorded["pretrained"]["taken"] == list(before)
    assert recorded["pretrained"]["from"] == str(template)
    other = run_trainer(data_dir, path, *short, *given[:2])
    assert other.returncode == 2
    assert "model.freeze: 'backbone' != None" in other.stderr


@pytest.mark.slow
def test_killed_and_resumed_equals_never_killed(data_dir, template, tmp_path):
    whole, cut, moved = tmp_path / "whole", tmp_path / "cut", tmp_path / "moved"
    shutil.copytree(template, moved)
    words = [*TUNED, "--unfreeze_epoch=0.5", "--train_steps=48"]
    words += ["--strategy=mirrored", "--logical_devices=2"]
    given = f"--init_from={template}"
    run_trainer(data_dir, whole, *EXACT, *words, given, check=True)
    assert interrupt(data_dir, cut, signal.SIGKILL, [*words, given]) == -signal.SIGKILL
    given = f"--init_from={moved}"  # the same weights in another place
    run_trainer(data_dir, cut, *EXACT, *words, given, check=True)
    assert_equal_runs(whole, cut)
    again = run_command("trainer.recheck", f"--run_dir={cut}")
    assert again.returncode == 0, again.stderr


def test_an_unfinished_run_has_no_weights_yet(run):
    (run / "result.json").unlink()
    with pytest.raises(InvalidInput, match=f"--init_from={run} has not finished"):
        read(f"--init_from={run}")


def test_a_config_without_these_options_is_that_of_older_runs(template):
    recorded = json.loads((template / "config.json").read_text())["config"]
    for part, name in [
        ("model", "freeze"),
        ("model", "unfreeze_epoch"),
        ("model", "init_sha256"),
        ("optim", "backbone_lr_multiplier"),
    ]:
        recorded[part].pop(name)
    assert Config.from_json(recorded) == Run(template).config()
