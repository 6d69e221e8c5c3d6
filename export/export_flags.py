"""Flags of every export command."""

from collections.abc import Iterable

from absl import flags

from eval import evaluation_flags
from eval.predictors.engine import Kernels
from export.artifact import artifact
from export.artifact.export_options import ExportRequest, VerificationOptions
from export.artifact.number_formats import Scheme
from trainer.rundir import finished, layout


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags that every export has; tests pass a fresh FlagValues."""
    what = {"flag_values": values, "module_name": "What to export"}
    flags.DEFINE_string("run_dir", None, "The run. Default: runs/latest.", **what)
    evaluation_flags.define_images(values, "What to export")
    evaluation_flags.define_skipping(values, "What to export")
    evaluation_flags.define_split(values, "Verification")
    flags.DEFINE_bool(
        "calibrate", True, "Divides logits by the run's temperature.", **what
    )
    proof = {"flag_values": values, "module_name": "Verification"}
    flags.DEFINE_integer(
        "verify_sample", None, "Test images to verify on. Default: all.", **proof
    )
    flags.DEFINE_float(
        "max_accuracy_drop",
        VerificationOptions.max_accuracy_drop,
        "Limit for dynamic, int8 and int16x8 (float32 and SavedModel may change no "
        "answer, float16 0.2 % of them).",
        **proof,
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **proof)
    return values


def define_scheme(
    values: flags.FlagValues, schemes: Iterable[Scheme], heading: str
) -> None:
    """Declares `scheme`, one of `schemes`, int8 by default."""
    flags.DEFINE_enum(
        "scheme",
        Scheme.INT8.value,
        [scheme.value for scheme in schemes],
        "Numbers of weights and arithmetic.",
        flag_values=values,
        module_name=heading,
    )


def define_with_kernels(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the same flags and the kernels that a `.tflite` is verified with."""
    evaluation_flags.define_kernels(values)
    return define(values)


def parse_verification(values: flags.FlagValues) -> VerificationOptions:
    """Converts parsed flags to options.

    Raises:
        InvalidConfig: a value is out of range.
    """
    kernels = values["kernels"].value if "kernels" in values else None
    return VerificationOptions(
        max_accuracy_drop=values.max_accuracy_drop,
        sample=values.verify_sample,
        kernels=Kernels(kernels or Kernels.XNNPACK.value),
    )


def parse_request(values: flags.FlagValues, *, folders: bool = False) -> ExportRequest:
    """Converts parsed flags to a request that can be carried out.

    Args:
        folders: whether what is written is a folder.

    Raises:
        InvalidConfig: a value is out of range.
        InvalidInput: there is no such run, or nothing can be written there.
    """
    verification = parse_verification(values)
    run = layout.open_run(values.run_dir)
    finished.check_finished(run)
    request = ExportRequest(
        run=run,
        images=evaluation_flags.parse_images(values, run),
        calibrate=values.calibrate,
        verification=verification,
    )
    artifact.check_writable(request.folder, folders=folders)
    return request
