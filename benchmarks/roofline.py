"""Compares a training step with the peak of this machine, and PyTorch's step with it.

    python -m benchmarks.roofline --model=cnn,resnet8,speednet,mobilenet

The peak is that of the fastest of some matrix products and convolutions in the same
framework and precision, with the same number of threads, measured in turn with the
steps (S. Williams et al., "Roofline", CACM 52(4), 2009). A step has the arithmetic of
its convolutions and dense layers alone: the forward pass, the gradient of the weights
and, but for the first layer, the gradient of the inputs, a multiply-add each. All else
is limited by memory: it is compared with the bandwidth of an addition to a large array.
By operation everything is measured with one thread an operation; two that do not wait
for each other may still run at once.
"""

import contextlib
import importlib.util
import typing
from collections.abc import Callable

from absl import flags

from benchmarks import interleave, step_profile, subprocess_peer, training
from benchmarks.against_pytorch import PRECISIONS, TWINS
from trainer import system
from trainer.cli import command
from trainer.models import registry
from trainer.monitoring import native_output

if typing.TYPE_CHECKING:
    from trainer.models.analysis.layer_table import NetworkCost

VALUES = flags.FlagValues()
NETWORKS = ["cnn", "mobilenet", "resnet8", "speednet"]
GIGA = 1e9
REPEATED = 5  # an operation in one measurement
TINY = 1e-9  # seconds of a kind that a network does not have
Measure = Callable[[], float]
# Forward and backward passes over the elements of a layer that read or write memory:
# norm: mean and variance, normalise (3); two sums, gradient of the input (5).
# ReLU: its forward pass is fused with the convolution; the gradient reads two arrays.
# pool: reads its input; reads input and writes its gradient (outputs are a quarter).
PASSES = {"norm": 8, "relu": 3, "pool": 3}


def define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Comparison"}
    flags.DEFINE_list(
        "model",
        NETWORKS,
        f"Of {', '.join(sorted(registry.MODELS))}, by commas.",
        **where,
    )
    flags.DEFINE_integer("batch", 256, "Images per step.", lower_bound=1, **where)
    flags.DEFINE_boolean(
        "torch", True, "Compares PyTorch's step, too, where it is installed.", **where
    )
    training.define_steps(values, 10)
    return interleave.define(values, 3)


def measure_cost(name: str) -> "NetworkCost":
    """Counts the arithmetic and the activations of our network `name`."""
    from trainer.config.schema import ModelConfig
    from trainer.models import builder
    from trainer.models.analysis import layer_table

    model = builder.build_model(
        ModelConfig(name=name), image_shape=(32, 32, 3), num_classes=10
    )
    return layer_table.measure(model.get_layer("body"))


def count_operations(cost: "NetworkCost") -> dict[str, float]:
    """Counts FLOP an image by kind of arithmetic; the sum is that of a step."""
    convolutions = [x for x in cost.layers if x.multiply_adds and len(x.shape) == 3]
    forward = 2.0 * sum(x.multiply_adds for x in convolutions)
    return {
        "conv forward": forward,
        "conv by weights": forward,
        "conv by input": forward - 2.0 * convolutions[0].multiply_adds,
        "dense": 6.0 * cost.multiply_adds - 3 * forward,
    }


def count_elements(cost: "NetworkCost") -> dict[str, int]:
    """Counts the numbers an image that layers without arithmetic go over, by kind."""
    found = dict.fromkeys(PASSES, 0)
    before = 0
    for layer in cost.layers:
        if "Norm" in layer.kind:
            found["norm"] += layer.size
        elif layer.kind in ("Activation", "ReLU") or layer.kind.endswith("Relu"):
            found["relu"] += layer.size
        elif "Pool" in layer.kind:
            found["pool"] += before
        before = layer.size
    return found


class Machine:
    """Processes that measure; all threads, and one thread for the peak by operation.

    Args:
        stack: closes them.
        with_torch: starts PyTorch's, too.
    """

    def __init__(self, stack: contextlib.ExitStack, with_torch: bool) -> None:
        self.threads = system.threads()

        def side(module: str, threads: int) -> subprocess_peer.Side:
            return stack.enter_context(subprocess_peer.Side(module, threads))

        self._peaks = {n: side("benchmarks.peak", n) for n in (self.threads, 1)}
        self._ours = side("benchmarks.bare_step", self.threads)
        self._theirs = (
            side("benchmarks.torch_side", self.threads) if with_torch else None
        )

    def peak(self, operation: str, precision: str, threads: int) -> Measure:
        """Returns what measures `operation` of benchmarks.peak."""
        spec = {"name": operation, "precision": precision, "threads": threads}
        return lambda: self._peaks[threads].speed(REPEATED, **spec)

    def steps(self, name: str, precision: str) -> dict[str, Measure]:
        """Returns what measures the images/s of our step and, if any, of PyTorch's."""
        common = {"batch": VALUES.batch, "threads": self.threads}
        own = {"name": name, "precision": PRECISIONS[precision], **common}
        found = {"ours": lambda: self._ours.speed(VALUES.steps, **own)}
        if self._theirs and name in TWINS:
            twin = TWINS[name]["relu"][0]
            other = {"name": twin, "precision": precision, **common}
            found["PyTorch"] = lambda: self._theirs.speed(VALUES.steps, **other)
        return found


