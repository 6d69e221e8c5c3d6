"""A recheck confirms what a run says of itself, and finds what is not so."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest

from tests.support import forged_files
from tests.support.commands import run_command, run_trainer
from tests.support.eval_models import tree
from tests.support.resumed_runs import SINGLE, TWO
from trainer.config.enums import Strategy
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


def moved(checkpoint, **change):
    """A checkpoint that says that it was computed in another place."""
    place = {**checkpoint.facts["place"], **change}
    return dataclasses.replace(checkpoint, facts={**checkpoint.facts, "place": place})


@pytest.fixture
def kept(run):
    return replay._load_kept(layout.Run(run))


@pytest.fixture
def on_two_replicas(run, kept):
    """A session on two replicas of the machine that trained `run`."""
    here = {**kept[-1].facts["place"], "strategy": "mirrored", "replicas": 2}
    found = layout.Run(run)
    described = SimpleNamespace(
        data=found.recorded()["data"],
        environment=here["environment"],
        reproducibility_key=here,
    )
    return SimpleNamespace(run=found, metadata=described, config=found.config())


def test_only_elastic_shards_are_replayed_on_other_replicas(kept, on_two_replicas):
    with pytest.raises(TrainingFailed, match="replicas: 1 != 2; strategy"):
        replay._check_machine(on_two_replicas, kept)
    config = dataclasses.replace(on_two_replicas.config, elastic_shards=4)
    on_two_replicas.config = config
    workers = moved(kept[-1], strategy="multi_worker", replicas=4, workers=4)
    replay._check_machine(on_two_replicas, [*kept, workers])
    environment = {**kept[-1].facts["place"]["environment"], "threads": 63}
    other = moved(kept[-1], environment=environment)
    with pytest.raises(TrainingFailed, match="now: threads: 63 -> "):
        replay._check_machine(on_two_replicas, [*kept, other])


def test_only_elastic_shards_of_workers_are_replayed_by_one_process(
    run, kept, tmp_path
):
    last = moved(kept[-1], strategy="multi_worker", replicas=2, workers=2)
    with pytest.raises(TrainingFailed, match="2 workers, .* has `elastic_shards`"):
        replay._run_config(layout.Run(run), last, None)
    path = shutil.copytree(run, tmp_path / "run", symlinks=True)
    recorded = json.loads((run / "config.json").read_text())
    recorded["config"]["elastic_shards"] = 2
    (path / "config.json").write_text(json.dumps(recorded))
    config = replay._run_config(layout.Run(path), last, None)
    assert (config.strategy, config.logical_devices) == (Strategy.ONE_DEVICE, None)


@pytest.mark.slow
def test_an_elastic_run_is_confirmed_on_the_replicas_of_its_end(data_dir, tmp_path):
    path = tmp_path / "run"
    words = [*SINGLE, "--elastic_shards=2", "--train_steps=12", "--threads=2"]
    words += ["--eval_every_epochs=0.15", "--keep_checkpoints=9"]
    run_trainer(data_dir, path, *words, "--pause_at=0.5", check=True)
    assert not (path / "result.json").exists()
    run_trainer(data_dir, path, *words, *TWO, check=True)
    done = recheck(path, fresh=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("steps")]
    assert [line.endswith("manifest (replicas: 1 -> 2)") for line in lines] == [
        True, False, False
    ]  # fmt: skip
    last = checkpoints.load(checkpoints.step_folder(path / "checkpoints", 12)).facts
    workers = {"strategy": "multi_worker", "replicas": 2, "workers": 2}
    rewritten(path, 12, place={**last["place"], **workers})
    done = recheck(path, fresh=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(replicas: 2 -> 1)") == 2


def test_no_run_and_no_checkpoint_are_wrong_usage(tmp_path):
    assert recheck(tmp_path, fresh=False).returncode == 2
    (tmp_path / "config.json").write_text("{}")
    done = recheck(tmp_path, fresh=False)
    assert done.returncode == 2
    assert "no good checkpoint" in done.stderr
