"""Compares images per second of a network of keras.applications in three trainers.

    python -m benchmarks.against_applications --model=keras:MobileNetV2 --rounds=5

"ours" is the trainer's compiled step on the adapted network, "fit" is Keras' own loop
on Keras' network with and without `jit_compile`, "PyTorch" has the layers of
torchvision's network in channels_last. All have random weights, images in memory, the
same batch, threads and precision, and SGD with Nesterov momentum; PyTorch and
TensorFlow run in separate processes. Run it on an idle machine only.
"""

import importlib.metadata

from absl import flags

from benchmarks import against_pytorch, interleave, subprocess_peer, training
from trainer import system
from trainer.cli import command

VALUES = flags.FlagValues()
TWINS = {"keras:MobileNetV2": "mobilenet_v2"}  # ours -> torchvision's
OURS, FIT, TORCH = ("ours",), ("fit", "fit jit"), "PyTorch"
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
BAR = 1.0  # ours / fit without jit_compile


def define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Comparison"}
    interleave.define_chosen(values, "model", sorted(TWINS))
    interleave.define_chosen(values, "precision", list(PRECISIONS))
    flags.DEFINE_integer("batch", 64, "Images per step.", lower_bound=1, **where)
    flags.DEFINE_integer(
        "image_size", 96, "Height and width of the images.", lower_bound=32, **where
    )
    flags.DEFINE_integer(
        "threads", None, "Of each side; default: every core.", lower_bound=1, **where
    )
    flags.DEFINE_boolean(
        "torch",
        True,
        "Whether PyTorch is compared, which has to be installed.",
        **where,
    )
    training.define_steps(values, 10)
    return interleave.define(values)


def compare(
    name: str,
    short: str,
    ours: subprocess_peer.Side,
    theirs: subprocess_peer.Side | None,
    threads: int,
) -> dict:
    """Measures the row of one network in one precision."""
    common = {"batch": VALUES.batch, "side": VALUES.image_size, "threads": threads}
    spec = {"name": name, "precision": PRECISIONS[short], **common}
    sides = {
        how: lambda how=how: ours.speed(VALUES.steps, how=how, **spec)
        for how in (*OURS, *FIT)
    }
    if theirs is not None:
        twin = {"name": TWINS[name], "precision": short, **common}
        sides[TORCH] = lambda: theirs.speed(VALUES.steps, **twin)
    return row(name, short, interleave.interleaved(sides, VALUES.rounds))


def row(name: str, short: str, measured: dict[str, list[float]]) -> dict:
    """Computes the medians, and the ratios of ours to each other side."""
    middle = interleave.medians(measured)
    found = {"network": name, "precision": short, **middle}
    ratios = {"fit": "fit", "best fit": max(FIT, key=middle.get)}
    if TORCH in measured:
        ratios[TORCH] = TORCH
    for title, other in ratios.items():
        found[f"ours / {title}"] = interleave.ratio(measured, OURS[0], other)
    return found


def measure(threads: int) -> list[dict]:
    """Measures a row for each network and precision."""
    names = interleave.chosen(VALUES, "model", sorted(TWINS))
    shorts = interleave.chosen(VALUES, "precision", list(PRECISIONS))
    with subprocess_peer.Side("benchmarks.application_step", threads) as ours:
        if not VALUES.torch:
            return [compare(n, p, ours, None, threads) for n in names for p in shorts]
        with subprocess_peer.Side("benchmarks.torch_side", threads) as theirs:
            return [compare(n, p, ours, theirs, threads) for n in names for p in shorts]


def main() -> None:
    if VALUES.torch:
        against_pytorch.check_torch()
    threads = VALUES.threads or system.threads()
    rows = measure(threads)
    settings = training.describe_settings(VALUES) | {"unit": "images/s", "bar": BAR}
    settings |= {"threads": threads}
    if VALUES.torch:
        settings |= {"torch": importlib.metadata.version("torch")}
    interleave.report("against_applications", settings, rows)


if __name__ == "__main__":
    command.run("benchmarks.against_applications", __doc__, define(VALUES), main)
