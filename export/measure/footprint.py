"""Load time and memory of one model, measured in a process of its own.

    python -m export.measure.footprint model_int8.tflite  # one line of JSON

Memory is what the process needs beyond its imported runtime, at its peak, from loading
to the first answer. A .tflite is loaded by LiteRT alone.
"""

import json
import pathlib
import re
import sys
import time

from export.measure import loader


def measure(path: pathlib.Path, kernels: str = "xnnpack") -> dict[str, float]:
    """{"load_ms", "peak_memory_bytes"} of the model at `path`, in this process."""
    load = loader.opener(path, 1, kernels)
    before, start = _peak_bytes(), time.perf_counter()
    ask = load()
    took = time.perf_counter() - start
    ask()
    return {"load_ms": 1000 * took, "peak_memory_bytes": _peak_bytes() - before}


def _peak_bytes() -> int:
    """The high-water mark of this process; getrusage shows the parent's as well."""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


if __name__ == "__main__":
    print(json.dumps(measure(pathlib.Path(sys.argv[1]), *sys.argv[2:])))
