"""Writes a run as C source for the runtime that the options name."""

import typing

from export.artifact.artifact import Artifact
from export.artifact.export_options import ExportRequest
from export.artifact.inputs import open_inputs
from export.microcontroller.micro_formats import MicroOptions, Runtime
from export.microcontroller.tflm import tflm_writer


def export_micro(request: ExportRequest, options: MicroOptions) -> Artifact:
    """Opens the run of `request` and writes it.

    Raises:
        TrainingFailed: it fails its gate, or cannot be run or written.
    """
    inputs = open_inputs(request)
    match options.runtime:
        case Runtime.TFLM:
            return tflm_writer.write_tflm(inputs, options)
        case _:
            typing.assert_never(options.runtime)


def memory_summary(made: Artifact) -> str:
    """Formats flash, memory and agreement with LiteRT as one line."""
    return tflm_writer.arena_summary(made)
