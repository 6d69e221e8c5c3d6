"""Measures the targets of a run: a row of bench.json for each, or a reason for none."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from export.artifact.inputs import ExportInputs
from export.measure.targets import c_program_rows, file_rows, page_rows
from export.measure.targets.target import BenchOptions, Target, TargetMissing
from trainer.errors import InvalidInput, TrainingFailed, first_line

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class TargetRows:
    """What was measured of the targets.

    Attributes:
        rows: of bench.json; those with a "path" have no latency yet.
        skipped: the reasons why targets have no row, by target.
    """

    rows: list[Row]
    skipped: dict[str, str]


_MEASURES: dict[Target, Callable[[ExportInputs, Sequence[Row], bool], list[Row]]] = {
    Target.LITERT: file_rows.measure_litert,
    Target.COMPILED: file_rows.measure_compiled,
    Target.ONNX: file_rows.measure_onnx,
    Target.WEB: page_rows.measure_page,
    Target.STANDALONE: c_program_rows.measure_standalone,
    Target.CORTEX_M4: c_program_rows.measure_cortex_m4,
}


def measure_targets(
    inputs: ExportInputs, formats: Sequence[Row], options: BenchOptions
) -> TargetRows:
    """Measures targets; `formats` are the rows of the formats."""
    found = TargetRows([], {})
    for target, measure in _MEASURES.items():
        if options.leaves_out(target):
            continue
        try:
            known = [*formats, *found.rows]
            found.rows.extend(measure(inputs, known, options.asks_for(target)))
        except (TargetMissing, InvalidInput) as error:
            found.skipped[target.value] = first_line(error)
        except (TrainingFailed, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            found.rows.append({"format": target.value, "failed": reason})
    return found
