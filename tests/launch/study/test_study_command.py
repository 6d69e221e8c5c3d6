"""The command: a study with a stand-in for the trainer, killed and never killed."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from absl import flags as absl_flags

from launch import flag_checks, trainer_command
from launch.study import study_storage
from tests.support import fake_sweep
from tests.support.commands import ROOT
from trainer.cli import flag_lists, flags

TRY = ["--try=learning_rate=log:1e-4:1e-1", "--try=model_kwargs.width=0.5,1,2"]
TRAINER = ["--", "--dataset=digits", "--epochs=4"]
FAKE = str(ROOT / "tests" / "support" / "fake_sweep.py")


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch):
    """The trainer's flags are checked in this process."""
    values = flags.define(absl_flags.FlagValues())

    def ask(lists):
        return [flag_lists.check_list(values, words) for words in lists]

    monkeypatch.setattr(flag_checks, "_ask", ask)


def sweep(study_dir, *words):
    return fake_sweep.main([f"--study_dir={study_dir}", *words])


def table(study_dir):
    return json.loads((pathlib.Path(study_dir) / "trials.json").read_text())


def states(study_dir):
    return [row["state"] for row in table(study_dir)["trials"]]


def trained_steps(study_dir):
    """Steps of each trial by the processes that made them."""
    return {
        path.parent.name: [line.split() for line in path.read_text().splitlines()]
        for path in pathlib.Path(study_dir).glob("trials/*/steps.log")
    }


BAD = [
    ["--try=learning_rate=1"],
    ["--try=learning_rate=0.1,zero", "--trials=4"],
    ["--try=learning_rate=float:-1:1", "--trials=4"],
    ["--try=learning_rat=0.1,0.2", "--trials=4"],
    ["--try=model_kwargs.widht=1,2", "--trials=4"],
    ["--try=model_kwargs.width=float:-1:1", "--trials=4"],
    ["--try=global_batch=float:8:16", "--trials=4"],
    ["--try=global_batch=int:0:16", "--trials=4"],
    ["--try=optimizer=adamw,adam", "--trials=4"],
    ["--try=momentum=0.5,0.9", "--trials=4"],  # belongs to sgd
    ["--try=epochs=1,2", "--seeds=0"],
    ["--try=epochs=1,2", "--trials=0"],
    ["--try=epochs=1,2", "--sampler=random"],  # no number of trials
    ["--try=epochs=float:1:2"],  # a grid without points
    ["--try=epochs=1,2", "--trials=3", "--seeds=2"],
    ["--try=epochs=1,2", "--trials=3", "--sampler=grid"],
    ["--try=epochs=1,2", "--trials=3", "--sampler=genetic"],
    ["--try=epochs=1,2", "--trials=4", "--sampler=cmaes"],
    ["--try=epochs=float:1:2", "--trials=9", "--sampler=tpe", "--pruner=halving"],
    ["--try=epochs=1,2", "--trials=2", "--pruner=halving"],
    ["--try=epochs=1,2", "--trials=4", "--objective=accuracy,size"],
    ["--try=epochs=1,2", "--trials=4", "--objective=seconds"],
    ["--try=epochs=1,2", "--trials=4", "--objective=accuracy,accuracy"],
    ["--try=epochs=1,2", "--trials=9", "--objective=accuracy,seconds"]
    + ["--pruner=median"],
    ["--space=nowhere.toml"],
    ["--seeds=1"],
    ["--seeds=2", "--storage=no url"],
    ["--seeds=2", "--workers=2", "--cores_per_trial=4096"],
    ["--seeds=2", "--study_name="],
    ["--seeds=2", "--finish"],
    ["--seeds=2", "--all_rows"],
    ["--seeds=2", "--study_dir=/proc/x"],
    ["--seeds=2", "--", "--epochs=0"],
    ["--seeds=2", "--", "--run_dir=a"],
    ["--seeds=2", "--", "--notest"],
    ["--seeds=2", "--", "--strategy=multi_worker"],
    ["--seeds=2", "--", "--validation_fraction=0"],
    ["--seeds=2", "--", "--seed=2147483647"],
    ["--seeds=2", "--", "--", "--epochs=1"],
]


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_wrong_usage(words, capsys, tmp_path, monkeypatch):
    """Exit code 2, two lines at most, and nothing made."""
    monkeypatch.chdir(tmp_path)
    given = words if "--" in words else [*words, *TRAINER]
    assert sweep(tmp_path / "s", *given) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("launch.sweep: ")
    assert 1 <= len(captured.err.splitlines()) <= 2
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "photo.png").touch()
    assert sweep(tmp_path, "--seeds=2", *TRAINER) == 2
    assert "holds no study" in capsys.readouterr().err


