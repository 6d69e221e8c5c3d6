"""Profiles a bare training step by kind of operation.

    python -m benchmarks.step_profile --model=cnn,resnet8,speednet

TensorFlow's profiler records `--steps` steps of benchmarks.bare_step, each network in
float32 and in bfloat16. Operations run concurrently, which makes each of them slower,
so shares are those of the sum of their times and not of the elapsed time. Speeds are
measured without the profiler.
"""

import collections
import pathlib
import tempfile
import typing

from absl import flags

from benchmarks import interleave, training
from trainer.cli import command
from trainer.models import registry
from trainer.monitoring import native_output

if typing.TYPE_CHECKING:
    from benchmarks.bare_step import Bare

VALUES = flags.FlagValues()
# Part of an operation's name -> its column; the first match counts. Fused operations
# also add a bias and apply ReLU.
KINDS = {
    "DepthwiseConv2dNativeBackpropFilter": "conv by weights",
    "DepthwiseConv2dNativeBackpropInput": "conv by input",
    "DepthwiseConv2dNative": "conv forward",
    "Conv2DBackpropFilter": "conv by weights",
    "Conv2DBackpropInput": "conv by input",
    "Conv2D": "conv forward",
    "BatchNorm": "norm",
    "Pool": "pool",
    "MatMul": "dense",
    "Relu": "relu",
}
OTHER = "other"
COLUMNS = [*dict.fromkeys(KINDS.values()), OTHER]
CONVOLUTION = [kind for kind in COLUMNS if kind.startswith("conv")]
PRECISIONS = ("float32", "mixed_bfloat16")


def define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Comparison"}
    interleave.define_chosen(values, "model", sorted(registry.MODELS))
    flags.DEFINE_integer("batch", 256, "Images per step.", lower_bound=1, **where)
    flags.DEFINE_string("picture", None, "Where to draw it, a .png.", **where)
    training.define_steps(values, 10)
    return interleave.define(values, 3)


def recorded(bare: "Bare", steps: int) -> dict[str, float]:
    """Sums the seconds of all operations by type, over `steps` steps."""
    import tensorflow as tf

    # TensorFlow has no public reader for the files of its profiler.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with native_output.suppress_native_stderr():
            tf.profiler.experimental.start(folder)
            bare.speed(steps)
            tf.profiler.experimental.stop()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    seconds = collections.Counter()
    for plane in space.planes:
        names = {key: data.name for key, data in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            name = names[event.metadata_id]  # of a kernel: "path/of/node:Type"
            if ":" in name and "::" not in name and ": " not in name:
                seconds[name.rsplit(":")[-1].split("#")[0]] += event.duration_ps / 1e12
    return seconds


def sum_by_kind(seconds: dict[str, float]) -> dict[str, float]:
    """Sums the seconds of operations by kind."""
    found = dict.fromkeys(COLUMNS, 0.0)
    for operation, took in seconds.items():
        kind = next((k for part, k in KINDS.items() if part in operation), OTHER)
        found[kind] += took
    return found


def row(name: str, precision: str) -> dict:
    """Measures speed and shares of one network."""
    with native_output.suppress_native_stderr():
        from benchmarks import bare_step

        net = bare_step.build_step(
            name=name, precision=precision, batch=VALUES.batch, threads=0
        )
    label = f"{name} {precision.removeprefix('mixed_')}"
    measured = interleave.interleaved(
        {label: lambda: net.speed(VALUES.steps)}, VALUES.rounds
    )
    seconds = sum_by_kind(recorded(net, VALUES.steps))
    found = {kind: 100 * took / sum(seconds.values()) for kind, took in seconds.items()}
    convolution = sum(found[kind] for kind in CONVOLUTION)
    speed = interleave.medians(measured)[label]
    return {"step": label, "images/s": speed, "convolution": convolution, **found}


def draw(rows: list[dict], path: str) -> None:
    """Draws a bar for each step, coloured by kind of operation."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    sns.set_theme(style="whitegrid")
    figure, axes = plt.subplots(figsize=(9, 0.6 * len(rows) + 1.5))
    labels = [f"{row['step']}\n{row['images/s']:,.0f} images/s" for row in rows]
    left = [0.0] * len(rows)
    colours = sns.color_palette("Blues_r", 4)[:3] + sns.color_palette("Set2", 5)
    for kind, colour in zip(COLUMNS, colours, strict=True):
        parts = [row[kind] for row in rows]
        axes.barh(labels, parts, left=left, color=colour, label=kind)
        left = [a + b for a, b in zip(left, parts, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="% of the time in operations", xlim=(0, 100))
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    wanted = interleave.chosen(VALUES, "model", sorted(registry.MODELS))
    rows = [row(name, precision) for name in wanted for precision in PRECISIONS]
    if VALUES.picture:
        with native_output.suppress_native_stderr():
            draw(rows, VALUES.picture)
    settings = training.describe_settings(VALUES) | {"unit": "% of operations"}
    interleave.report("step_profile", settings, rows)


if __name__ == "__main__":
    command.run("benchmarks.step_profile", __doc__, define(VALUES), main)
