"""Flag files: launch reads them as the trainer does, and keeps their flags alone."""

import pytest
from absl import flags as absl_flags

from launch import flag_checks, kubernetes, local, slurm, vertex, worker
from launch.command_line import UsageError
from launch.trainer_command import TrainerCommand, expand_flag_files
from tests.support.launch_jobs import CLUSTER, SLURM, VERTEX
from tests.support.studies import define
from trainer.cli import command, flags
from trainer.errors import InvalidInput

FILES = {
    "a.flags": "# a comment\n\n  --epochs=3  \n// another\n--flagfile=deep/b.flags\n"
    "--seed\n7\n   \n--model_kwargs=width=0.5\n",
    "deep/b.flags": "--epochs=4\n--flagfile=c.flags\n-optimizer=sgd",
    "c.flags": "--nodeterministic\n--data_dir=/a b#c\n",
    "round.flags": "--epochs=5\n--flagfile=round.flags\n--seed=1\n",
    "empty.flags": "",
}
LISTS = [
    [],
    ["--epochs=9", "--flagfile=a.flags"],
    ["--flagfile=a.flags", "--epochs=9"],
    ["--epochs", "9", "--flagfile", "a.flags", "--seed", "2"],
    ["-flagfile=c.flags", "-flagfile", "a.flags"],
    ["--debug", "--flagfile=~/c.flags", "--flagfile=c.flags"],
    ["--teacher", "--flagfile=c.flags"],
    ["--flagfile=round.flags", "--flagfile=empty.flags", "--flagfile="],
]
REFUSED = {
    "--flagfile=/no/file": "--flagfile=/no/file cannot be read: No such file",
    "--flagfile=.": "--flagfile=. cannot be read: Is a directory",
    "--flagfile": "no argument",
    "--flagfile=bytes.flags": "cannot be read: 'utf-8'",
    "--flagfile=lost.flags": "--flagfile=/no/file cannot be read",
    "--flagfile=indented.flags": "'--flagfile=c.flags' in a flag file is not followed",
    "--flagfile=nameless.flags": "'--flagfile' in a flag file is not followed",
}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "deep").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "bytes.flags").write_bytes(b"--epochs=3\n\xff")
    (tmp_path / "lost.flags").write_text("--flagfile=/no/file\n")
    (tmp_path / "indented.flags").write_text(" --flagfile=c.flags\n")
    (tmp_path / "nameless.flags").write_text("--flagfile\nc.flags\n")


def trainer_reads(words):
    values = flags.define(absl_flags.FlagValues())
    command.parse(values, ["trainer.main", *words], renamed=flags.RENAMED)
    return values.flag_values_dict()


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_the_trainer_reads_the_same_from_the_flags_as_from_their_files(words):
    found = expand_flag_files(words)
    assert not [word for word in found if "flagfile" in word]
    assert trainer_reads(found) == trainer_reads(words)
    assert expand_flag_files(found) == found


def test_each_flag_stands_where_its_file_was_named():
    assert expand_flag_files(["--seed=1", "--flagfile=deep/b.flags", "--seed=2"]) == [
        "--seed=1",
        "--epochs=4",
        "--nodeterministic",
        "--data_dir=/a b#c",
        "-optimizer=sgd",
        "--seed=2",
    ]


@pytest.mark.parametrize("word", REFUSED)
def test_what_the_trainer_refuses_is_refused(word):
    with pytest.raises(InvalidInput):
        trainer_reads([word])
    with pytest.raises((UsageError, absl_flags.Error), match=REFUSED[word]):
        expand_flag_files([word])


def test_a_restart_does_not_read_the_file_again(tmp_path, monkeypatch):
    plans = []

    class Done:
        def __init__(self, plan):
            plans.append(plan)

        def run(self):
            return 0

    monkeypatch.setattr(local, "Supervisor", Done)
    monkeypatch.setattr(flag_checks, "find_refusal", lambda *_: None)
    assert local.main(["--workers=1", "--", "--flagfile=c.flags", "--run_dir=r"]) == 0
    (tmp_path / "c.flags").unlink()
    (plan,) = plans
    for restarts in (0, 1):
        assert plan.trainer.arguments_after(restarts) == (
            "--nodeterministic",
            "--data_dir=/a b#c",
            "--run_dir=r",
            "--strategy=multi_worker",
        )
    again = TrainerCommand.from_flags(plan.trainer.arguments, default_run_dir="b")
    assert again.arguments == plan.trainer.arguments


PRINTING = [
    (slurm, SLURM[1:], ["--flagfile=deep/b.flags"]),
    (kubernetes, CLUSTER[1:], ["--flagfile=deep/b.flags"]),
    (vertex, VERTEX[1:], ["--flagfile=deep/b.flags"]),
    (slurm, [*SLURM[1:], "--array=2"], ["--flagfile=study.flags"]),
    (kubernetes, [*CLUSTER[1:], "--study"], ["--flagfile=study.flags"]),
]


@pytest.mark.parametrize(("module", "own", "words"), PRINTING)
def test_a_job_for_another_machine_has_the_flags_and_needs_no_file(
    module, own, words, tmp_path, capsys
):
    (tmp_path / "study.flags").write_text("--study_dir=/s\n--workers=2\n")
    assert module.main([*own, "--", *words]) == 0
    printed = capsys.readouterr().out
    assert "flagfile" not in printed
    assert ("--workers=2" if "study" in words[0] else "--epochs=4") in printed


def test_a_worker_becomes_a_trainer_that_has_the_flags():
    job = {"LAUNCH_JOB": "a", "LAUNCH_WORKERS": "1", "LAUNCH_PORT": "2222"}
    started = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flag_checks, "find_refusal", lambda *_: None)
        patch.setattr(worker, "_end_on_signals", lambda: None)
        patch.setattr(worker.rendezvous, "wait_for_peers", lambda *_, **__: None)
        worker.main(
            ["--", "--flagfile=c.flags", "--run_dir=r"],
            {**job, "JOB_COMPLETION_INDEX": "0"},
            lambda program, words, environment: started.append(words),
        )
    assert started[0][3:5] == ["--nodeterministic", "--data_dir=/a b#c"]


OWN = ["--run_dir=r", "--resume=never", "--dry_run", "--pause_at=0.5"]


@pytest.mark.parametrize("line", [*OWN, "--strategy=multi_worker"])
def test_a_file_cannot_set_what_is_the_study_s(line, tmp_path):
    (tmp_path / "own.flags").write_text(f"{line}\n")
    with pytest.raises(UsageError, match=line.partition("=")[0]):
        flag_checks.read_trainer_flags(["--flagfile=own.flags"])


def test_the_flags_of_any_run_can_be_those_of_a_study(tmp_path):
    """flags.txt has the root of its run, and whether it was tested."""
    for test in ("--test", "--notest"):
        values = flags.define(absl_flags.FlagValues())
        command.parse(values, ["trainer.main", "--dataset=digits", test])
        (tmp_path / "flags.txt").write_text(flags.flag_file(values))
        found = flag_checks.read_trainer_flags(["--flagfile=flags.txt"])
        assert test in found
        study = define(trainer_flags=tuple(found))
        for tested in (False, True):
            words = study.trial_arguments(0, {"learning_rate": 0.1}, tested=tested)
            assert trainer_reads(words)["test"] is tested
