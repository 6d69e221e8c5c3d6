"""Writes a run as a .tflite that takes raw pixels, and proves it on the test split.

Synopsis::

    python -m export.tflite --quantize     # runs/latest/export/model_int8.tflite
    python -m export.tflite --scheme=float16 --io=float32
"""

import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from absl import flags

from eval import evaluation_flags
from eval.predictors import model_files, sandbox
from eval.predictors.engine import Kernels
from eval.predictors.file_options import FileOptions
from export import artifact, inputs, verification
from export.artifact import Artifact
from export.formats import NEEDS_CALIBRATION, Io, Scheme, file_name, resolve
from export.lite import converter, metadata_writer
from export.lite.calibration_images import IMAGES, CalibrationImages
from trainer import files
from trainer.cli import command
from trainer.errors import UsageError
from trainer.monitoring import native_output

if TYPE_CHECKING:
    from eval.formats.flatbuffer import FlatbufferInfo
    from eval.predictors.predictor import Predictor
    from export.inputs import ExportInputs
    from export.lite.metadata_writer import Description

# The converter's own note says 1.5.0 for int16x8: it is made before quantisation. The
# kernels came with 2.3 (versions of CONV_2D and SOFTMAX in runtime_version.cc).
_FIRST_RUNTIME = {Scheme.INT16X8: "2.3.0"}


@dataclasses.dataclass(frozen=True)
class TFLiteOptions:
    """Which file is wanted."""

    scheme: Scheme
    io: Io
    max_accuracy_drop: float = 0.01
    calibration_images: int = IMAGES
    kernels: Kernels = Kernels.XNNPACK  # that it is verified with


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    where = {"flag_values": values, "module_name": "Number format"}
    flags.DEFINE_bool("quantize", False, "Integers only: --scheme=int8.", **where)
    flags.DEFINE_enum(
        "scheme",
        None,
        [scheme.value for scheme in Scheme],
        "Of weights and arithmetic; off: float32.",
        **where,
    )
    flags.DEFINE_enum(
        "io",
        None,
        [io.value for io in Io],
        "Of pixels and probabilities; off: uint8 (float networks answer in float32), "
        "int16 for int16x8. float32 and int16 inputs are (pixel - 128) / 128.",
        **where,
    )
    flags.DEFINE_integer(
        "calibration_images",
        IMAGES,
        "Training images that set the ranges of int8 and int16x8.",
        **where,
    )
    evaluation_flags.define_kernels(values)
    return inputs.define(values)


def options_from_flags(values: flags.FlagValues) -> TFLiteOptions:
    """What parsed flags ask for.

    Raises:
        UsageError: they contradict each other or are out of range.
    """
    inputs.check(values)
    scheme = Scheme(values.scheme) if values.scheme else None
    io = Io(values.io) if values.io else None
    if values.calibration_images < 1:
        raise UsageError(
            f"--calibration_images={values.calibration_images} must be at least 1"
        )
    scheme, io = resolve(values.quantize, scheme, io)
    if scheme not in NEEDS_CALIBRATION and values.calibration_images != IMAGES:
        raise UsageError(
            f"--calibration_images={values.calibration_images} has no place in "
            f"--scheme={scheme.value}, which needs none; leave it out"
        )
    drop, images = values.max_accuracy_drop, values.calibration_images
    return TFLiteOptions(scheme, io, drop, images, kernels(values))


def kernels(values: flags.FlagValues) -> Kernels:
    """--kernels as an enum, XNNPACK's if it is off."""
    return Kernels(values.kernels or Kernels.XNNPACK.value)


