"""How long one image takes, each model in turn, so that all meet the same machine.

python -m export.measure.latency THREADS KERNELS FILE...
python -m export.measure.latency 1 xnnpack model_int8.tflite model_float32.tflite
"""

import json
import pathlib
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np

from export.measure import child, loader
from export.measure.loader import RunOnce

ROUNDS = 100
CALLS = 5  # timed, a round; one before them warms the caches
QUANTILES = (50, 90, 99)


def interleaved(
    asks: Mapping[str, RunOnce],
    *,
    rounds: int = ROUNDS,
    now: Callable[[], float] = time.perf_counter,
    turn: Callable[[str], object] = lambda name: None,
) -> dict[str, dict[str, float]]:
    """Milliseconds a call at each quantile, by name; every round asks each model.

    `turn` hears whose it is, before anything of that turn is timed.
    """
    taken: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(rounds):
        for name, ask in asks.items():
            turn(name)
            ask()
            for _ in range(CALLS):
                start = now()
                ask()
                taken[name].append(1000 * (now() - start))
    return {name: _quantiles(values) for name, values in taken.items()}


def _quantiles(values: list[float]) -> dict[str, float]:
    found = np.percentile(values, QUANTILES)
    return {f"p{q}_ms": float(v) for q, v in zip(QUANTILES, found, strict=True)}


def main(threads: int, kernels: str, paths: list[str]) -> None:
    """Prints the latency of every model, by path."""
    asks = {path: _opened(path, threads, kernels) for path in paths}
    print(json.dumps(interleaved(asks, turn=child.turn)))


def _opened(path: str, threads: int, kernels: str) -> RunOnce:
    child.turn(path)
    return loader.opener(pathlib.Path(path), threads, kernels)()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
