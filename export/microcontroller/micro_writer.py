"""Writes a run as C source for the runtime that the options name."""

import typing

from export.artifact.artifact import Artifact
from export.artifact.export_options import ExportRequest
from export.artifact.inputs import open_inputs
from export.microcontroller.micro_formats import MicroOptions, Runtime
from export.microcontroller.standalone import standalone_writer
from export.microcontroller.tflm import tflm_writer


def export_micro(request: ExportRequest, options: MicroOptions) -> Artifact:
    """Opens the run of `request` and writes it.

    Raises:
        InvalidInput: the run, its data or the named file cannot be used.
        TrainingFailed: it fails its gate, or cannot be run or written.
    """
    if options.file is not None:
        standalone_writer.check_file(options.file)
    inputs = open_inputs(request)
    match options.runtime:
        case Runtime.TFLM:
            return tflm_writer.write_tflm(inputs, options)
        case Runtime.STANDALONE:
            return standalone_writer.write_standalone(inputs, options)
        case _:
            typing.assert_never(options.runtime)


def memory_summary(made: Artifact) -> str:
    """Formats flash, memory and agreement with LiteRT as one line."""
    if made.manifest["runtime"] == Runtime.STANDALONE.value:
        return standalone_writer.memory_summary(made)
    return tflm_writer.arena_summary(made)
