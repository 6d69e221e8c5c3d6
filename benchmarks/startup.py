"""Measures seconds from the start of the trainer to the end of its first step.

    python -m benchmarks.startup --data_dir=... --model=cnn

It measures a cold start and a resume after a kill, split into imports (measured
separately), devices, data (with decoding), build, compilation with the first step, and
the rest, and `import tensorflow` alone. `/ floor` is the time without data divided by
that of importing TensorFlow and compiling, which cannot be avoided.
"""

import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import interleave, training
from trainer.cli import command
from trainer.rundir import checkpoints

FLOOR_BAR, RESUME_BAR = 1.5, 1.5
PHASES = ("devices", "data", "build", "compile")
STEPS = ["--train_steps=2", "--checkpoint_every_steps=1", "--log_every_steps=1"]
IMPORTS = {
    "tensorflow": "import tensorflow",
    "trainer": (
        "from trainer.monitoring import native_output\n"
        "with native_output.suppress_native_stderr():\n"
        "    import trainer.training.start"
    ),
}
VALUES = flags.FlagValues()


def define(values: flags.FlagValues) -> flags.FlagValues:
    return interleave.define(training.define(values), 3)


def imported(code: str) -> float:
    """Measures seconds of a Python process that runs `code`."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code], cwd=training.ROOT, check=True, capture_output=True
    )
    return time.perf_counter() - start


class Starts:
    """Starts one run after the other in `folder`; each is killed once and resumed.

    Attributes:
        phases: for "cold" and "resume", what each start spent in each phase.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder, self._number = folder, 0
        self._words = [*training.words(VALUES), *STEPS, "--validation_fraction=0"]
        self.phases: dict[str, list[dict[str, float]]] = {"cold": [], "resume": []}

    def cold(self) -> float:
        """Measures seconds of a new run to its first step."""
        self._number += 1
        return self._first_step("cold", 1)

    def resume(self) -> float:
        """Measures seconds of a resume, as if killed after step 1, to the next step."""
        path = self._path()
        (path / "result.json").unlink()
        shutil.rmtree(checkpoints.step_folder(path / "checkpoints", 2))
        return self._first_step("resume", 2)

    def _path(self) -> pathlib.Path:
        return self._folder / str(self._number)

    def _first_step(self, kind: str, step: int) -> float:
        done = training.run(self._words, self._path())
        seconds = done.json("result.json")["seconds"]
        self.phases[kind].append({phase: seconds.get(phase, 0.0) for phase in PHASES})
        return done.times()[step] - done.started


def row(kind: str, starts: Starts, measured: dict[str, list[float]]) -> dict:
    """Computes medians over the rounds for one kind of start."""
    middle = interleave.medians(measured)
    found = {"start": kind, "first step": middle[kind], "imports": middle["trainer"]}
    for phase in PHASES:
        found[phase] = statistics.median(took[phase] for took in starts.phases[kind])
    found["rest"] = middle[kind] - middle["trainer"] - sum(found[p] for p in PHASES)
    floor = middle["tensorflow"] + found["compile"]
    found["/ floor"] = (middle[kind] - found["data"]) / floor
    found["/ cold"] = interleave.ratio(measured, kind, "cold")
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        starts = Starts(pathlib.Path(folder))
        sides = {
            name: lambda code=code: imported(code) for name, code in IMPORTS.items()
        }
        sides |= {"cold": starts.cold, "resume": starts.resume}
        measured = interleave.interleaved(sides, VALUES.rounds)
    rows = [row(kind, starts, measured) for kind in starts.phases]
    rows.append(
        {
            "start": "import tensorflow",
            "first step": interleave.medians(measured)["tensorflow"],
        }
    )
    settings = training.describe_settings(VALUES) | {"unit": "s"}
    settings |= {"floor_bar": FLOOR_BAR, "resume_bar": RESUME_BAR}
    interleave.report("startup", settings, rows)


if __name__ == "__main__":
    command.run("benchmarks.startup", __doc__, define(VALUES), main)
