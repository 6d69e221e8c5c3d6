"""Every format of a run side by side: what it gets right, weighs, needs and takes.

Synopsis::

    python -m export.bench  # a table, and runs/latest/export/bench.json

A format that is not there yet, or not of these weights, is exported first.
docs/export.md has the fields of bench.json.
"""

import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from eval import report
from eval.engine import Kernels
from export import artifact, child, latency, saved_model, source, tflite
from export.artifact import Artifact
from export.scheme import Scheme, file_name, resolve
from trainer import commandline, container, files
from trainer.commandline import Failure, UsageError
from trainer.progress import CONSOLE

if TYPE_CHECKING:
    from export.source import Source

VERSION = 1
FILE = "bench.json"
CHECKPOINT, SAVED_MODEL = "checkpoint", "saved_model"
FORMATS = (CHECKPOINT, SAVED_MODEL, *(scheme.value for scheme in Scheme))
# More of what a row has.
_TESTED = {"images", "sampled", "flips", "accuracy_drop", "accuracy_drop_interval"}
_COLUMNS = (
    ("format", "{format}"),
    ("images", "{asked}"),
    ("accuracy (95 %)", "{accuracy:.2%} ({low:.1%}-{high:.1%})"),
    ("NLL", "{nll:.4f}"),
    ("ECE", "{ece:.2%}"),
    ("flips", "{flips}"),
    ("bytes", "{bytes:,}"),
    ("load ms", "{load_ms:.1f}"),
    ("memory MB", "{memory:.1f}"),
    ("1 thread: p50 p90 p99 ms", "{one}"),
    ("all threads", "{every}"),
    ("engine", "{computed}"),
)


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    report.define_kernels(values)
    return source.define(values)


def rows(
    opened: "Source", drop: float, kernels: Kernels = Kernels.XNNPACK
) -> list[dict[str, Any]]:
    """A row a format, in the order of FORMATS; one that failed says why."""
    made = [_row(opened, name, drop, kernels) for name in FORMATS]
    for threads, key in ((1, "one_thread"), (_cores(), "all_threads")):
        _time(made, threads, key, kernels)
    for row in made:
        row.pop("path", None)
    return made


def _time(made: list[dict[str, Any]], threads: int, key: str, kernels: Kernels) -> None:
    """Adds each sound row's latency as `key`.

    A file that ends the process that asks all of them in turn has failed; the others
    are asked again.
    """
    while sound := {row["path"]: row for row in made if "failed" not in row}:
        what = f"timing {len(sound)} formats, {threads} threads"
        words = (str(threads), kernels.value, *sound)
        total = len(sound) * (1 + latency.ROUNDS)  # to be loaded is one, too
        try:
            with CONSOLE.count(total, what, "turns") as tick:
                taken = child.run("export.latency", *words, turned=lambda: tick(1))
            for path, row in sound.items():
                row[key] = {"threads": threads, **taken[path]}
            return
        except child.Ended as error:
            for row in [sound[error.at]] if error.at in sound else sound.values():
                _fail(row, error)


def _fail(row: dict[str, Any], error: Exception) -> None:
    """Leaves nothing in `row` but its format and the reason."""
    name = row["format"]
    row.clear()
    row |= {"format": name, "failed": " ".join(str(error).split())}


def _row(opened: "Source", name: str, drop: float, kernels: Kernels) -> dict[str, Any]:
    try:
        if name == CHECKPOINT:
            facts = _checkpoint(opened)
        else:
            facts = _file(opened, name, drop, kernels)
        path = facts["path"]
        with CONSOLE.phase(f"measuring load and memory of {pathlib.Path(path).name}"):
            needs = child.run("export.footprint", path, kernels.value)
        return {"format": name, **facts, **needs}
    except (Failure, UsageError, OSError, ValueError) as error:
        return {"format": name, "failed": " ".join(str(error).split())}


def _checkpoint(opened: "Source") -> dict[str, Any]:
    from eval import engine, scores
    from export import parity
    from trainer import checkpoints

    test = parity.compare(opened.exam, opened.exam.reference, scores.SMALLEST)
    path = checkpoints.folder(opened.run.checkpoints, opened.subject.facts["step"])
    size = sum(file.stat().st_size for file in path.iterdir())
    facts = {"file": path.name, "bytes": size, "engine": engine.tensorflow()}
    return {"path": str(opened.run.path), **facts, **test}


