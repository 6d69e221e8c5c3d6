"""Runs the trainer as a process, as users do, and reads when it reached each step.

Synopsis::

    words = training.words(values) + ["--train_steps=300"]
    with training.temporary_run(words) as run:
        run.json("result.json")["seconds"], run.times()[300]
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from trainer.config.enums import Precision
from trainer.config.schema import Config, ModelConfig, OptimConfig
from trainer.data.split import Split
from trainer.errors import InvalidInput, TrainingFailed
from trainer.models import registry
from trainer.monitoring import native_output

ROOT = pathlib.Path(__file__).parent.parent
WARM_UP = 60  # steps before the measurement
TRAINER = ("trainer.main",)


def define(
    values: flags.FlagValues, *, batches: Sequence[int] = ()
) -> flags.FlagValues:
    """Declares the trainer's flags that benchmarks of it share.

    With `batches`, --global_batch is a list and `words` leaves it out.
    """
    where = {"flag_values": values, "module_name": "Training"}
    flags.DEFINE_string("data_dir", None, "Where the data set is prepared.", **where)
    flags.DEFINE_string("dataset", "cifar10", "TFDS data set.", **where)
    return define_step(values, batches=batches)


def define_step(
    values: flags.FlagValues, model: str = "cnn", *, batches: Sequence[int] = ()
) -> flags.FlagValues:
    """Declares --model, --precision and --global_batch."""
    where = {"flag_values": values, "module_name": "Training"}
    flags.DEFINE_enum("model", model, sorted(registry.MODELS), "Network.", **where)
    precisions = [member.value for member in Precision]
    flags.DEFINE_enum(
        "precision", "mixed_bfloat16", precisions, "Of each side.", **where
    )
    if batches:
        listed = [str(batch) for batch in batches]
        flags.DEFINE_list("global_batch", listed, "Images per step, by comma.", **where)
    else:
        flags.DEFINE_integer(
            "global_batch", 256, "Images per step.", lower_bound=1, **where
        )
    return values


def build_config(values: flags.FlagValues) -> Config:
    """Builds the config of the same training for a step in this process.

    Raises:
        InvalidInput: a flag is out of range.
    """
    try:
        return Config(
            model=ModelConfig(name=values.model),
            optim=OptimConfig(warmup_epochs=0),
            global_batch=values.global_batch,
            precision=Precision(values.precision),
        )
    except ValueError as error:
        raise InvalidInput(str(error)) from error


def load_training_split(values: flags.FlagValues) -> Split:
    """Loads the training split of the data set in the flags."""
    from trainer.data.sources import tfds_preparation, tfds_source

    builder = tfds_preparation.prepare(values.dataset, values.data_dir, say=_say)
    return tfds_source.load_split(builder, "train")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def describe_settings(values: flags.FlagValues) -> dict[str, Any]:
    """Lists every flag except those that name a path."""
    named = (f for fs in values.flags_by_module_dict().values() for f in fs)
    places = ("data_dir", "picture")
    return {flag.name: flag.value for flag in named if flag.name not in places}


def define_steps(values: flags.FlagValues, default: int = 300) -> flags.FlagValues:
    """Declares --steps."""
    flags.DEFINE_integer(
        "steps",
        default,
        "Steps that are timed.",
        lower_bound=1,
        flag_values=values,
        module_name="Measurement",
    )
    return values


def words(values: flags.FlagValues) -> list[str]:
    """Converts the shared flags to arguments of the trainer."""
    names = ("data_dir", "dataset", "model", "precision", "global_batch")
    given = {name: values[name].value for name in names}
    found = [f"--{k}={v}" for k, v in given.items() if isinstance(v, str | int)]
    return [*found, "--warmup_epochs=0"]


@dataclasses.dataclass(frozen=True)
class Finished:
    """A training that finished successfully.

    Attributes:
        path: its run directory.
        started: when the process was started, in seconds since 1970.
    """

    path: pathlib.Path
    started: float

    def json(self, name: str) -> dict[str, Any]:
        """Reads a JSON file of the run directory."""
        return json.loads((self.path / name).read_bytes())

    def times(self) -> dict[int, float]:
        """Reads when each step was logged, in seconds since 1970, by step."""
        with native_output.suppress_native_stderr():
            return self._times()

    def _times(self) -> dict[int, float]:
        import tensorflow as tf

        found = {}
        for path in self.path.glob("events.out.tfevents.*"):
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                if any(value.tag == "train/loss" for value in event.summary.value):
                    found[event.step] = event.wall_time
        return found


def run(
    given: Sequence[str], path: pathlib.Path, command: Sequence[str] = TRAINER
) -> Finished:
    """Trains into `path` and waits; `command` is a module and its own flags.

    Raises:
        InvalidInput: the trainer refused `given`.
        TrainingFailed: it failed.
    """
    started = time.time()
    done = subprocess.run(
        [sys.executable, "-m", *command, *given, f"--run_dir={path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-2:])
        kind = InvalidInput if done.returncode == 2 else TrainingFailed
        raise kind(f"{command[0]} exited {done.returncode}: {said}")
    return Finished(path, started)


@contextlib.contextmanager
def temporary_run(
    given: Sequence[str], command: Sequence[str] = TRAINER
) -> Iterator[Finished]:
    """Trains in a temporary directory."""
    with tempfile.TemporaryDirectory() as folder:
        yield run(given, pathlib.Path(folder) / "run", command)


def speed(
    given: Sequence[str],
    *,
    steps: int,
    global_batch: int,
    command: Sequence[str] = TRAINER,
) -> float:
    """Measures images per second from step WARM_UP to the last, `steps` later.

    The trainer saves as by default and does not validate: only start-up and the test
        are
    excluded.
    """
    measured = [
        "--validation_fraction=0",
        f"--train_steps={WARM_UP + steps}",
        f"--log_every_steps={WARM_UP}",
    ]
    with temporary_run([*given, *measured], command) as run_:
        times = run_.times()
    first, last = min(times), max(times)
    return (last - first) * global_batch / (times[last] - times[first])