def test_a_trial_that_cannot_start_ends_before_anything_is_made(
    tmp_path, capfd, monkeypatch
):
    monkeypatch.setenv("FAKE_FAIL_ABOVE", "0.1")
    words = ["--seeds=2", "--", "--dataset=digits", "--learning_rate=0.5"]
    assert sweep(tmp_path / "s", *words) == 1
    assert "the loss of step 3 is nan" in capfd.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of two workers that nobody disturbed."""
    study_dir = tmp_path_factory.mktemp("studies") / "whole"
    code = subprocess.run(
        [sys.executable, FAKE, f"--study_dir={study_dir}", *HALVING], cwd=ROOT
    ).returncode
    assert code == 0
    return study_dir


HALVING = ["--study_name=s", "--trials=9", "--pruner=halving", "--workers=2", *TRY]
HALVING += ["--", "--dataset=digits", "--epochs=6"]


def test_halving_trains_few_to_the_end(whole):
    found = table(whole)
    assert sorted(states(whole)) == ["complete"] * 3 + ["pruned"] * 6
    assert {row["epochs"] for row in found["trials"]} == {2.0, 6.0}
    assert (
        found["winner"]["configuration"]
        == found["configurations"][
            min(range(9), key=lambda i: found["configurations"][i]["rank"] or 99)
        ]["number"]
    )
    for steps in trained_steps(whole).values():
        assert [int(step) for _, step in steps] == list(range(1, len(steps) + 1))


def processes(study_dir):
    """Pids of the trials of a study that are running."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(w.startswith(f"--run_dir={study_dir}/".encode()) for w in words):
            found.append(int(path.name))
    return found


def kill_often(study_dir, kills, seed):
    """Kills supervisors and trials at random; then lets one end. Returns its code."""
    dice = random.Random(seed)
    slow = {**os.environ, "FAKE_STEP_SECS": "0.05"}
    for kill in range(kills):
        again = [] if (study_dir / "study.json").exists() else HALVING
        process = subprocess.Popen(
            [sys.executable, FAKE, f"--study_dir={study_dir}", *again],
            cwd=ROOT,
            env=slow,
        )
        if kill % 4:  # else at any moment of the start
            wait_for_trials(process, study_dir)
        end = time.monotonic() + dice.uniform(0, 1.5)
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.02)
            running = processes(study_dir)
            if running and kill % 3 == 0 and dice.random() < 0.05:
                os.kill(dice.choice(running), signal.SIGKILL)
        process.kill()
        process.wait()
        end = time.monotonic() + 10
        while processes(study_dir):
            assert time.monotonic() < end, "a trial outlived its supervisor"
            time.sleep(0.02)
    last = [sys.executable, FAKE, f"--study_dir={study_dir}", *HALVING]
    return subprocess.run(last, cwd=ROOT).returncode


def wait_for_trials(process, study_dir):
    while process.poll() is None and not processes(study_dir):
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("kills", "seed"),
    [(4, 0), *(pytest.param(30, s, marks=pytest.mark.faults) for s in range(1, 4))],
)
def test_killed_and_resumed_is_the_study_that_was_never_killed(
    whole, tmp_path, kills, seed
):
    study_dir = tmp_path / "killed"
    assert kill_often(study_dir, kills, seed) == 0
    ours, theirs = table(study_dir), table(whole)
    assert ours["table_sha256"] == theirs["table_sha256"]
    assert len(list((study_dir / "trials").glob("*/result.json"))) == 3
    assert not list(study_dir.glob("trials/*/started_again"))


