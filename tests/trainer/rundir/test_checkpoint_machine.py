"""Save, kill, damage, prune and resume in any order: the newest good one is found."""

import contextlib
import os
import pathlib
import random
import shutil
import tempfile
from unittest import mock

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.damage import DAMAGES
from trainer import files
from trainer.rundir import checkpoints

FILES = [checkpoints.MANIFEST, checkpoints.VARIABLES]
POINTS = ["mkdir", "fsync", "replace", "rename"]  # system calls of a save


class Killed(BaseException):
    """Nothing after it runs, cleaning up neither."""


class Checkpoints(RuleBasedStateMachine):
    """`good` are the steps whose folders must be read; others must not be."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = pathlib.Path(tempfile.mkdtemp())
        self.step, self.good, self.bad = 0, set(), set()

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    def write(self) -> None:
        facts = {"step": self.step, "half": self.step / 2}
        checkpoints.save(self.directory, arrays(self.step), facts)

    def noted(self, folders) -> set[int]:
        return {int(p.name.removeprefix("step-")) for p in folders}

    @rule(steps=st.integers(1, 3), keep=st.integers(1, 4))
    def save(self, steps, keep) -> None:
        self.step += steps
        self.write()
        self.good.add(self.step)
        self.bad.discard(self.step)
        checkpoints.prune(self.directory, keep, last=self.step)
        there = self.noted(checkpoints.list_folders(self.directory))
        assert self.step in there
        self.good &= there
        self.bad &= there

    @rule(point=st.sampled_from(POINTS), skip=st.integers(0, 6))
    def killed_while_saving(self, point, skip) -> None:
        """Every system call of the save may be the last one of the process."""
        self.step += 1
        path = checkpoints.step_folder(self.directory, self.step)
        before = path.stat().st_ino if path.exists() else None
        left, real, over = [skip], getattr(os, point), [False]

        def call(*words, **named):
            if left[0] == 0:
                over[0] = True
                raise Killed
            left[0] -= 1
            return real(*words, **named)

        def clean(remove):
            return lambda *words, **named: None if over[0] else remove(*words, **named)

        with (
            mock.patch.object(os, point, call),
            mock.patch.object(shutil, "rmtree", clean(shutil.rmtree)),
            mock.patch.object(pathlib.Path, "unlink", clean(pathlib.Path.unlink)),
            contextlib.suppress(Killed),
        ):
            self.write()
        after = path.stat().st_ino if path.exists() else None
        if after != before:
            self.bad.discard(self.step)  # a damaged one makes way before the rename
        if after not in (None, before):
            self.good.add(self.step)  # renamed: then it has to be whole

    @rule(
        damage=st.sampled_from(DAMAGES),
        file=st.sampled_from(FILES),
        seed=st.integers(0, 99),
    )
    def damage_one(self, damage, file, seed) -> None:
        if self.good:
            generator = random.Random(seed)
            step = generator.choice(sorted(self.good))
            damage(checkpoints.step_folder(self.directory, step) / file, generator)
            self.good.remove(step)
            self.bad.add(step)

    @rule()
    def resume(self) -> None:
        found = checkpoints.load_latest(self.directory, skipped=lambda _: None)
        self.step = found.step if found else 0

    @rule(fraction=st.floats(0, 1))
    def full_disk(self, fraction) -> None:
        """A save that fails changes nothing."""
        before = sorted(p.name for p in self.directory.iterdir())
        error = OSError(28, "No space left on device")
        name = "write_json" if fraction > 0.5 else "write_bytes"
        with mock.patch.object(files, name, side_effect=error):
            self.step += 1
            try:
                self.write()
            except OSError:
                self.step -= 1
        kept = [n for n in before if not n.startswith(".")]
        after = sorted(p.name for p in self.directory.iterdir())
        assert [n for n in after if not n.startswith(".")] == kept

    @invariant()
    def the_newest_good_one_is_found_and_right(self) -> None:
        said = []
        found = checkpoints.load_latest(self.directory, skipped=said.append)
        assert (found.step if found else None) == max(self.good, default=None)
        if found:
            assert found.facts["half"] == found.step / 2
            for name, array in arrays(found.step).items():
                np.testing.assert_array_equal(found.arrays[name], array)
        newer = {s for s in self.bad if found is None or s > found.step}
        assert len(said) == len(newer)


def arrays(step: int) -> dict[str, np.ndarray]:
    return {"model/kernel": np.full([2, 3], step), "optimizer/n": np.array(step)}


TestCheckpoints = Checkpoints.TestCase
TestCheckpoints.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None
)
