"""Measures the latency of one image, with models interleaved for equal conditions.

python -m export.measure.latency THREADS KERNELS FILE...
python -m export.measure.latency 1 xnnpack model_int8.tflite model_float32.tflite
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from eval.predictors.engine import Kernels
from export.measure import child_process, loader
from export.measure.loader import RunOnce

ROUNDS = 100
CALLS = 5  # measured calls per round, after one that warms the caches
QUANTILES = (50, 90, 99)


def measure_latencies(
    models: Mapping[str, RunOnce],
    *,
    rounds: int = ROUNDS,
    now: Callable[[], float] = time.perf_counter,
    on_turn: Callable[[str], object] = lambda name: None,
) -> dict[str, dict[str, float]]:
    """Runs every model in every round.

    Args:
        on_turn: is called with the name of a model before each of its turns.

    Returns:
        Milliseconds per call at each quantile, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, run_once in models.items():
            on_turn(name)
            run_once()
            for _ in range(CALLS):
                start = now()
                run_once()
                times[name].append(1000 * (now() - start))
    return {name: describe(values) for name, values in times.items()}


def describe(values: Sequence[float]) -> dict[str, float]:
    """The quantiles of some milliseconds, by name."""
    quantiles = np.percentile(values, QUANTILES)
    return {f"p{q}_ms": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}


def main(threads: int, kernels: Kernels, paths: Sequence[str]) -> None:
    """Prints the latency of every model, by path."""
    models = {path: _load(path, threads, kernels) for path in paths}
    print(json.dumps(measure_latencies(models, on_turn=child_process.announce_turn)))


def _load(path: str, threads: int, kernels: Kernels) -> RunOnce:
    child_process.announce_turn(path)
    return loader.prepare_loader(path, threads, kernels)()


if __name__ == "__main__":
    main(int(sys.argv[1]), Kernels(sys.argv[2]), sys.argv[3:])
