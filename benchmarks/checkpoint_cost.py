"""Measures seconds to save and to restore a checkpoint, and the share of training.

    python -m benchmarks.checkpoint_cost --data_dir=... --model=cnn

A process of the trainer saves after every step as it does by default every 45 seconds:
it flushes metrics, computes hashes, flushes and renames files, and removes old ones. To
restore means to read, verify and assign.
"""

import pathlib
import statistics
import tempfile
import time

from absl import flags

from benchmarks import interleave, training
from trainer.cli import command
from trainer.monitoring import native_output
from trainer.rundir import checkpoints, layout

BAR = 0.02  # of the time of training, at the default interval
VALUES = flags.FlagValues()


def define(values: flags.FlagValues) -> flags.FlagValues:
    training.define(values)
    flags.DEFINE_integer(
        "saves",
        20,
        "Checkpoints whose mean is a round.",
        lower_bound=1,
        flag_values=values,
        module_name="Measurement",
    )
    return interleave.define(values, 3)


def save_secs(path: pathlib.Path) -> float:
    """Trains --saves steps into `path`; returns seconds for one checkpoint."""
    words = [
        *training.words(VALUES),
        f"--train_steps={VALUES.saves}",
        "--checkpoint_every_steps=1",
        "--validation_fraction=0",
    ]
    done = training.run(words, path)
    return done.json("result.json")["seconds"]["save"] / VALUES.saves


class Restore:
    """Restores the newest checkpoint of a run into a state that is built once."""

    def __init__(self, path: pathlib.Path) -> None:
        from trainer.models import builder
        from trainer.optim import averages, optimizers
        from trainer.training import state

        run = layout.Run(path)
        data, config = run.recorded()["data"], run.config()
        model = builder.build_model(
            config.model,
            image_shape=tuple(data["image_shape"]),
            num_classes=len(data["labels"]),
            precision=config.precision.value,
        )
        optimizer = optimizers.build_optimizer(config, model.trainable_variables)
        body = model.get_layer("body")
        carried = averages.average_statistics(body)
        carried += averages.average_weights(body, optimizer)
        self._state, self._run = state.TrainState(model, optimizer, carried), run
        self._expected = {"config": config.to_json(), "data": data}

    def seconds(self) -> float:
        """Measures seconds to find, verify and load a checkpoint."""
        start = time.perf_counter()
        kept = checkpoints.load_latest(
            self._run.checkpoints, skipped=print, expected=self._expected
        )
        self._state.load(kept.arrays, kept.facts)
        return time.perf_counter() - start

    def bytes(self) -> int:
        """Size of one checkpoint."""
        newest = checkpoints.list_folders(self._run.checkpoints)[0]
        return sum(path.stat().st_size for path in newest.iterdir())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        training.run([*training.words(VALUES), "--train_steps=1"], root / "kept")
        with native_output.suppress_native_stderr():
            from trainer.training.callbacks import RISK_SECS

            restore = Restore(root / "kept")
        names = iter(range(VALUES.rounds))
        sides = {
            "save": lambda: save_secs(root / str(next(names))),
            "restore": lambda: statistics.median(
                restore.seconds() for _ in range(VALUES.saves)
            ),
        }
        middle = interleave.medians(interleave.interleaved(sides, VALUES.rounds))
        row = {
            "model": VALUES.model,
            "bytes": restore.bytes(),
            "save s": middle["save"],
            "restore s": middle["restore"],
            "share": middle["save"] / (RISK_SECS + middle["save"]),
        }
    settings = training.describe_settings(VALUES) | {
        "interval_secs": RISK_SECS,
        "bar": BAR,
    }
    interleave.report("checkpoint_cost", settings, [row])


if __name__ == "__main__":
    command.run("benchmarks.checkpoint_cost", __doc__, define(VALUES), main)
