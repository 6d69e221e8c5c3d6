"""Damaged checkpoints under a trainer that resumes: no wrong load, no traceback."""

import random
import shutil

import pytest

from tests.support import jobs
from tests.support.commands import result
from tests.support.damage import DAMAGES
from trainer.rundir import checkpoints

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
LONG = ["--train_steps=60", "--keep_checkpoints=8", "--eval_every_epochs=5"]
FILES = [checkpoints.MANIFEST, checkpoints.VARIABLES]
ALONE = 140  # damaged without a trainer, read by the function that it resumes with


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """A finished run with eight checkpoints."""
    path = tmp_path_factory.mktemp("runs") / "run"
    train(data_dir, path)
    return path


def train(data_dir, path, *words: str) -> str:
    words = [*jobs.EXACT, *LONG, *words]
    ((code, said),) = jobs.finish(jobs.launch("one", data_dir, path, *words))
    assert code == 0, said
    return said


def another_models(path, generator) -> None:
    """Puts a good checkpoint of another network under this name."""
    found = checkpoints.load(path)
    arrays = {f"{name}x": array for name, array in found.arrays.items()}
    facts = {**found.facts, "config": {**found.facts["config"], "seed": 99}}
    del facts["files"], facts["manifest_sha256"]
    checkpoints.save(path.parent, arrays, facts)


def test_many_damaged_ones_are_never_loaded(run, tmp_path):
    wrong, kept = 0, checkpoints.load_latest(run / "checkpoints", skipped=print)
    expected = {"config": kept.facts["config"]}
    for seed in range(ALONE):
        generator = random.Random(seed)
        copy = tmp_path / str(seed)
        shutil.copytree(run / "checkpoints", copy)
        newest, second, *_ = checkpoints.list_folders(copy)
        if seed % 7 == 6:
            another_models(newest, generator)
        else:
            DAMAGES[seed % len(DAMAGES)](newest / FILES[seed % 2], generator)
        said = []
        found = checkpoints.load_latest(copy, skipped=said.append, expected=expected)
        wrong += found.path != second or len(said) != 1 or "\n" in said[0]
        shutil.rmtree(copy)
    print(f"\ndamaged checkpoints: {ALONE}, wrong loads: {wrong}")
    assert wrong == 0


@pytest.mark.parametrize("damage", [*DAMAGES, another_models])
def test_a_run_resumes_before_the_damage_and_ends_the_same(
    data_dir, run, tmp_path, damage
):
    cut, generator = tmp_path / "run", random.Random(1)
    shutil.copytree(run, cut)
    (cut / "result.json").unlink()
    newest, second, *_ = checkpoints.list_folders(cut / "checkpoints")
    for path in (newest, second):
        at = path if damage is another_models else path / generator.choice(FILES)
        damage(at, generator)
    said = train(data_dir, cut)
    assert "Traceback" not in said
    assert said.count("skipped checkpoint") == 2
    assert "resumed" in said
    assert result(cut)["weights_sha256"] == result(run)["weights_sha256"]
    assert result(cut)["rows_sha256"] == result(run)["rows_sha256"]


def test_none_good_and_must_is_wrong_usage(data_dir, run, tmp_path):
    cut = tmp_path / "run"
    shutil.copytree(run, cut)
    (cut / "result.json").unlink()
    for path in checkpoints.list_folders(cut / "checkpoints"):
        (path / checkpoints.MANIFEST).write_bytes(b"")
    words = [*jobs.EXACT, *LONG, "--resume=must"]
    ((code, said),) = jobs.finish(jobs.launch("one", data_dir, cut, *words))
    assert code == 2, said
    assert "no good checkpoint" in said
    assert "Traceback" not in said
