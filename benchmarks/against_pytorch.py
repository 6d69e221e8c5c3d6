"""Compares images per second of our bare training step and PyTorch's.

    python -m benchmarks.against_pytorch --model=cnn,resnet8 --rounds=5
    python -m benchmarks.against_pytorch --batch=1000 --steps=300 --jit_compile  # a GPU

Both sides have the same layers and batch, and run forward, backward and an SGD step
with Nesterov momentum. Each framework runs in a separate process with all threads, and
they are measured in turn. PyTorch uses channels_last and the better of float32 and
bfloat16. With --jit_compile ours are compiled by XLA and PyTorch's by torch.compile.
Both sides use the first GPU if they see one, and the CPU if not. Run it on an idle
machine only: PyTorch's threads wait for each other at every layer, so that beside other
work two of them are slower than one.
"""

import importlib.metadata

from absl import flags

from benchmarks import interleave, subprocess_peer, training
from trainer import system
from trainer.cli import command
from trainer.errors import require_package

VALUES = flags.FlagValues()
# Ours -> activation -> PyTorch's, in benchmarks/torch_nets.py. The first is the same
# network; others are compared by what they do, train on CIFAR-10, image for image.
TWINS = {
    "cnn": {"relu": ("cnn",)},
    "resnet8": {"relu": ("resnet8",)},
    "speednet": {"relu": ("speednet",), "gelu": ("speednet gelu", "airbench94")},
}
TORCH = "torch==2.13.0"
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Comparison"}
    interleave.define_chosen(values, "model", sorted(TWINS))
    flags.DEFINE_integer("batch", 256, "Images per step.", lower_bound=1, **where)
    flags.DEFINE_integer(
        "threads", None, "Of each side; off: every core.", lower_bound=1, **where
    )
    flags.DEFINE_boolean(
        "jit_compile", False, "Compile each side: XLA, torch.compile.", **where
    )
    training.define_steps(values, 20)
    return interleave.define(values)


def check_torch() -> None:
    """Raises InvalidInput if PyTorch is missing; the toolkit does not require it."""
    remedy = f"install it for the comparison: python -m pip install {TORCH}"
    require_package("torch", "this compares with PyTorch", remedy)


def compare(
    name: str, ours: subprocess_peer.Side, theirs: subprocess_peer.Side, threads: int
) -> list[dict]:
    """Measures a row for each network that our `name` is compared with."""
    common = {"batch": VALUES.batch, "threads": threads}
    common |= {"compiled": VALUES.jit_compile}
    asked = {}
    for activation, twins in TWINS[name].items():
        own = {"name": name, "activation": activation, **common}
        for short, policy in PRECISIONS.items():
            asked[f"{activation} {short}"] = (ours, {**own, "precision": policy})
        for twin in twins:
            for short in PRECISIONS:
                spec = {"name": twin, "precision": short, **common}
                asked[f"{twin} {short}"] = (theirs, spec)
    sides = {
        label: lambda at=at, spec=spec: at.speed(VALUES.steps, **spec)
        for label, (at, spec) in asked.items()
    }
    measured = interleave.interleaved(sides, VALUES.rounds)
    peaks = {label: at.peak_mib(**spec) for label, (at, spec) in asked.items()}
    return [
        row(name, activation, twin, measured) | memory(activation, twin, peaks)
        for activation, twins in TWINS[name].items()
        for twin in twins
    ]


def row(
    name: str, activation: str, twin: str, measured: dict[str, list[float]]
) -> dict:
    """Computes the medians, and the ratio of our bfloat16 to PyTorch's best."""
    middle = interleave.medians(measured)
    best = max((f"{twin} {short}" for short in PRECISIONS), key=middle.get)
    found = {"ours": f"{name} {activation}", "PyTorch": twin}
    for short in PRECISIONS:
        found[f"ours {short}"] = middle[f"{activation} {short}"]
        found[f"PyTorch {short}"] = middle[f"{twin} {short}"]
    found["ours / best"] = interleave.ratio(measured, f"{activation} bfloat16", best)
    return found


def memory(
    activation: str, twin: str, peaks: dict[str, float | None]
) -> dict[str, float]:
    """Looks up the GPU memory of both sides in bfloat16, in MiB; {} on a CPU."""
    found = {
        "ours MiB": peaks[f"{activation} bfloat16"],
        "PyTorch MiB": peaks[f"{twin} bfloat16"],
    }
    return {title: peak for title, peak in found.items() if peak is not None}


def main() -> None:
    wanted = interleave.chosen(VALUES, "model", sorted(TWINS))
    check_torch()
    threads = VALUES.threads or system.threads()
    with (
        subprocess_peer.Side("benchmarks.bare_step", threads) as ours,
        subprocess_peer.Side("benchmarks.torch_side", threads) as theirs,
    ):
        rows = [
            found for name in wanted for found in compare(name, ours, theirs, threads)
        ]
    settings = training.describe_settings(VALUES) | {
        "unit": "images/s",
        "torch": importlib.metadata.version("torch"),
        "threads": threads,
    }
    interleave.report("against_pytorch", settings, rows)


if __name__ == "__main__":
    command.run("benchmarks.against_pytorch", __doc__, define(VALUES), main)
