"""Measures load time and memory of one model in a separate process.

    python -m export.measure.footprint model_int8.tflite  # one line of JSON

Memory is the peak that the process needs in addition to its imported runtime, from
loading to the first prediction. A `.tflite` is loaded by LiteRT alone.
"""

import json
import pathlib
import re
import sys
import time

from eval.predictors.engine import Kernels
from export.measure import loader


def measure_footprint(
    model: str, kernels: Kernels = Kernels.XNNPACK
) -> dict[str, float]:
    """Loads and runs `model`, see `prepare_loader`, in this process.

    Returns:
        {"load_ms", "peak_memory_bytes"}.
    """
    load = loader.prepare_loader(model, 1, kernels)
    before, start = _peak_bytes(), time.perf_counter()
    run_once = load()
    seconds = time.perf_counter() - start
    run_once()
    return {"load_ms": 1000 * seconds, "peak_memory_bytes": _peak_bytes() - before}


def _peak_bytes() -> int:
    """Reads the peak memory of this process; getrusage includes the parent's."""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def main(model: str, kernels: str = Kernels.XNNPACK.value) -> None:
    """Prints load time and memory of one model."""
    print(json.dumps(measure_footprint(model, Kernels(kernels))))


if __name__ == "__main__":
    main(*sys.argv[1:])
