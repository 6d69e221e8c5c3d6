"""Exported files of a run: results in their manifests, bytes and latency."""

import math
import pathlib
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert

from eval.formats import manifest as manifests
from eval.predictors import sandbox, tflite_predictor
from eval.predictors.engine import Kernels
from trainer import files
from trainer.errors import InvalidInput
from trainer.monitoring import native_output
from trainer.rundir.layout import Run

BENCH = "bench.json"  # export.bench writes it
_TESTED = ("accuracy", "accuracy_interval", "nll", "ece", "agreement")
_TESTED_ON = ("images", "sampled", "split_images")  # number of tested images
_CALLS, _SECS = 100, 0.3  # timed calls, and seconds after which fewer do


def list_exports(run: Run | None) -> list[dict[str, Any]]:
    """Lists the exported files of a run with the results in their manifests.

    "bytes" are of the file. "latency_ms" is the median time of one image on one thread:
    as export.bench measured it, or else of a `.tflite` measured here; otherwise None.
    """
    if run is None:
        return []
    folder = run.path / "export"
    timed = _bench_latencies(folder)
    found = []
    for path, manifest in _manifests(folder):
        tested = manifests.verification(manifest)
        if not has_test_results(tested):
            continue
        size, digest = manifest.get("bytes"), manifest.get("sha256")
        latency = timed.get((path.name, size))
        if latency is None and path.suffix == ".tflite":
            latency = measure_latency(path, digest, tested.get("engine"))
        found.append(
            {
                "file": str(path.relative_to(folder)),
                "bytes": size if type(size) is int else _size(path),
                "latency_ms": latency,
                **{name: tested.get(name) for name in _TESTED_ON},
                "split": tested.get("split", "test"),
                **{name: tested[name] for name in _TESTED},
            }
        )
    return found


def _manifests(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, dict[str, Any]]]:
    """Yields each exported file or folder with its manifest."""
    kinds = (folder.glob(f"*{suffix}.json") for suffix in (".tflite", ".onnx"))
    beside = {path: path.with_suffix("") for found in kinds for path in found}
    inside = {path: path.parent for path in folder.glob("saved_model/*/manifest.json")}
    for path, own in sorted((beside | inside).items()):
        manifest = load_json(path)
        if isinstance(manifest, dict):
            yield own, manifest


def load_json(path: pathlib.Path) -> object:
    """Loads a JSON file; None if it is missing or damaged."""
    try:
        return files.read_json(path)
    except (OSError, ValueError):
        return None


def _size(path: pathlib.Path) -> int | None:
    """Bytes of a file; None if it is none."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _bench_latencies(folder: pathlib.Path) -> dict[tuple[str, int], float]:
    """Medians in bench.json by name and bytes of the file."""
    found = load_json(folder / BENCH)
    rows = found.get("rows") if isinstance(found, dict) else None
    latencies = {}
    for row in rows if isinstance(rows, list) else []:
        try:
            value = row["one_thread"]["p50_ms"]
            if type(value) in (int, float) and math.isfinite(value):
                latencies[row["file"], row["bytes"]] = float(value)
        except (KeyError, TypeError):
            continue  # a failed row has none
    return latencies


def measure_file(facts: Mapping[str, Any], engine: object) -> dict[str, Any]:
    """Bytes and latency of a model file that `facts` describe; {} if it is none."""
    path = pathlib.Path(facts["path"])
    if not path.is_file():
        return {}
    latency = None
    if facts["kind"] == "tflite":
        latency = measure_latency(path, facts["sha256"], engine)
    return {"bytes": path.stat().st_size, "latency_ms": latency}


def measure_latency(
    path: pathlib.Path, sha256: object, engine: object = None
) -> float | None:
    """Median milliseconds of one image on one thread; None if it cannot be measured.

    Args:
        sha256: of the file in its manifest; another file is not run.
        engine: its kernels are used.
    """
    try:
        if manifests.file_sha256(path) != sha256:
            return None
        kernels = Kernels((engine or {}).get("kernels", Kernels.XNNPACK.value))
        content = path.read_bytes()
        resolver = tflite_predictor.RESOLVERS[kernels]
        sandbox.check_file(path, content, resolver.value)
        options = {"num_threads": 1, "experimental_op_resolver_type": resolver}
        with native_output.suppress_native_stderr(f"timing {path.name}"):
            return _time(litert.Interpreter(model_content=content, **options))
    except (OSError, ValueError, RuntimeError, AttributeError, InvalidInput):
        return None  # a report needs no latency


def _time(model: litert.Interpreter) -> float:
    """Median milliseconds of a call on a black image, after some that warm up."""
    model.allocate_tensors()
    source = model.get_input_details()[0]
    model.set_tensor(source["index"], np.zeros(source["shape"], source["dtype"]))
    for _ in range(3):
        model.invoke()
    times, begin = [], time.perf_counter()
    while len(times) < _CALLS and time.perf_counter() - begin < _SECS or not times:
        start = time.perf_counter()
        model.invoke()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def has_test_results(tested: object) -> bool:
    """Whether `tested` has all numbers that a report shows, and all are finite."""
    if not isinstance(tested, Mapping):
        return False
    interval = tested.get("accuracy_interval")
    if not isinstance(interval, list) or len(interval) != 2:
        return False
    single = [tested.get(name) for name in _TESTED if name != "accuracy_interval"]
    return all(
        type(value) in (int, float) and math.isfinite(value)
        for value in (*single, *interval)
    )
