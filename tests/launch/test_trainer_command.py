"""What launch.local gives to each worker: flags, cores, GPUs; and how it reads them."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

from launch import local, trainer_command, worker
from launch.command_line import UsageError
from launch.supervisor import resources, temporary_files
from launch.supervisor.heartbeat_file import HeartbeatFile
from launch.trainer_command import TrainerCommand, local_run_dir
from tests.support.commands import PROGRESS, ROOT
from trainer import prepare


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(resources.os, "sched_getaffinity", lambda _: {2, 3, 6, 7})


def test_cores_are_divided_evenly_and_never_shared(four_cores):
    assert resources.divide_cores(2, None) == [[2, 3], [6, 7]]
    assert resources.divide_cores(3, None) == [[2], [3], [6]]
    assert resources.divide_cores(2, 1) == [[2], [3]]


def test_more_workers_than_cores_share(four_cores):
    assert resources.divide_cores(5, None) == [[2], [3], [6], [7], [2]]


def test_more_cores_than_there_are_is_wrong_usage(four_cores):
    with pytest.raises(UsageError, match="need 6 cores, 4 are usable"):
        resources.divide_cores(2, 3)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Gives this machine `count` GPUs, seen as devices or by nvidia-smi alone."""

    def make(count, *, devices=True):
        monkeypatch.setattr(resources, "DEVICES", tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if devices:
            for number in range(count):
                (tmp_path / f"nvidia{number}").touch()
            (tmp_path / "nvidia-uvm").touch()
        else:
            tool = tmp_path / "nvidia-smi"
            listed = "; ".join(f"echo {number}" for number in range(count))
            tool.write_text(f"#!/bin/sh\n{listed or 'exit 9'}\n")
            tool.chmod(0o755)

    return make


@pytest.mark.parametrize(
    ("visible", "workers", "expected"),
    [
        ("0,1,2,3", 2, [["0", "1"], ["2", "3"]]),
        ("0,1,2", 2, [["0"], ["1"]]),
        ("GPU-a,GPU-b", 2, [["GPU-a"], ["GPU-b"]]),
        ("0,-1,1", 1, [["0"]]),
        ("0,7,1", 1, [["0"]]),
        ("", 2, [[], []]),
        ("-1", 2, [[], []]),
        (None, 2, [["0", "1"], ["2", "3"]]),
    ],
)
@pytest.mark.parametrize("devices", [True, False])
def test_gpus_are_divided(monkeypatch, machine, devices, visible, workers, expected):
    machine(4, devices=devices)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert resources.divide_gpus(workers) == expected


@pytest.mark.parametrize("visible", ["0", "0,1,2,3", "GPU-a", "", "all"])
@pytest.mark.parametrize("devices", [True, False])
def test_a_variable_makes_no_gpu(monkeypatch, machine, devices, visible):
    machine(0, devices=devices)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert resources.divide_gpus(2) == [[], []]


def test_fewer_gpus_than_workers_is_wrong_usage(monkeypatch, machine):
    machine(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UsageError, match="--workers=2 but 1 GPUs"):
        resources.divide_gpus(2)


def test_the_trainer_s_flags_are_completed_once():
    given = ["--epochs", "3", "--run_dir=a", "--strategy=multi_worker"]
    assert TrainerCommand.from_flags(given, default_run_dir="b").arguments == tuple(
        given
    )
    assert TrainerCommand.from_flags([], default_run_dir="b").arguments == (
        "--run_dir=b",
        "--strategy=multi_worker",
    )


def test_flags_inside_a_flag_file_are_seen(tmp_path):
    path = tmp_path / "a.flags"
    path.write_text("--dataset=digits\n--grace_secs=7\n--epochs=3\n--run_dir=x\n")
    training = TrainerCommand.from_flags([f"--flagfile={path}"], default_run_dir="b")
    assert training.run_dir == "x"
    assert training.grace_secs == 7
    assert training.prepare_arguments == ("--dataset=digits",)


@pytest.mark.parametrize("in_file", [False, True])
def test_logs_are_where_the_trainer_puts_the_run(tmp_path, monkeypatch, in_file):
    monkeypatch.setenv("HOME", str(tmp_path))
    plans = []
    monkeypatch.setattr(local, "Supervisor", lambda plan: plans.append(plan) or _Done())
    flag = "--run_dir=~/deep/run"
    given = flag
    if in_file:
        path = tmp_path / "a.flags"
        path.write_text(f"{flag}\n")
        given = f"--flagfile={path}"
    before = set(tmp_path.iterdir())
    assert local.main(["--workers=1", "--", given]) == 0
    assert plans[0].trainer.run_dir == str(tmp_path / "deep" / "run")
    assert flag in plans[0].trainer.arguments
    assert set(tmp_path.iterdir()) == before


class _Done:
    def run(self):
        return 0


def test_a_run_directory_that_is_there_is_left_to_the_trainer(tmp_path):
    trainer_command.check_run_dir(str(tmp_path))
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "run"):
        with pytest.raises(UsageError, match="name a"):
            trainer_command.check_run_dir(str(path))
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_run_is_named_as_the_trainer_would():
    assert local_run_dir([], time="T") == "runs/T-cnn-cifar10"
    own = local_run_dir(["--model=nets/my_net.py:network"], time="T")
    assert own == "runs/T-my_net-network-cifar10"
    given = ["--model=resnet8", "--dataset=a/b:1", "--runs_root=r"]
    assert local_run_dir(given, time="T") == "r/T-resnet8-a-b-1"


