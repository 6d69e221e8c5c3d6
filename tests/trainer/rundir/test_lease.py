"""The lease on a run directory: one owner, and a next one when it is dead."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from tests.support.commands import ROOT, TINY, run_trainer
from trainer.errors import Interrupted, InvalidInput
from trainer.rundir import checks
from trainer.rundir import lease as rundir_lease

NEVER = 1e6  # seconds: no renewal by the thread


class Time:
    """A clock that only sleeping moves; `during` is called in every sleep."""

    def __init__(self, during=lambda: None) -> None:
        self.secs, self._during = 0.0, during

    def now(self) -> float:
        return self.secs

    def sleep(self, secs: float) -> None:
        self.secs += secs
        self._during()


def take(directory, time=None, said=None) -> rundir_lease.Lease:
    time, said = time or Time(), [] if said is None else said
    words = {"now": time.now, "sleep": time.sleep, "renew_secs": NEVER}
    return rundir_lease.acquire(directory, say=said.append, **words)


def alter(directory, **change) -> None:
    """Rewrites owner.json as if another process had."""
    path = directory / rundir_lease.FILE
    holder = dataclasses.replace(rundir_lease.read_record(path), **change)
    path.write_bytes(holder.to_bytes())


def test_a_held_directory_is_refused_and_the_holder_named(tmp_path):
    lease = take(tmp_path / "run")
    with pytest.raises(InvalidInput) as raised:
        take(tmp_path / "run")
    said = str(raised.value)
    for named in (
        str(os.getpid()),
        rundir_lease.LeaseRecord.for_this_process(1, tmp_path).host,
        "UTC",
        "`run_dir`",
    ):
        assert named in said
    assert len(said.splitlines()) <= 2
    lease.confirm()


def test_a_released_one_is_free_at_once_and_attempts_count(tmp_path):
    for attempt in (1, 2, 3):
        lease = take(tmp_path)
        assert lease.attempt == attempt
        lease.confirm()
        lease.release()
    assert [p.name for p in tmp_path.iterdir()] == [rundir_lease.FILE]


def test_a_dead_process_of_this_machine_frees_it_at_once(tmp_path):
    take(tmp_path)
    ended = subprocess.Popen(["true"])
    time.sleep(0.1)  # dead, and not waited for: a zombie
    alter(tmp_path, pid=ended.pid)
    clock = Time()
    assert take(tmp_path, clock).attempt == 2
    assert clock.secs == 0
    ended.wait()


def test_a_process_number_used_again_is_not_the_owner(tmp_path):
    take(tmp_path)
    alter(tmp_path, process_start=1)
    assert take(tmp_path).attempt == 2


@pytest.mark.parametrize("where", [{"boot_id": "else"}, {"pid_namespace": 1}])
def test_one_elsewhere_is_followed_when_its_counter_stood_still(tmp_path, where):
    take(tmp_path)
    alter(tmp_path, pid=1, **where)
    clock, said = Time(), []
    assert take(tmp_path, clock, said).attempt == 2
    assert rundir_lease.EXPIRY_SECS <= clock.secs <= rundir_lease.EXPIRY_SECS + 1
    assert len(said) == 1


@pytest.mark.parametrize("after_secs", [0.5, 30, 59])
def test_one_elsewhere_that_renews_is_alive(tmp_path, after_secs):
    take(tmp_path)
    alter(tmp_path, boot_id="else")

    def renew():
        if clock.secs == after_secs:
            alter(tmp_path, counter=1)

    clock = Time(renew)
    with pytest.raises(InvalidInput, match="in use"):
        take(tmp_path, clock)
    assert clock.secs == after_secs


def test_one_elsewhere_that_releases_is_followed_at_once(tmp_path):
    take(tmp_path)
    alter(tmp_path, boot_id="else")
    clock = Time(lambda: alter(tmp_path, held=False))
    assert take(tmp_path, clock).attempt == 2
    assert clock.secs <= 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"pid": 3}'])
def test_an_unreadable_lease_is_given_up_when_nothing_changes(tmp_path, content):
    (tmp_path / rundir_lease.FILE).write_bytes(content)
    clock = Time()
    take(tmp_path, clock).confirm()
    assert clock.secs >= rundir_lease.EXPIRY_SECS


def test_a_lease_with_a_field_of_another_type_is_unreadable(tmp_path):
    take(tmp_path)
    path = tmp_path / rundir_lease.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"attempt": "x"}))
    assert rundir_lease.read_record(path).pid == 0
    take(tmp_path).confirm()


def test_files_that_only_look_like_claims_are_left_alone(tmp_path):
    (tmp_path / f".{rundir_lease.FILE}.1x").touch()
    take(tmp_path).confirm()
    assert (tmp_path / f".{rundir_lease.FILE}.1x").exists()


def test_a_copy_of_a_held_directory_is_free_and_a_moved_one_is_not(tmp_path):
    first, copy, moved = (tmp_path / name for name in ("run", "copy", "moved"))
    lease = take(first)
    shutil.copytree(first, copy)
    clock = Time()
    assert take(copy, clock).attempt == 2
    assert clock.secs == 0
    lease.confirm()
    first.rename(moved)
    with pytest.raises(InvalidInput, match="in use"):
        take(moved)


def test_a_lease_that_does_not_say_of_what_still_holds(tmp_path):
    take(tmp_path)
    path = tmp_path / rundir_lease.FILE
    fields = json.loads(path.read_text())
    del fields["inode"], fields["place"]
    path.write_text(json.dumps(fields))
    with pytest.raises(InvalidInput, match=f"in use by process {os.getpid()} "):
        take(tmp_path)


def test_an_owner_that_was_replaced_writes_nothing_more(tmp_path):
    old = take(tmp_path)
    alter(tmp_path, process_start=1)  # as if it were dead
    new = take(tmp_path)
    with pytest.raises(Interrupted, match="taken over") as raised:
        old.confirm()
    assert raised.value.code == 175
    old.renew()
    old.release()
    new.confirm()
    with pytest.raises(InvalidInput):
        take(tmp_path)


def test_a_vanished_lease_is_an_error_of_the_storage(tmp_path):
    lease = take(tmp_path)
    (tmp_path / rundir_lease.FILE).unlink()
    with pytest.raises(OSError, match="cannot be read"):
        lease.confirm()


def test_a_claim_that_a_dead_process_left_is_stepped_over(tmp_path):
    take(tmp_path).release()
    dead = dataclasses.replace(
        rundir_lease.LeaseRecord.for_this_process(2, tmp_path), process_start=1
    )
    (tmp_path / f".{rundir_lease.FILE}.2").write_bytes(dead.to_bytes())
    assert take(tmp_path).attempt == 3
    assert [p.name for p in tmp_path.iterdir()] == [rundir_lease.FILE]


RACE = """
import pathlib, sys, time
from trainer.errors import InvalidInput
from trainer.rundir import lease as leases
time.sleep(max(0, float(sys.argv[2]) - time.time()))
try:
    lease = leases.acquire(pathlib.Path(sys.argv[1]), say=print)
