"""Limits that are set on a process: read from samples of both kinds of cgroup."""

import errno
import math
import resource
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from trainer import system
from trainer.config.enums import Strategy
from trainer.config.run_config import RunConfig
from trainer.distributed import strategy as distributed_strategy
from trainer.errors import InvalidInput

V2 = "0::/kubepods/pod1/box\n"
V1 = "4:memory:/docker/box\n1:cpu,cpuacct:/docker/box\n0::/\n"


def written(tmp_path, own: str, files: dict[str, str]):
    """The folder of cgroups and the process's own list, as `files` say."""
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (tmp_path / "own").write_text(own)
    return tmp_path / "cgroup", tmp_path / "own"


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        (V2, {}, math.inf),
        (V2, {"cpu.max": "max 100000"}, math.inf),
        (V2, {"cpu.max": "50000 100000"}, 0.5),  # its own group, seen as the top
        (V2, {"kubepods/pod1/box/cpu.max": "150000 100000"}, 1.5),
        (
            V2,
            {
                "kubepods/pod1/box/cpu.max": "max 100000",
                "kubepods/pod1/cpu.max": "200000 50000",
                "kubepods/cpu.max": "800000 100000",
            },
            4.0,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1"}, math.inf),
        (V1, {"cpu/cpu.cfs_quota_us": "5", "cpu/cpu.cfs_period_us": "10"}, 0.5),
        (
            V1,
            {
                "cpu/docker/box/cpu.cfs_quota_us": "300000",
                "cpu/docker/box/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        ("nonsense", {"cpu.max": "50000 100000"}, 0.5),
    ],
)
def test_the_quota_of_processor_time_is_the_least_above(tmp_path, own, files, quota):
    assert system.cpu_quota(*written(tmp_path, own, files)) == quota


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        (V2, {"memory.max": "max"}, math.inf),
        (V2, {"memory.max": "1500000000"}, 1.5e9),
        (V2, {"kubepods/memory.max": "7", "kubepods/pod1/memory.max": "9"}, 7),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712"}, math.inf),
        (V1, {"memory/docker/box/memory.limit_in_bytes": "42"}, 42),
        (V1, {}, math.inf),
    ],
)
def test_the_limit_of_memory_is_the_least_above(tmp_path, own, files, limit):
    assert system.memory_limit(*written(tmp_path, own, files)) == limit


@pytest.mark.parametrize(
    ("cores", "quota", "threads"),
    [(2, 0.5, 1), (2, 1, 1), (8, 1.5, 2), (2, math.inf, 2), (1, 16, 1), (4, 4, 4)],
)
def test_threads_are_what_may_run(cores, quota, threads):
    assert system.choose_threads(cores, quota) == threads


def test_threads_follow_affinity(monkeypatch):
    monkeypatch.setattr(system.os, "sched_getaffinity", lambda _: {3, 5, 6})
    monkeypatch.setattr(system, "cpu_quota", lambda: 1.2)
    assert system.threads() == 2
    monkeypatch.setattr(system, "cpu_quota", lambda: math.inf)
    assert system.threads() == 3


def test_what_may_be_free_is_at_most_what_is_allowed(monkeypatch):
    monkeypatch.setattr(system, "memory_limit", lambda: 1000)
    assert system.free_bytes() == 1000
    monkeypatch.setattr(system, "address_limit", lambda: 900)
    assert system.free_bytes() == 900
    assert "ulimit -v" in system.describe_memory_limits()
    assert "the container" in system.describe_memory_limits()


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ImportError("lib.so.2: failed to map segment from shared object"), True),
        (RuntimeError("std::bad_alloc"), True),
        (caused(InvalidInput("it cannot be loaded"), MemoryError()), True),
        (ValueError("a shape"), False),
    ],
)
def test_errors_of_memory_are_told_apart(error, lacks):
    assert system.is_out_of_memory(error) is lacks


def test_the_system_s_own_word_counts_where_there_is_a_limit(monkeypatch):
    error = OSError(errno.ENOMEM, "Cannot allocate memory")
    assert not system.is_out_of_memory(error)
    monkeypatch.setattr(system, "address_limit", lambda: 2**31)
    assert system.is_out_of_memory(error)


def test_the_explanation_is_a_line_with_limit_and_remedy(monkeypatch):
    monkeypatch.setattr(system, "address_limit", lambda: 1.5 * 2**30)
    said = system.explain_out_of_memory(MemoryError(), "lower --global_batch=512")
    assert "MemoryError" in said
    assert "1.50 GiB by ulimit -v" in said
    assert said.endswith("allow more, or lower --global_batch=512")
    assert "\n" not in said


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.main", "--dataset=digits", "--dry_run"],
        ["trainer.prepare", "--dataset=digits"],
        ["eval.report"],
        ["eval.compare", "RUN", "RUN"],
        ["export.tflite"],
        ["export.saved_model"],
        ["export.bench"],
    ],
    ids=lambda words: words[0],
)
def test_every_command_says_that_memory_is_too_little(run, tmp_path, words):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1_500_000 * 1024,) * 2)

    module, *rest = [word.replace("RUN", str(run)) for word in words]
    if module in ("trainer.main", "trainer.prepare"):
        rest.append(f"--data_dir={tmp_path}")
    elif module != "eval.compare":
        rest.append(f"--run_dir={run}")
    done = subprocess.run(
        [sys.executable, "-m", module, *rest],
        cwd=ROOT, capture_output=True, text=True, timeout=60, preexec_fn=limit,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.strip().splitlines()
    for part in (module, "out of memory", "1.43", "ulimit -v unlimited"):
        assert part in line


@pytest.mark.parametrize(
    ("value", "seen", "refused"),
    [
        (None, 0, False),
        ("", 0, False),
        ("-1", 0, False),
        ("NoDevFiles", 0, False),
        ("0", 0, True),
        ("0,1", 1, True),
        ("0,1", 2, False),
        ("GPU-8f1c,GPU-2b", 1, True),
        ("MIG-a/1/2", 0, True),
        ("3,-1,4", 1, False),
        (" 0 , 1 ", 0, True),
    ],
)
def test_gpus_that_are_asked_for_must_be_there(value, seen, refused):
    if not refused:
        distributed_strategy.check_gpus(value, seen)
        return
    with pytest.raises(InvalidInput, match="CUDA_VISIBLE_DEVICES=.*TensorFlow sees"):
        distributed_strategy.check_gpus(value, seen)


@pytest.mark.parametrize("strategy", Strategy)
def test_a_gpu_that_is_not_there_is_wrong_usage(monkeypatch, strategy):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "97,98")
    with pytest.raises(InvalidInput, match="=97,98 asks for 2 GPU"):
        distributed_strategy.connect(RunConfig(strategy=strategy, run_dir="run"))