def test_the_trainer_s_defaults_are_still_those():
    from trainer.config.run_config import RunConfig
    from trainer.config.schema import Config

    assert (Config().model.name, Config().data.dataset) == ("cnn", "cifar10")
    assert RunConfig().runs_root == "runs"


def test_a_restart_resumes_what_the_first_start_had_to_begin():
    training = TrainerCommand.from_flags(["--resume=never"], default_run_dir="a")
    assert training.arguments_after(0) == training.arguments
    assert training.arguments_after(1)[-1] == "--resume=auto"


def test_only_new_content_is_a_sign_of_progress(tmp_path):
    path = tmp_path / "beat.json"
    beat = HeartbeatFile(path, changed_secs=10.0)
    beat.refresh(11.0)
    assert (beat.changed_secs, beat.step) == (10.0, None)
    write(path, step=3, phase="train")
    beat.refresh(12.0)
    assert (beat.changed_secs, beat.step, beat.phase) == (12.0, 3, "train")
    beat.refresh(13.0)
    path.write_text('{"step": ')
    beat.refresh(14.0)
    assert beat.changed_secs == 12.0
    write(path, step=3, phase="save")
    beat.refresh(15.0)
    assert (beat.changed_secs, beat.phase) == (15.0, "save")


def write(path: pathlib.Path, **fields):
    path.write_text(json.dumps({"time": 0, **fields}))


def temporary(folder):
    """What launchers left in `folder`."""
    return [path.name for path in folder.glob(f"{temporary_files.PREFIX}*")]


def test_what_killed_launchers_left_is_swept_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "launch-of-somebody").mkdir()
    (tmp_path / "launch-link").symlink_to(tmp_path)
    code = "from launch.supervisor import temporary_files as files\n"
    code += "made = files.create_directory(); made.__enter__()\n"
    code += "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment)
    (dead,) = set(temporary(tmp_path)) - {"launch-of-somebody", "launch-link"}
    with (
        temporary_files.create_directory() as first,
        temporary_files.create_directory() as second,
    ):
        assert dead not in temporary(tmp_path)
        assert first.is_dir()  # it lives, so the second left it alone
        assert second.is_dir()
    assert set(temporary(tmp_path)) == {"launch-of-somebody", "launch-link"}


def test_without_a_temporary_directory_it_is_wrong_usage(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", None)
    nowhere = [str(tmp_path / "nowhere")]
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: nowhere)
    words = ["--workers=1", "--", "--dataset=digits", f"--run_dir={tmp_path / 'run'}"]
    assert local.main(words) == 2
    (line,) = PROGRESS.sub("", capsys.readouterr().err).splitlines()
    assert "no temporary directory" in line
    assert "TMPDIR" in line


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("--epochz=3", 2, "Unknown command line flag 'epochz'"),
        ("--epochs=0", 2, "--epochs=0.0 must be"),
        ("--augment=mirror", 2, "augment"),
        ("--global_batch=0", 2, "--global_batch=0"),
        ("--help", 0, "usage: python -m trainer.main"),
    ],
)
@pytest.mark.parametrize("command", ["local", "worker"])
def test_trainer_flags_are_checked_first(tmp_path, capfd, command, word, code, said):
    """Before data is prepared (here: nothing may be written) and peers are awaited."""
    job = {"LAUNCH_JOB": "a", "LAUNCH_WORKERS": "2", "LAUNCH_PORT": "2222"}
    words = ["--", f"--data_dir={tmp_path}", f"--run_dir={tmp_path / 'run'}", word]
    if command == "local":
        assert local.main(words) == code
    else:
        environment = {**os.environ, **job, "JOB_COMPLETION_INDEX": "0"}
        assert worker.main(words, environment, execute=pytest.fail) == code
    captured = capfd.readouterr()
    assert said in captured.err + captured.out
    assert len(PROGRESS.sub("", captured.err).splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_threads_are_those_that_the_platform_gives():
    given = TrainerCommand.from_flags([], default_run_dir="b", threads=4)
    assert given.arguments[-1] == "--threads=4"
    for words in (["--threads=2"], ["--threads", "2"]):
        given = TrainerCommand.from_flags(words, default_run_dir="b", threads=4)
        assert "--threads=4" not in given.arguments


def test_a_launcher_passes_every_option_of_the_data_to_prepare():
    assert set(trainer_command._DATA) == {"dataset", "data_dir", *prepare.FILES}


def test_image_files_are_prepared_as_they_are_trained_on():
    given = ["--image_dir=a", "--image_size=32", "--skip_unreadable", "--epochs=1"]
    made = TrainerCommand.from_flags(given, default_run_dir="r")
    assert made.prepare_arguments == (
        "--image_dir=a",
        "--image_size=32",
        "--skip_unreadable",
    )
    assert local_run_dir(given, time="T") == "runs/T-cnn-image_dir"
