"""What launch.local gives to each worker: flags, cores, GPUs; and how it reads them."""

import json
import pathlib

import pytest

from launch import local, run_dir, shares
from launch.commandline import UsageError
from launch.heartbeat import Heartbeat
from launch.training import Training, local_run_dir


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(shares.os, "sched_getaffinity", lambda _: {2, 3, 6, 7})


def test_cores_are_divided_evenly_and_never_shared(four_cores):
    assert shares.cores(2, None) == [[2, 3], [6, 7]]
    assert shares.cores(3, None) == [[2], [3], [6]]
    assert shares.cores(2, 1) == [[2], [3]]


def test_more_workers_than_cores_share(four_cores):
    assert shares.cores(5, None) == [[2], [3], [6], [7], [2]]


def test_more_cores_than_there_are_is_wrong_usage(four_cores):
    with pytest.raises(UsageError, match="need 6 cores, 4 are usable"):
        shares.cores(2, 3)


@pytest.mark.parametrize(
    ("visible", "workers", "expected"),
    [
        ("0,1,2,3", 2, [["0", "1"], ["2", "3"]]),
        ("0,1,2", 2, [["0"], ["1"]]),
        ("GPU-a,GPU-b", 2, [["GPU-a"], ["GPU-b"]]),
        ("0,-1,1", 1, [["0"]]),
        ("", 2, [[], []]),
        ("-1", 2, [[], []]),
    ],
)
def test_gpus_are_divided(monkeypatch, visible, workers, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert shares.gpus(workers) == expected


def test_fewer_gpus_than_workers_is_wrong_usage(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UsageError, match="--workers=2 but 1 GPUs"):
        shares.gpus(2)


def test_every_gpu_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shares.gpus(1) == [[]]
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 0; echo 1\n")
    tool.chmod(0o755)
    assert shares.gpus(2) == [["0"], ["1"]]


def test_the_trainer_s_flags_are_completed_once():
    given = ["--epochs", "3", "--run_dir=a", "--strategy=multi_worker"]
    assert Training.read(given, default_run_dir="b").arguments == tuple(given)
    assert Training.read([], default_run_dir="b").arguments == (
        "--run_dir=b",
        "--strategy=multi_worker",
    )


def test_flags_inside_a_flag_file_are_seen(tmp_path):
    path = tmp_path / "a.flags"
    path.write_text("--dataset=digits\n--grace_secs=7\n--epochs=3\n--run_dir=x\n")
    training = Training.read([f"--flagfile={path}"], default_run_dir="b")
    assert training.run_dir == "x"
    assert training.grace_secs == 7
    assert training.prepare_arguments == ("--dataset=digits",)


@pytest.mark.parametrize("in_file", [False, True])
def test_logs_are_where_the_trainer_puts_the_run(tmp_path, monkeypatch, in_file):
    monkeypatch.setenv("HOME", str(tmp_path))
    plans = []
    monkeypatch.setattr(local, "Supervisor", lambda plan: plans.append(plan) or _Done())
    flag = "--run_dir=~/deep/run"
    if in_file:
        path = tmp_path / "a.flags"
        path.write_text(f"{flag}\n")
        flag = f"--flagfile={path}"
    before = set(tmp_path.iterdir())
    assert local.main(["--workers=1", "--", flag]) == 0
    assert plans[0].training.run_dir == str(tmp_path / "deep" / "run")
    assert flag in plans[0].training.arguments
    assert set(tmp_path.iterdir()) == before


class _Done:
    def run(self):
        return 0


def test_a_run_directory_that_is_there_is_left_to_the_trainer(tmp_path):
    run_dir.check(str(tmp_path))
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "run"):
        with pytest.raises(UsageError, match="name a"):
            run_dir.check(str(path))
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_run_is_named_as_the_trainer_would():
    assert local_run_dir([], time="T") == "runs/T-cnn-cifar10"
    given = ["--model=resnet8", "--dataset=a/b:1", "--runs_root=r"]
    assert local_run_dir(given, time="T") == "r/T-resnet8-a-b-1"


def test_the_trainer_s_defaults_are_still_those():
    from trainer.config import Config
    from trainer.run_config import RunConfig

    assert (Config().model.name, Config().data.dataset) == ("cnn", "cifar10")
    assert RunConfig().runs_root == "runs"


def test_a_restart_resumes_what_the_first_start_had_to_begin():
    training = Training.read(["--resume=never"], default_run_dir="a")
    assert training.arguments_after(0) == training.arguments
    assert training.arguments_after(1)[-1] == "--resume=auto"


def test_only_new_content_is_a_sign_of_progress(tmp_path):
    path = tmp_path / "beat.json"
    beat = Heartbeat(path, changed_secs=10.0)
    beat.read(11.0)
    assert (beat.changed_secs, beat.step) == (10.0, None)
    write(path, step=3, phase="train")
    beat.read(12.0)
    assert (beat.changed_secs, beat.step, beat.phase) == (12.0, 3, "train")
    beat.read(13.0)
    path.write_text('{"step": ')
    beat.read(14.0)
    assert beat.changed_secs == 12.0
    write(path, step=3, phase="save")
    beat.read(15.0)
    assert (beat.changed_secs, beat.phase) == (15.0, "save")


def write(path: pathlib.Path, **fields):
    path.write_text(json.dumps({"time": 0, **fields}))