except InvalidInput:
    print("refused")
else:
    time.sleep(1)
    lease.confirm()
    print("owner", lease.attempt)
"""


@pytest.mark.parametrize("dead", [False, True])
def test_of_eight_that_start_together_one_becomes_the_owner(tmp_path, dead):
    if dead:
        take(tmp_path)
        alter(tmp_path, process_start=1)
    start = str(time.time() + 1.5)
    words = [sys.executable, "-c", RACE, str(tmp_path), start]
    racing = [
        subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    said = sorted(p.communicate(timeout=60)[0].strip() for p in racing)
    assert said == [f"owner {2 if dead else 1}"] + ["refused"] * 7


def test_a_directory_where_a_kill_came_before_the_config_may_be_used(tmp_path):
    for first in (rundir_lease.FILE, f".{rundir_lease.FILE}.1", "workers"):
        path = tmp_path / first.strip(".")
        path.mkdir()
        (path / first).touch()
        checks.check_directory(path)
    (tmp_path / "workers" / "thesis.tex").touch()
    with pytest.raises(InvalidInput, match="not empty"):
        checks.check_directory(tmp_path / "workers")


@pytest.mark.slow
def test_a_second_trainer_on_the_same_run_is_refused(data_dir, tmp_path):
    where = [f"--data_dir={data_dir}", f"--run_dir={tmp_path / 'run'}"]
    words = ["--train_steps=100000"]
    first = subprocess.Popen(
        [sys.executable, "-m", "trainer.main", *TINY, *words, *where],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(tmp_path / "run" / "metrics.jsonl")
        before = json.loads((tmp_path / "run" / "owner.json").read_text())
        second = run_trainer(data_dir, tmp_path / "run", *words)
        assert second.returncode == 2, second.stderr
        assert str(first.pid) in second.stderr
        assert len(second.stderr.strip().splitlines()) <= 2
        assert before["pid"] == first.pid
    finally:
        first.kill()
        first.wait()


def wait_for(path: pathlib.Path) -> None:
    limit = time.monotonic() + 90
    while not path.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    assert path.exists()