def test_two_directories_and_one_storage_train_no_trial_twice(tmp_path):
    url = f"sqlite:///{tmp_path}/shared.db"
    words = ["--study_name=both", f"--storage={url}", "--trials=8", *TRY, *TRAINER]
    started = [
        subprocess.Popen(
            [sys.executable, FAKE, f"--study_dir={tmp_path / place}", *words], cwd=ROOT
        )
        for place in "ab"
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    a, b = (trained_steps(tmp_path / place) for place in "ab")
    assert sorted([*a, *b], key=int) == [str(n) for n in range(8)]
    first, second = table(tmp_path / "a"), table(tmp_path / "b")
    assert first["table_sha256"] == second["table_sha256"]
    assert len(first["trials"]) == 8


def test_a_failed_trial_is_recorded_and_a_finished_one_is_not_run_again(
    tmp_path, capfd, monkeypatch
):
    monkeypatch.setenv("FAKE_FAIL_ABOVE", "0.1")
    study_dir = tmp_path / "s"
    words = ["--try=learning_rate=0.001,0.01,0.5", *TRAINER]
    assert sweep(study_dir, *words) == 0
    assert states(study_dir) == ["complete", "complete", "failed"]
    reason = table(study_dir)["trials"][2]["reason"]
    assert reason == "trainer.main: the loss of step 3 is nan at rate 0.5"
    before = trained_steps(study_dir)
    (study_dir / "study.db").unlink()  # a storage that was lost is made again
    assert sweep(study_dir, *words) == 0
    assert trained_steps(study_dir) == before
    assert "trial 0 goes on" in capfd.readouterr().err


def test_a_signal_lets_trials_save_and_the_same_command_goes_on(tmp_path):
    study_dir = tmp_path / "s"
    words = [f"--study_dir={study_dir}", "--trials=2", "--workers=2", *TRY[:1]]
    words += ["--", "--dataset=digits", "--epochs=30"]
    process = subprocess.Popen([sys.executable, FAKE, *words], cwd=ROOT)
    while len(list(study_dir.glob("trials/*/checkpoint.json"))) < 2:
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert not processes(study_dir)
    assert states(study_dir) == ["running"] * 2
    done = subprocess.run([sys.executable, FAKE, f"--study_dir={study_dir}"], cwd=ROOT)
    assert done.returncode == 0
    assert states(study_dir) == ["complete"] * 2


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(tmp_path):
    """What tpe suggests and the median prunes depends on --concurrent alone."""
    words = ["--study_name=m", "--trials=14", "--sampler=tpe", "--pruner=median"]
    words += ["--concurrent=2", "--cores_per_trial=1", *TRY, *TRAINER]
    found = []
    for workers in (1, 2):
        place = [f"--study_dir={tmp_path / str(workers)}", f"--workers={workers}"]
        subprocess.run([sys.executable, FAKE, *place, *words], cwd=ROOT, check=True)
        found.append(table(tmp_path / str(workers)))
    assert found[0]["table_sha256"] == found[1]["table_sha256"]
    assert "pruned" in states(tmp_path / "1")


def test_other_flags_are_refused_for_the_same_study(tmp_path, capsys):
    study_dir = tmp_path / "s"
    assert sweep(study_dir, "--seeds=2", *TRAINER) == 0
    capsys.readouterr()
    assert sweep(study_dir, "--seeds=3", *TRAINER) == 2
    assert "seeds: 2 != 3" in capsys.readouterr().err
    assert sweep(study_dir, "--seeds=2", "--storage=sqlite:////tmp/x.db", *TRAINER) == 2
    assert sweep(study_dir, "--seeds=2", *TRAINER) == 0


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def flagfile(tmp_path):
    path = tmp_path / "a.flags"
    path.write_text("# of every trial\n--dataset=digits\n\n--epochs=4\n")
    return path


@pytest.mark.parametrize("text", [None, "--dataset=digits\n--epochs=2\n"])
def test_a_study_has_the_flags_of_its_file_whatever_becomes_of_it(
    tmp_path, capsys, flagfile, text
):
    """Later trials trained for two epochs, and nothing said so."""
    study_dir = tmp_path / "s"
    named = ["--seeds=2", "--", f"--flagfile={flagfile}"]
    assert sweep(study_dir, "--norun", *named) == 0
    kept = json.loads((study_dir / "study.json").read_text())["trainer_flags"]
    assert kept == ["--dataset=digits", "--epochs=4"]
    assert sweep(study_dir, "--norun", *named) == 0
    flagfile.unlink() if text is None else flagfile.write_text(text)
    before = contents(study_dir)
    capsys.readouterr()
    assert sweep(study_dir, *named) == 2
    why = "['--epochs=4'] != ['--epochs=2']" if text else "a.flags cannot be read"
    assert why in capsys.readouterr().err
    assert contents(study_dir) == before
    assert sweep(study_dir) == 0
    assert sweep(study_dir, "--seeds=2", *TRAINER) == 0
    for number in (0, 1):
        trained = json.loads((study_dir / f"trials/{number}/config.json").read_text())
        assert trained["epochs"] == "4"


def define_as_earlier(monkeypatch, study_dir, named):
    """Defines a study whose study.json names its flag file."""
    with monkeypatch.context() as patch:
        patch.setattr(trainer_command, "expand_flag_files", list)
        assert sweep(study_dir, "--norun", *named) == 0
    assert named[-1] in (study_dir / "study.json").read_text()


def test_a_study_of_an_earlier_release_goes_on_with_its_file(
    tmp_path, monkeypatch, flagfile
):
    named = ["--seeds=2", "--", f"--flagfile={flagfile}"]
    for name, words in (("one", []), ("two", named)):
        define_as_earlier(monkeypatch, tmp_path / name, named)
        assert sweep(tmp_path / name, *words) == 0
        assert states(tmp_path / name) == ["complete"] * 2


@pytest.mark.parametrize("text", [None, "--epochs=0", "--grace_secs=0.5"])
def test_a_flagfile_that_has_gone_or_changed_is_refused_before_a_trial_begins(
    tmp_path, capsys, monkeypatch, flagfile, text
):
    """A trial had its lease and its record before it was found."""
    study_dir = tmp_path / "s"
    named = ["--seeds=2", "--", f"--flagfile={flagfile}"]
    define_as_earlier(monkeypatch, study_dir, named)
    before = contents(study_dir)
    flagfile.unlink() if text is None else flagfile.write_text(text)
    for words in ([], named, ["--finish", "--seeds=2"]):
        capsys.readouterr()
        assert sweep(study_dir, *words) == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) <= 2
        assert (text or "a.flags cannot be read").partition("=")[0] in said
    assert contents(study_dir) == before


