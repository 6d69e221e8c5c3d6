"""Measures the cost of gathering and augmenting a batch in the compiled step.

    python -m benchmarks.input_cost --augment=none,flip_crop --examples=1000,50000
    python -m benchmarks.input_cost --input=host,device --image_size=96 --cold

It compares the trainer's whole compiled step, which gathers rows of all examples and
augments them, with the same step on a constant batch, for each augmentation and each
size of the data set. The examples are noise, as their content does not affect the
speed. With --cold the mapped file of --input=host leaves the page cache before every
measurement, so that the disk is measured, too.
"""

import contextlib
import os
import tempfile
import time
import typing

from absl import flags

from benchmarks import interleave, synthetic_data, training
from trainer.cli import command
from trainer.config.enums import Augment, Input, Precision
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config, DataConfig, ModelConfig
from trainer.data import sampler
from trainer.monitoring import native_output

if typing.TYPE_CHECKING:
    import numpy as np

    from trainer.training.step import TrainStep

BAR = 0.97  # real input / constant batch
CONSTANT = "constant"
INPUTS = [Input.DEVICE.value, Input.HOST.value]
FILES = []  # mapped by the sides
VALUES = flags.FlagValues()


def define(values: flags.FlagValues) -> flags.FlagValues:
    training.define_step(values, "resnet8")
    interleave.define_chosen(values, "augment", [member.value for member in Augment])
    interleave.define_chosen(values, "input", INPUTS)
    where = {"flag_values": values, "module_name": "Comparison"}
    flags.DEFINE_list("examples", ["50000"], "Sizes of the data set.", **where)
    flags.DEFINE_integer(
        "image_size", 32, "Height and width of the images.", lower_bound=8, **where
    )
    flags.DEFINE_boolean(
        "cold", False, "Reads the file of --input=host from the disk.", **where
    )
    training.define_steps(values, 20)
    return interleave.define(values)


class Steps:
    """The compiled step with one input; `augment` None is the constant batch.

    From the host it gets a mapped file, which the thread reads on and on.
    """

    def __init__(
        self, augment: str | None, examples: int, source: str = Input.DEVICE.value
    ) -> None:
        import numpy as np

        self._trainer, self._step = compiled(augment, examples, source), 0
        self._order = sampler.Sampler(
            np.arange(examples), global_batch=VALUES.global_batch, seed=0
        )
        reading = self._trainer.pixels.reading(self._order.block, 0, 2**40)
        self._open = contextlib.ExitStack()  # until the process ends
        self._open.enter_context(reading)
        self.speed()

    def speed(self) -> float:
        """Measures images per second of one call of --steps steps."""
        import numpy as np

        rows = self._order.block(self._step, VALUES.steps)
        rates = np.full(len(rows), 1e-3, np.float32)
        if VALUES.cold:
            forget_files()
        start = time.perf_counter()
        self._trainer(self._step, rows, rates)
        self._step += len(rows)
        return rows.size / (time.perf_counter() - start)


def mapped(images: "np.ndarray") -> "np.ndarray":
    """Writes `images` to a temporary file and maps it."""
    import numpy as np

    file = tempfile.NamedTemporaryFile()  # noqa: SIM115  as long as the process
    images.tofile(file.name)
    os.fsync(file.fileno())  # only pages that are on the disk can leave the cache
    FILES.append(file)
    return np.memmap(file.name, np.uint8, "r", shape=images.shape)


def forget_files() -> None:
    """Takes the mapped files out of the page cache."""
    for file in FILES:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compiled(augment: str | None, examples: int, source: str) -> "TrainStep":
    """Builds the trainer's step; with `augment` None on a constant batch."""
    from benchmarks.constant_batch import OnConstantBatch
    from trainer.data.device_dataset import DeviceDataset
    from trainer.data.host_pixels import HostPixels
    from trainer.distributed import strategy
    from trainer.models import builder
    from trainer.optim import optimizers
    from trainer.training import step

    config = Config(
        data=DataConfig(augment=Augment(augment or Augment.NONE)),
        model=ModelConfig(name=VALUES.model),
        global_batch=VALUES.global_batch,
        precision=Precision(VALUES.precision),
    )
    images, labels = synthetic_data.examples(examples, VALUES.image_size)
    model = builder.build_model(
        config.model,
        image_shape=images.shape[1:],
        num_classes=synthetic_data.CLASSES,
        precision=config.precision.value,
    )
    optimizer = optimizers.build_optimizer(config, model.trainable_variables)
    here = strategy.connect(RunConfig())
    kind = OnConstantBatch if augment is None else step.TrainStep
    pixels = None
    if source == Input.HOST.value:
        pixels = HostPixels(mapped(images), here, global_batch=VALUES.global_batch)
    data = DeviceDataset(images, labels, here, pixels)
    return kind(config, here, model, optimizer, data)


def rows(examples: int, names: list[str]) -> list[dict]:
    """Measures a row for each augmentation with that number of examples."""
    sources = interleave.chosen(VALUES, "input", INPUTS)
    made = {
        f"{name} {source}": Steps(name, examples, source)
        for name in names
        for source in sources
    }
    made[f"{CONSTANT} {sources[0]}"] = Steps(None, examples)
    sides = {name: steps.speed for name, steps in made.items()}
    measured = interleave.interleaved(sides, VALUES.rounds)
    found = []
    for side, middle in interleave.medians(measured).items():
        name, source = side.split()
        found.append(
            {
                "examples": examples,
                "augment": name,
                "input": source,
                "images/s": middle,
                "by constant": interleave.ratio(measured, side, list(sides)[-1]),
                "by first input": interleave.ratio(
                    measured, side, f"{name} {sources[0]}"
                ),
            }
        )
    return found


def main() -> None:
    names = interleave.chosen(VALUES, "augment", [member.value for member in Augment])
    sizes = interleave.counts(VALUES, "examples")
    with native_output.suppress_native_stderr():
        import tensorflow as tf

        from trainer.distributed import strategy

        tf.config.experimental.enable_op_determinism()  # the trainer's default
        strategy.set_threads(None)
        tf.config.list_logical_devices()
    found = [row for size in sizes for row in rows(size, names)]
    interleave.report(
        "input_cost", training.describe_settings(VALUES) | {"bar": BAR}, found
    )


if __name__ == "__main__":
    command.run("benchmarks.input_cost", __doc__, define(VALUES), main)
