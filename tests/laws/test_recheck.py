"""A recheck confirms what a run says of itself, and finds what is not so."""

import json
import shutil

import pytest

from tests.support import forged_files
from tests.support.commands import run_command, run_trainer
from tests.support.eval_models import tree
from trainer.errors import InvalidInput, TrainingFailed
from trainer.rundir import checkpoints, layout
from trainer.training import replay


@pytest.fixture(scope="module")
def run(single_run, tmp_path_factory):
    """A run of 48 steps whose checkpoints of steps 42, 45 and 48 are kept."""
    path = tmp_path_factory.mktemp("runs") / "run"
    return shutil.copytree(single_run, path, symlinks=True)


def recheck(path, *, fresh: bool = True):
    return run_command("trainer.recheck", f"--run_dir={path}", fresh=fresh)


def rewritten(path, step: int, **change) -> None:
    """A good checkpoint that says something else."""
    found = checkpoints.load(checkpoints.step_folder(path / "checkpoints", step))
    facts = {**found.facts, **change}
    del facts["files"], facts["manifest_sha256"]
    checkpoints.save(path / "checkpoints", found.arrays, facts)


def test_a_run_is_confirmed_and_nothing_is_written(run):
    before = tree(run)
    done = recheck(run)
    assert done.returncode == 0, done.stderr
    assert "steps 43 to 45" in done.stdout
    assert "steps 46 to 48" in done.stdout
    assert tree(run) == before


@pytest.mark.slow
def test_other_hashes_and_other_machines_are_named(run):
    good = checkpoints.load(checkpoints.step_folder(run / "checkpoints", 48)).facts
    rewritten(run, 48, rows_sha256="0" * 64)
    done = recheck(run)
    assert done.returncode == 1
    assert "rows_sha256" in done.stderr
    assert "46 to 48" in done.stderr
    place = json.loads(json.dumps(good["place"]))
    place["environment"]["packages"]["tensorflow"] = "1.15"
    rewritten(run, 48, rows_sha256=good["rows_sha256"], place=place)
    done = recheck(run)
    assert done.returncode == 1
    assert "tensorflow: '1.15' -> " in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    rewritten(run, 48, place=good["place"])


def test_a_claim_of_other_weights_is_named(run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(run, path)
    forged_files.reseal(path / "checkpoints" / "step-00000048", weights_sha256="0" * 64)
    with pytest.raises(
        TrainingFailed, match="step-00000048: .* weights_sha256 000000000000"
    ):
        replay._load_kept(layout.Run(path))


@pytest.mark.slow
def test_a_foreign_checkpoint_is_skipped_as_the_trainer_does(run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(run, path)
    facts = checkpoints.load(checkpoints.step_folder(path / "checkpoints", 45)).facts
    rewritten(path, 45, config=facts["config"] | {"seed": 5})
    (path / "environment.json").unlink()
    done = recheck(path)
    assert done.returncode == 0, done.stderr
    assert "step-00000045: it belongs to another run: config differs" in done.stdout
    assert "steps 43 to 48" in done.stdout


@pytest.mark.parametrize("change", [{"data": [1]}, {"data": None}, {"run": []}])
def test_a_damaged_config_is_named(run, tmp_path, change):
    path = tmp_path / "run"
    shutil.copytree(run, path)
    recorded = json.loads((path / "config.json").read_text()) | change
    (path / "config.json").write_text(json.dumps(recorded))
    found = layout.Run(path)
    with pytest.raises(InvalidInput, match="config.json is damaged"):
        kept = replay._load_kept(found)
        replay._run_config(found, kept[-1], None)


@pytest.mark.slow
def test_one_checkpoint_is_replayed_from_the_start(data_dir, tmp_path):
    words = ["--strategy=mirrored", "--logical_devices=2", "--train_steps=6"]
    run_trainer(data_dir, tmp_path / "run", *words, check=True)
    done = recheck(tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "steps 1 to 6" in done.stdout


def test_no_run_and_no_checkpoint_are_wrong_usage(tmp_path):
    assert recheck(tmp_path, fresh=False).returncode == 2
    (tmp_path / "config.json").write_text("{}")
    done = recheck(tmp_path, fresh=False)
    assert done.returncode == 2
    assert "no good checkpoint" in done.stderr