def measure_peaks(machine: Machine) -> list[dict]:
    """Finds the fastest operation for each number of threads and precision."""
    from benchmarks import peak

    rows = []
    for threads in sorted({1, machine.threads}):
        for precision in PRECISIONS:
            names = [*peak.PRODUCTS, peak.COPY]
            sides = {name: machine.peak(name, precision, threads) for name in names}
            medians = interleave.medians(interleave.interleaved(sides, VALUES.rounds))
            bandwidth = medians.pop(peak.COPY)
            fastest = max(medians, key=medians.__getitem__)
            rows.append(
                {
                    "peak of": precision,
                    "threads": threads,
                    "GFLOP/s": medians[fastest] / GIGA,
                    "operation": fastest,
                    "GB/s": bandwidth / GIGA,
                }
            )
    return rows


def compare_step(name: str, cost: "NetworkCost", machine: Machine, peak: dict) -> dict:
    """Measures the steps of one network in turn with the fastest operation."""
    work, precision = sum(count_operations(cost).values()), peak["peak of"]
    sides = {
        "peak": machine.peak(peak["operation"], precision, machine.threads),
        **machine.steps(name, precision),
    }
    measured = interleave.interleaved(sides, VALUES.rounds)
    medians = interleave.medians(measured)
    row = {"step": f"{name} {precision}", "MFLOP/image": work / 1e6}
    for side in (side for side in sides if side != "peak"):
        share = work * interleave.ratio(measured, side, "peak")
        row |= {f"{side}, images/s": medians[side], f"{side}, % of peak": 100 * share}
    return row


def compare_operations(name: str, cost: "NetworkCost", peak: dict) -> dict:
    """Compares the kinds of operations of a step with the peak of one thread."""
    precision = peak["peak of"]
    with native_output.suppress_native_stderr():
        from benchmarks import bare_step

        bare = bare_step.build_step(
            name=name, precision=PRECISIONS[precision], batch=VALUES.batch, threads=1
        )
        bare.speed(1)
        seconds = step_profile.sum_by_kind(step_profile.recorded(bare, VALUES.steps))
    images = VALUES.batch * VALUES.steps
    width = 4 if precision == "float32" else 2
    row = {"one thread": f"{name} {precision}"}
    for kind, count in count_operations(cost).items():
        speed = count * images / max(seconds[kind], TINY)
        row[f"{kind}, % of peak"] = 100 * speed / GIGA / peak["GFLOP/s"]
    for kind, count in count_elements(cost).items():
        speed = PASSES[kind] * width * count * images / max(seconds[kind], TINY)
        row[f"{kind}, % of GB/s"] = 100 * speed / GIGA / peak["GB/s"]
    known = set(count_operations(cost)) | set(PASSES)
    rest = sum(took for kind, took in seconds.items() if kind not in known)
    row["other, % of time"] = 100 * rest / sum(seconds.values())
    return row


def main() -> None:
    wanted = interleave.chosen(VALUES, "model", sorted(registry.MODELS))
    with_torch = VALUES.torch and importlib.util.find_spec("torch") is not None
    with native_output.suppress_native_stderr():
        from trainer.distributed import strategy

        strategy.set_threads(1)  # this process measures by operation
        costs = {name: measure_cost(name) for name in wanted}
    with contextlib.ExitStack() as stack:
        machine = Machine(stack, with_torch)
        peaks = measure_peaks(machine)
        rows = [
            compare_step(name, cost, machine, row)
            for name, cost in costs.items()
            for row in peaks
            if row["threads"] == machine.threads
        ]
    by_operation = [
        compare_operations(name, cost, row)
        for name, cost in costs.items()
        for row in peaks
        if row["threads"] == 1
    ]
    settings = training.describe_settings(VALUES) | {"threads": machine.threads}
    interleave.report("roofline", settings, [*peaks, *rows, *by_operation])


if __name__ == "__main__":
    command.run("benchmarks.roofline", __doc__, define(VALUES), main)
