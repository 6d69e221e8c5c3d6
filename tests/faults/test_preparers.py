"""Eight that prepare one data set while some are killed: it is complete, once."""

import pathlib
import random
import subprocess
import sys
import time

import pytest

from tests.support.commands import ROOT, run_command

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
RACERS = 8


@pytest.mark.parametrize("seed", range(3))
def test_racing_preparers_with_kills_leave_one_complete_set(tmp_path, seed):
    generator = random.Random(seed)
    words = [sys.executable, "-m", "trainer.prepare", "--dataset=digits"]
    racing = [
        subprocess.Popen(
            [*words, f"--data_dir={tmp_path}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(RACERS)
    ]
    kills = kill_preparers(racing, tmp_path, generator)
    said = [p.communicate(timeout=120)[0] for p in racing]
    codes = [p.returncode for p in racing]
    print(f"\npreparers: {RACERS}, killed: {kills}, exit codes {sorted(codes)}")
    assert codes.count(0) == RACERS - kills, said
    assert not [text for text in said if "Traceback" in text]
    (version,) = (tmp_path / "digits").iterdir()
    assert version.name == "1.0.0"
    done = run_command("trainer.prepare", "--dataset=digits", f"--data_dir={tmp_path}")
    assert "'train': 1437, 'test': 360" in done.stdout


def kill_preparers(racing, folder: pathlib.Path, generator: random.Random) -> int:
    """Kills up to three while a half-prepared folder is there; returns how many."""
    kills, limit = 0, time.monotonic() + 90
    while kills < 3 and time.monotonic() < limit:
        living = [p for p in racing if p.poll() is None]
        if len(living) < 2:
            break
        if list((folder / "digits").glob("*incomplete*")) or kills:
            time.sleep(generator.uniform(0, 0.5))
            at_work = [p for p in living if p.pid in lock_holders()]
            victim = generator.choice(at_work or living)
            victim.kill()
            victim.wait()
            kills += victim.returncode == -9
        time.sleep(0.005)
    return kills


def lock_holders() -> set[int]:
    """Processes that hold a lock of flock; lines of waiting ones have an arrow."""
    lines = pathlib.Path("/proc/locks").read_text().splitlines()
    fields = [line.split() for line in lines]
    return {int(words[4]) for words in fields if words[1] == "FLOCK"}