def test_a_refusal_comes_before_anything_is_written(tmp_path, capsys, monkeypatch):
    storage = f"--storage=sqlite:///{tmp_path}/shared.db"
    words = ["--norun", "--study_name=a", storage]
    assert sweep(tmp_path / "one", *words, "--seeds=2", *TRAINER) == 0
    assert sweep(tmp_path / "two", *words, "--seeds=3", *TRAINER) == 2
    assert "seeds: 2 != 3" in capsys.readouterr().err
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert sweep(tmp_path / "two", "--seeds=2", *TRAINER) == 2
    assert "TMPDIR" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


def test_finish_makes_no_storage(tmp_path, capsys):
    study_dir = tmp_path / "s"
    assert sweep(study_dir, "--norun", "--seeds=2", *TRAINER) == 0
    (study_dir / "study.db").unlink()
    assert sweep(study_dir, "--finish") == 2
    assert "2 of 2 trials are not finished" in capsys.readouterr().err
    assert [path.name for path in study_dir.iterdir()] == ["study.json"]


def test_the_winner_is_trained_again_with_a_test_and_new_seeds(tmp_path, capsys):
    study_dir = tmp_path / "s"
    assert sweep(study_dir, "--trials=4", *TRY[:1], *TRAINER) == 0
    assert sweep(study_dir, "--finish", "--seeds=2") == 0
    captured = capsys.readouterr()
    assert "may be luck" in captured.out
    found = json.loads((study_dir / "finish.json").read_text())
    assert [run["seed"] for run in found["runs"]] == [1, 2]
    for seed in (1, 2):
        result = json.loads((study_dir / f"finish/{seed}/result.json").read_text())
        assert result["tested"]
    assert sweep(study_dir, "--finish", "--seeds=1", "--all_rows") == 0
    told = json.loads((study_dir / "finish_all_rows/1/config.json").read_text())
    assert told["validation_fraction"] == "0" and told["seed"] == "1"
    assert "notest" not in told
    openings = {"openings": [{"time": "2026-01-01T00:00:00Z"}]}
    (study_dir / "test_openings.json").write_text(json.dumps(openings))
    assert sweep(study_dir, "--finish", "--seeds=2") == 0
    assert "opened once before" in capsys.readouterr().err


def test_an_unfinished_study_cannot_be_finished(tmp_path, capsys):
    study_dir = tmp_path / "s"
    assert sweep(study_dir, "--seeds=2", *TRAINER) == 0
    storage = study_storage.open_storage(f"sqlite:///{study_dir}/study.db")
    for name in ("s", "s (leases)"):
        storage.delete_study(storage.get_study_id_from_name(name))
    assert sweep(study_dir, "--finish") == 2
    assert "2 of 2 trials are not finished" in capsys.readouterr().err