def _file(opened: "Source", name: str, drop: float, kernels: Kernels) -> dict[str, Any]:
    made = _made_before(opened, name, kernels)
    if made is None and name == SAVED_MODEL:
        made = saved_model.export(opened)
    elif made is None:
        scheme, io = resolve(False, Scheme(name), None)
        made = tflite.export(opened, tflite.Order(scheme, io, drop, kernels=kernels))
    elif name != SAVED_MODEL:
        from eval import foreign
        from eval import tflite as opening

        resolver = opening.RESOLVERS[kernels].value
        foreign.check(made.path, made.path.read_bytes(), resolver)
    manifest = made.manifest
    kept = ("file", "bytes", "operators", "multiply_accumulates")
    facts = {key: manifest[key] for key in kept if key in manifest}
    return {"path": str(made.path), **facts, **manifest["test"]}


def _made_before(opened: "Source", name: str, kernels: Kernels) -> Artifact | None:
    """The newest whole artifact of these weights, data, temperature and kernels."""
    from eval import document

    computed = {SAVED_MODEL: None}.get(name, kernels.value)
    if name == SAVED_MODEL:
        found = (opened.folder / SAVED_MODEL).glob("[0-9]*")
        versions = [path for path in found if path.name.isdecimal()]
        places = sorted(versions, key=lambda p: int(p.name), reverse=True)
    else:
        scheme, io = resolve(False, Scheme(name), None)
        places = [opened.folder / file_name(scheme, io)]
    facts = opened.facts()
    same = ("weights_sha256", "test_sha256", "temperature", "labels")
    for made in map(artifact.read, places):
        if made and all(made.manifest.get(key) == facts[key] for key in same):
            test = made.manifest.get("test")
            if not document.measured(test) or not test.keys() >= _TESTED:
                return None  # not one of ours
            engine = test.get("engine")
            if not isinstance(engine, dict) or not engine.keys() >= {
                "name",
                "delegate",
            }:
                return None
            same_engine = engine.get("kernels") == computed
            asked = test["images"] == len(opened.exam.labels)
            return made if asked and same_engine else None
    return None


def _cores() -> int:
    return container.threads()


def table(found: list[dict[str, Any]]) -> str:
    """`found` for a terminal, columns aligned."""
    lines = [[title for title, _ in _COLUMNS]]
    lines += [_cells(row) for row in found if "failed" not in row]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    failed = [row for row in found if "failed" in row]
    text += [f"{row['format']}: FAILED, {row['failed']}" for row in failed]
    return "\n".join(text)


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row["accuracy_interval"]
    latency = {
        short: " ".join(f"{row[key][f'p{q}_ms']:.3f}" for q in (50, 90, 99))
        for short, key in (("one", "one_thread"), ("every", "all_threads"))
    }
    ran = row["engine"]
    parts = [ran["name"], ran.get("kernels"), ran["delegate"]]
    named = " ".join(dict.fromkeys(p.lower() for p in parts if p))
    more = {
        "asked": artifact.counted(row),
        "computed": named,
        "low": low,
        "high": high,
        "memory": row["peak_memory_bytes"] / 1e6,
    }
    return [pattern.format(**row, **more, **latency) for _, pattern in _COLUMNS]


def verdict(found: list[dict[str, Any]], limit: float) -> None:
    """Raises Failure for rows that failed or lose more accuracy than `limit`."""
    from export import parity

    missed = [
        row["format"] for row in found if "failed" in row or parity.drops(row, limit)
    ]
    if missed:
        raise Failure(
            f"{', '.join(missed)} failed or lost more accuracy than "
            f"--max_accuracy_drop={limit}"
        )


def main(values: flags.FlagValues) -> None:
    """Measures every format, prints the table and writes bench.json."""
    opened = source.open_source(values)
    found = rows(opened, values.max_accuracy_drop, tflite.kernels(values))
    from trainer import environment

    document = {
        "version": VERSION,
        **opened.facts(),
        "parameters": sum(int(w.shape.num_elements()) for w in opened.network.weights),
        "environment": environment.describe(_cores()),
        "rows": found,
    }
    opened.folder.mkdir(exist_ok=True)
    files.write_json(opened.folder / FILE, document)
    print(table(found), opened.folder / FILE, sep="\n")
    if values["max_accuracy_drop"].present:
        verdict(found, values.max_accuracy_drop)


if __name__ == "__main__":
    _values = define(flags.FlagValues())
    commandline.run(
        "export.bench",
        "Measures every format of a run side by side.",
        _values,
        lambda: main(_values),
    )
