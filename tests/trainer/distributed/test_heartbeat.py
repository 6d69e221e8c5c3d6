"""Signs of life: who waits with reason is left alone, who hangs is ended with 175."""

import concurrent.futures
import json
import subprocess
import sys
import time

import pytest

from tests.support.commands import ROOT
from trainer import contract
from trainer.contract import EXIT_PEER_LOST
from trainer.distributed.heartbeat import WAITED_FOR, Heartbeat
from trainer.errors import Interrupted, InvalidInput

WAITING = """
import pathlib, sys, time
from trainer.distributed.heartbeat import Heartbeat
beats = Heartbeat(pathlib.Path(sys.argv[1]), 1, 2, hang_secs=1.0)
beats.write("train", 5)
time.sleep(60)
"""


CHIEFS = [*((phase, 0) for phase in WAITED_FOR), ("train", 0)]
CHIEFS += [("evaluate", -120), ("evaluate", 120), ("train", 120)]


def waited(folder, phase, ahead_secs) -> tuple[bool, int, str]:
    """Whether a worker outlives 3 s of a chief in `phase`; its exit code and words."""
    command = [sys.executable, "-c", WAITING, str(folder)]
    worker = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    end = None  # 3 s after its first sign, which a busy machine may delay
    while (end is None or time.monotonic() < end) and worker.poll() is None:
        if end is None and (folder / "1.json").exists():
            end = time.monotonic() + 3
        sign = {"step": 5, "phase": phase, "time": time.time() + ahead_secs}
        (folder / "new").write_text(json.dumps(sign))
        (folder / "new").replace(folder / "0.json")
        time.sleep(0.1)
    alive = worker.poll() is None
    code = worker.wait(timeout=20)  # nobody gives signs any more
    return alive, code, worker.stderr.read()


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each worker did: all wait at the same time."""
    folders = [tmp_path_factory.mktemp("workers") for _ in CHIEFS]
    with concurrent.futures.ThreadPoolExecutor(len(CHIEFS)) as pool:
        done = pool.map(waited, folders, *zip(*CHIEFS, strict=True))
        return dict(zip(CHIEFS, done, strict=True))


@pytest.mark.parametrize(("phase", "ahead_secs"), CHIEFS)
def test_a_worker_waits_for_a_chief_that_is_busy(answers, phase, ahead_secs):
    """Whatever the chief's clock says."""
    alive, code, said = answers[phase, ahead_secs]
    assert alive is (phase in WAITED_FOR)
    assert code == EXIT_PEER_LOST
    assert "no progress in phase train, step 5" in said


def test_a_sign_that_cannot_be_left_ends_nothing(tmp_path):
    beats = Heartbeat(tmp_path / "run" / "workers", 0, 2, hang_secs=1000)
    beats.write("train", 1)
    (tmp_path / "run").rename(tmp_path / "moved")
    beats.write("train", 2)
    assert not (tmp_path / "run").exists()


def peers(folder, count):
    """Patient ones: who gives up ends the process, that is these tests."""
    return [Heartbeat(folder, n, count, hang_secs=1000) for n in range(count)]


def met(beats, facts):
    """What each worker's meeting with its own `facts` ended in."""
    with concurrent.futures.ThreadPoolExecutor(len(beats)) as pool:
        each = zip(beats, facts, strict=True)
        done = [
            pool.submit(beat.wait_for_peers, fact, lambda _: None)
            for beat, fact in each
        ]
        return [future.exception() for future in done]


def test_workers_that_agree_meet(tmp_path):
    facts = {"config": {"rate": 0.1}, "cluster": ["a:1", "b:1"], "gpus": 0}
    assert met(peers(tmp_path / "workers", 3), [facts] * 3) == [None] * 3


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_all_workers_name_the_one_that_differs_and_leave_nothing(tmp_path, odd):
    facts = [{"config": {"rate": 0.1, "seed": 3}} for _ in range(3)]
    facts[odd]["config"]["rate"] = 0.2
    beats = peers(tmp_path / "run" / "workers", 3)
    said = met(beats, facts)
    assert {type(error) for error in said} == {InvalidInput}
    assert len({str(error) for error in said}) == 1
    named = "worker 1 was" if odd == 0 else f"worker {odd} was"
    assert named in str(said[0])
    assert "config.rate: " in str(said[0])
    assert "seed" not in str(said[0])
    for beat in beats:
        beat.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_of_another_cluster_is_named_though_not_all_come(tmp_path):
    """One waits for a third worker that the other does not know."""
    folder = tmp_path / "workers"
    beats = [Heartbeat(folder, 0, 3, 0.5), Heartbeat(folder, 1, 2, 0.5)]
    said = met(beats, [{"cluster": ["a", "b", "c"]}, {"cluster": ["a", "b"]}])
    assert {type(error) for error in said} == {InvalidInput}
    assert "worker 1 was started unlike worker 0" in str(said[0])


def test_a_sign_of_an_earlier_attempt_does_not_count(tmp_path):
    facts = {"seed": 1}
    old = contract.encode_heartbeat(7, "train", 3, facts=facts)
    (tmp_path / "1.json").write_bytes(old)
    beats = Heartbeat(tmp_path, 0, 2, hang_secs=0.1)
    with pytest.raises(Interrupted, match="worker 1 .never came"):
        beats.wait_for_peers(facts, lambda _: None)


def test_every_sign_is_another_though_the_clock_stands_still(monkeypatch, tmp_path):
    monkeypatch.setattr(contract.time, "time", lambda: 0.0)
    beats, seen = Heartbeat(tmp_path, 0, 2, hang_secs=1000), set()
    for _ in range(10):
        beats.write("train", 5)
        seen.add((tmp_path / "0.json").read_bytes())
    assert len(seen) == 10
