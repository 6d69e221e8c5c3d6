"""Writes bench.json and its pictures: every format and target of a run, side by side.

docs/export.md has the fields of bench.json.
"""

import collections
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from eval.formats import model_signature
from export.artifact import artifact, current_artifact
from export.artifact.export_options import ExportRequest
from export.artifact.inputs import ExportInputs, open_inputs
from export.measure import benchmark
from export.measure.results import chart, recommendation, table
from export.measure.targets import target_rows
from export.measure.targets.target import CHECKPOINT, BenchOptions
from export.signing import artifact_signing
from trainer import files, system
from trainer.distributed import environment
from trainer.errors import InvalidInput
from trainer.monitoring.progress import CONSOLE

VERSION = 2
BENCH_FILE = "bench.json"


def write_bench(
    request: ExportRequest,
    options: BenchOptions,
    require_signed: pathlib.Path | None = None,
) -> tuple[dict[str, Any], pathlib.Path]:
    """Measures every format and target of a run and writes bench.json.

    Args:
        require_signed: the public key whose owner must have signed what is exported.

    Returns:
        Its content and its path.

    Raises:
        InvalidInput: the run cannot be used, a file is not signed or was changed, or a
            folder has the name of bench.json.
    """
    inputs = open_inputs(request)
    path = inputs.folder / BENCH_FILE
    artifact.check_replaceable(path)
    if require_signed is not None:
        _verify_signatures(inputs, options, require_signed)
    document = measure_run(inputs, options)
    if require_signed is not None:
        for row in document["rows"]:
            if row.get("signature") == "not verified":
                row["signature"] = "verified"
    inputs.folder.mkdir(exist_ok=True)
    with CONSOLE.phase("drawing the picture"):
        chart.write_charts(document["rows"], path)
    files.write_json(path, document)
    return document, path


def _verify_signatures(
    inputs: ExportInputs, options: BenchOptions, public_key: pathlib.Path
) -> None:
    """Verifies every file; a format that would be exported now is not signed."""
    others = set(artifact_signing.find_artifacts(inputs.folder))
    for name in benchmark.list_formats(inputs, options):
        if name == CHECKPOINT:
            continue
        made = current_artifact.load_current(inputs, name)
        if made is None:
            _verify_signed(others, public_key)
            raise InvalidInput(
                f"{name} is not exported yet, or of other weights or images, so that"
                " nobody has signed it;\nexport and sign it before, see export.sign"
            )
        model_signature.verify(made.path, public_key)
        others -= {made.path}
    for path in _without_versions(others):
        model_signature.verify(path, public_key)


def _verify_signed(paths: Iterable[pathlib.Path], public_key: pathlib.Path) -> None:
    """Verifies those of `paths` that are signed: which was changed is to be named."""
    for path in _without_versions(paths):
        if model_signature.signature_path(path).exists():
            model_signature.verify(path, public_key)


def _without_versions(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """The `paths` in order, without versions of the SavedModel, which may be older."""
    return [p for p in sorted(paths) if p.parent.name != artifact.SAVED_MODEL]


def measure_run(inputs: ExportInputs, options: BenchOptions) -> dict[str, Any]:
    """Measures every format and target of a run; returns the content of bench.json."""
    rows = benchmark.measure_formats(inputs, options)
    targets = target_rows.measure_targets(inputs, rows, options)
    rows += targets.rows
    kernels = inputs.verification.kernels
    for threads, key in ((1, "one_thread"), (system.threads(), "all_threads")):
        benchmark.add_latencies(rows, threads, key, kernels)
    for row in rows:
        row.pop("path", None)
    limit = inputs.verification.max_accuracy_drop
    passed = [
        row for row in rows if "failed" not in row and benchmark.passes_gate(row, limit)
    ]
    best = recommendation.recommend(passed)
    weights = inputs.network.weights
    return {
        "version": VERSION,
        **inputs.facts(),
        "parameters": sum(int(w.shape.num_elements()) for w in weights),
        "environment": environment.describe(system.threads()),
        "rows": rows,
        "skipped": targets.skipped,
        "recommended": best["format"] if best else None,
        "warnings": [
            recommendation.describe_slow(*pair)
            for pair in recommendation.find_slow(rows)
        ],
    }


def enforce_gates(document: Mapping[str, Any], limit: float) -> None:
    """Checks the rows of a bench.json, see `benchmark.enforce_gates`.

    Raises:
        TrainingFailed: some failed or missed their gate.
    """
    benchmark.enforce_gates(document["rows"], limit)


def _notes(row: Mapping[str, Any]) -> Iterator[str]:
    """What the table has no column for."""
    name = row["format"]
    if "agreement_with_int8" in row:
        share = row["agreement_with_int8"]
        yield f"{name}: {share:.2%} of the answers are those of int8"
    if "equal_answers" in row:
        yield (
            f"{name}: {row['images']:,} images; {row['equal_answers']:,} answers are"
            f" LiteRT's, {row['identical_answers']:,} in every number"
        )
    if "instructions" in row:
        yield f"{name}: {row['instructions']:,} instructions per image"


def _describe_signatures(rows: Sequence[Mapping[str, Any]]) -> str:
    """Says which files are signed."""
    found = collections.defaultdict(list)
    for row in rows:
        if "signature" in row:
            found[row["signature"]].append(row["format"])
    words = {
        "verified": "signed and verified",
        "not verified": "signed, not verified",
        "none": "not signed",
    }
    told = [f"{words[state]}: {', '.join(names)}" for state, names in found.items()]
    return "; ".join(told) or "no exported file"


def format_summary(document: Mapping[str, Any]) -> str:
    """Formats a bench.json for a terminal, in at most `table.WIDTH` columns."""
    rows = document["rows"]
    lines = [table.describe_machine(document), table.format_table(rows)]
    lines.append(table.wrap(table.LEGEND))
    lines += [table.wrap(note) for row in rows for note in _notes(row)]
    lines.append(table.wrap(_describe_signatures(rows)))
    lines += [
        table.wrap(f"{name}: not measured, {reason}")
        for name, reason in document["skipped"].items()
    ]
    lines += [table.wrap(f"warning: {line}") for line in document["warnings"]]
    best = [row for row in rows if row["format"] == document["recommended"]]
    lines += [table.wrap(recommendation.describe(row)) for row in best]
    return "\n".join(lines)