def export(opened: "ExportInputs", wanted: TFLiteOptions) -> Artifact:
    """Writes, verifies and names the file that is `wanted`.

    Raises:
        Failure: it misses its gate or cannot be written; nothing has its name then.
    """
    from export.lite import metadata_writer

    images = representative(opened, wanted)
    raw = converter.convert(opened.network, wanted.scheme, wanted.io, images)
    final = opened.folder / file_name(wanted.scheme, wanted.io)
    described = metadata_writer.write(
        raw, description(opened, wanted), opened.exam.names
    )
    with artifact.writing(opened.folder) as hidden:
        made = hidden / final.name
        files.write_bytes(made, described)
        asked = predictor(made, wanted.kernels)
        if said := verification.foretell(opened.exam, asked, made.name):
            print(said, file=sys.stderr, flush=True)
        test = verification.measure(opened.exam, asked, made.name)
        verification.Gate.of(wanted.scheme, wanted.max_accuracy_drop).check(test)
        facts = opened.facts() | describe(raw, wanted, images)
        # Appended after the model: the bytes that were measured are those that ship.
        whole = metadata_writer.with_provenance(described, facts | {"test": test})
        files.write_bytes(made, whole)
        return artifact.publish_file(made, final, facts | {"test": test})


def representative(
    opened: "ExportInputs", wanted: TFLiteOptions
) -> CalibrationImages | None:
    """The calibration images, where the scheme needs any."""
    if wanted.scheme not in NEEDS_CALIBRATION:
        return None
    fraction = opened.run.config().data.validation_fraction
    return CalibrationImages.of(
        opened.train(),
        opened.test,
        validation_fraction=fraction,
        count=wanted.calibration_images,
    )


def predictor(path: pathlib.Path, kernels: Kernels) -> "Predictor":
    """The .tflite at `path` in LiteRT."""
    from eval.predictors.outputs import Output

    sandbox.trust(path.read_bytes())
    with (
        native_output.suppress_native_stderr()
    ):  # LiteRT says once that it has made its delegate
        return model_files.open_file(
            path, FileOptions(Output.PROBABILITIES, kernels=kernels)
        )


def description(opened: "ExportInputs", wanted: TFLiteOptions) -> "Description":
    """What the file says of itself in its metadata."""

    config = opened.run.config()
    text = (
        f"{config.model.name} trained on {opened.data}, "
        f"{wanted.scheme.value}; weights {opened.subject.facts['sha256'][:12]}"
    )
    shape = opened.network.image_shape
    return metadata_writer.describe(
        config.model.name, text, shape, wanted.scheme, wanted.io
    )


def describe(
    raw: bytes, wanted: TFLiteOptions, images: CalibrationImages | None
) -> dict[str, Any]:
    """What a manifest says of the model `raw`, still without metadata."""
    from eval.formats.flatbuffer import FlatbufferInfo

    graph = FlatbufferInfo(raw)
    ends = {"input": wanted.io.value, "output": wanted.io.value}
    if wanted.scheme not in NEEDS_CALIBRATION:
        ends["output"] = Io.FLOAT32.value
    pixel = {Io.UINT8: "pixel", Io.INT8: "pixel - 128"}
    ends["output_is"] = "probabilities"
    ends["input_is"] = pixel.get(wanted.io, "(pixel - 128) / 128")
    ends["input_scale"], ends["input_zero_point"] = graph.input_quantization()
    return {
        "format": "tflite",
        "scheme": wanted.scheme.value,
        "io": ends,
        "bytes_without_metadata": len(raw),
        "min_runtime_version": min_runtime_version(graph, wanted.scheme),
        "operators": graph.operators(),
        "multiply_accumulates": graph.multiply_accumulates(),
        "calibration": images.facts() if images else None,
    }


def min_runtime_version(graph: "FlatbufferInfo", scheme: Scheme) -> str | None:
    """The oldest TensorFlow Lite that runs the file; None if nobody says."""
    noted = [graph.min_runtime_version(), _FIRST_RUNTIME.get(scheme)]
    return max(
        filter(None, noted),
        key=lambda version: [int(part) for part in version.split(".")],
        default=None,
    )


def main(values: flags.FlagValues) -> None:
    """Exports one file and says where it is."""
    wanted = options_from_flags(values)
    print(export(inputs.open_inputs(values), wanted).sentence())


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = define(flags.FlagValues())
    command.run(
        "export.tflite",
        "Writes a run as a .tflite file and proves it on the test split.",
        values,
        lambda: main(values),
    )


if __name__ == "__main__":
    run()
