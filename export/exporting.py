"""Exports from a script or notebook, verified and measured as the commands do."""

import enum
import os
from collections.abc import Sequence
from typing import Any, TypeVar

from eval import runner
from export.artifact import artifact
from export.artifact.artifact import Artifact
from export.artifact.export_options import ExportRequest, VerificationOptions
from export.artifact.number_formats import Io, Scheme, resolve_formats
from export.browser import litert_js, page_writer
from export.browser.page_options import PageOptions
from export.lite import litert_quantization, tflite_writer
from export.lite.tflite_options import QuantizerChoice, TFLiteOptions
from export.measure import bench_document
from export.measure.targets.target import BenchOptions
from export.microcontroller import micro_formats, micro_writer
from export.microcontroller.micro_formats import MicroOptions, Runtime
from export.onnx_files import onnx_packages, onnx_writer
from export.serving import saved_model_writer
from trainer.data.split import DataSource
from trainer.errors import InvalidConfig
from trainer.rundir import layout

Member = TypeVar("Member", bound=enum.Enum)


def export_tflite(
    run_dir: str | os.PathLike[str],
    data: DataSource | None = None,
    *,
    quantize: bool = False,
    scheme: str | Scheme | None = None,
    io: str | Io | None = None,
    quantizer: str | QuantizerChoice = QuantizerChoice.TFLITE,
    verification: VerificationOptions | None = None,
) -> Artifact:
    """Writes a finished run as a `.tflite` that takes raw pixels.

    Args:
        run_dir: the run; the file goes to its export/.
        data: from `trainer.data.from_arrays` or `from_tfds`: its test split verifies
            the file, its training split sets the ranges of integers; None: the TFDS
            data set that the run was trained on.
        quantize: integers only: scheme="int8".
        scheme: "float32", "float16", "dynamic", "int8" or "int16x8".
        io: type of pixels and probabilities: "uint8", "int8", "int16" or "float32".
        quantizer: what makes integers: "tflite", or "litert" (needs litert-quantizer).
        verification: how many test images, and what the file may lose.

    Returns:
        The artifact: its `path` and its `manifest`.

    Raises:
        InvalidInput: an option, the run or the data cannot be used.
        TrainingFailed: it answers too unlike the run, or cannot be written; nothing is
            kept.
    """
    formats = resolve_formats(
        quantize, _parse_member(Scheme, "scheme", scheme), _parse_member(Io, "io", io)
    )
    chosen = _parse_member(QuantizerChoice, "quantizer", quantizer)
    options = TFLiteOptions(*formats, quantizer=chosen)
    if chosen is QuantizerChoice.LITERT:
        litert_quantization.check_installed()
    request = _prepare(run_dir, data, verification)
    return tflite_writer.export_tflite(request, options)


def export_saved_model(
    run_dir: str | os.PathLike[str],
    data: DataSource | None = None,
    *,
    verification: VerificationOptions | None = None,
) -> Artifact:
    """Writes a finished run as a SavedModel for TensorFlow Serving.

    It goes to the next number in export/saved_model/. The arguments and the errors are
    those of `export_tflite`.
    """
    request = _prepare(run_dir, data, verification, folders=True)
    return saved_model_writer.export_saved_model(request)


def export_onnx(
    run_dir: str | os.PathLike[str],
    data: DataSource | None = None,
    *,
    verification: VerificationOptions | None = None,
) -> Artifact:
    """Writes a finished run as ONNX, export/model_float32.onnx.

    The arguments are those of `export_tflite`.

    Raises:
        InvalidInput: a package is missing, or see `export_tflite`.
        TrainingFailed: see `export_tflite`.
    """
    onnx_packages.check_installed()
    return onnx_writer.export_onnx(_prepare(run_dir, data, verification))


def export_micro(
    run_dir: str | os.PathLike[str],
    data: DataSource | None = None,
    *,
    runtime: str | Runtime = Runtime.TFLM,
    scheme: str | Scheme = Scheme.INT8,
    verification: VerificationOptions | None = None,
) -> Artifact:
    """Writes a finished run as C source for microcontrollers.

    Args:
        run_dir: the run; the source goes to export/micro/<runtime>/.
        data: as in `export_tflite`.
        runtime: "tflm": TensorFlow Lite Micro (needs tflite-micro); "standalone":
            plain C99 without a library.
        scheme: "int8", "int16x8" or "float32".
        verification: as in `export_tflite`.

    Raises:
        InvalidInput: the package is missing, or see `export_tflite`.
        TrainingFailed: see `export_tflite`.
    """
    options = MicroOptions(
        _parse_member(Runtime, "runtime", runtime),
        _parse_member(Scheme, "scheme", scheme),
    )
    micro_formats.check_installed(options.runtime)
    request = _prepare(run_dir, data, verification, folders=True)
    return micro_writer.export_micro(request, options)


def export_web(
    run_dir: str | os.PathLike[str],
    data: DataSource | None = None,
    *,
    scheme: str | Scheme = Scheme.INT8,
    images: int | None = None,
    verification: VerificationOptions | None = None,
) -> Artifact:
    """Writes a finished run as a page that classifies pictures in a browser.

    npm fetches LiteRT.js once.

    Args:
        run_dir: the run; the page goes to export/web/.
        data: as in `export_tflite`.
        scheme: "int8", "float32", "float16" or "dynamic".
        images: number of test images in the page; None: up to 200, by their size.
        verification: as in `export_tflite`.

    Raises:
        InvalidInput: npm is not installed, or see `export_tflite`.
        TrainingFailed: npm cannot fetch LiteRT.js, or see `export_tflite`.
    """
    options = PageOptions(_parse_member(Scheme, "scheme", scheme), images)
    request = _prepare(run_dir, data, verification, folders=True)
    return page_writer.export_page(request, options, litert_js.load_runtime())


def benchmark(
    run_dir: str | os.PathLike[str],
    data: DataSource | None = None,
    *,
    formats: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    verification: VerificationOptions | None = None,
) -> list[dict[str, Any]]:
    """Measures every format of a finished run side by side; writes export/bench.json.

    A format that is not there yet is exported first. The other arguments and the errors
    are those of `export_tflite`.

    Args:
        run_dir, data, verification: as in `export_tflite`.
        formats: what is measured beside the checkpoint, such as ["int8"]; None: all.
        targets: what else is measured, as in `export.bench --targets`; None: what is
            exported.

    Returns:
        The rows of bench.json, see docs/export.md; one that failed has "failed".
    """
    options = BenchOptions.from_words(targets, formats)
    request = _prepare(run_dir, data, verification, folders=True)
    options.check_run(request.run)
    document, _ = bench_document.write_bench(request, options)
    return document["rows"]


def _prepare(
    run_dir: str | os.PathLike[str],
    data: DataSource | None,
    verification: VerificationOptions | None,
    *,
    folders: bool = False,
) -> ExportRequest:
    """The request, once it can be carried out and the devices are there."""
    request = ExportRequest(
        run=layout.open_run(os.fspath(run_dir)),
        data=data,
        verification=verification or VerificationOptions(),
    )
    artifact.check_writable(request.folder, folders=folders)
    # A command hides the GPUs of its process; the one of a script may go on to train.
    runner.start_devices()
    return request


def _parse_member(
    kind: type[Member], name: str, value: str | Member | None
) -> Member | None:
    try:
        return None if value is None else kind(value)
    except ValueError as error:
        known = ", ".join(member.value for member in kind)
        raise InvalidConfig(f"{name}={value} must be one of {known}") from error
