"""Flags of every command that evaluates models or runs `.tflite` files."""

import os
import pathlib
import sys

from absl import flags

from eval.formats import model_signature
from eval.formats.input_normalization import InputRange, InputScaling
from eval.predictors.engine import Kernels, LiteRtApi
from eval.predictors.file_options import FileOptions
from eval.predictors.outputs import Output
from eval.splits.evaluation_options import (
    DataChoice,
    EvaluationOptions,
    EvaluationSplit,
)
from trainer.cli.command import translate_options
from trainer.config import parsing
from trainer.config.enums import EvalTta
from trainer.data import catalogue
from trainer.errors import InvalidInput
from trainer.rundir import finished, layout
from trainer.rundir.layout import Run

HEADING = "Model files and data"


def define_model(values: flags.FlagValues, heading: str) -> None:
    """Declares the one run, checkpoint or model file that a command is about."""
    model = {"flag_values": values, "module_name": heading}
    flags.DEFINE_string("run_dir", None, "The run. Default: runs/latest.", **model)
    flags.DEFINE_integer(
        "checkpoint", None, "Step. Default: the last of a finished run.", **model
    )
    flags.DEFINE_string(
        "model",
        None,
        "A .tflite, .onnx or SavedModel instead of a run. A SavedModel is a program"
        " that may read and write your files: open none that you would not run.",
        **model,
    )


def parse_model(values: flags.FlagValues) -> tuple[Run | None, pathlib.Path | None]:
    """Converts the flags of `define_model` to a run or a model file; the other is None.

    Raises:
        InvalidInput: they name both, or there is no such file, run or checkpoint.
    """
    if values.model is not None:
        check_single_model(values)
        return None, check_exists(values.model)
    run = layout.open_run(values.run_dir)
    if values.checkpoint is None:
        finished.check_finished(run, checkpoints_too=True)
    return run, None


def check_exists(name: str) -> pathlib.Path:
    """The path of a model file; checks that something is there.

    Raises:
        InvalidInput: there is nothing.
    """
    path = parsing.parse_path("model", name)
    if not path.exists():
        raise InvalidInput(
            f"{path} does not exist; name a run, a .tflite file or a SavedModel"
            " directory (one with saved_model.pb)"
        )
    return path


def define(values: flags.FlagValues) -> None:
    """Declares how model files are read and which images they are evaluated on."""
    define_file_options(values)
    _define_data(values)


def define_file_options(values: flags.FlagValues) -> None:
    """Declares how model files are read."""
    where = {"flag_values": values, "module_name": HEADING}
    flags.DEFINE_enum_class(
        "output",
        Output.AUTO,
        Output,
        "Meaning of a file's outputs; auto: probabilities if all are within 0..1 and"
        " every row adds up to 1, else logits.",
        **where,
    )
    flags.DEFINE_enum(
        "input_range",
        None,
        [member.value for member in InputRange],
        "What pixels 0 and 255 are to a file; 8-bit integer inputs take the pixel."
        " Default: what its metadata says, else 0:255.",
        **where,
    )
    flags.DEFINE_enum(
        "input_scaling",
        None,
        [member.value for member in InputScaling],
        "How an 8-bit input takes pixels: as they are, or in the scale of the file."
        " Default: what the file says.",
        **where,
    )
    flags.DEFINE_enum(
        "engine",
        None,
        [member.value for member in LiteRtApi],
        "LiteRT's interface that runs a .tflite: its interpreter, or CompiledModel,"
        " which is to succeed it. Default: interpreter.",
        **where,
    )
    define_signature(values)
    define_kernels(values)


def define_signature(values: flags.FlagValues) -> None:
    """Declares whose signature a model file must have."""
    flags.DEFINE_string(
        "require_signed",
        None,
        "Public key (PEM): a model file that its owner has not signed by export.sign,"
        " or of which a byte was changed, is refused.",
        flag_values=values,
        module_name=HEADING,
    )


def parse_signature(values: flags.FlagValues) -> pathlib.Path | None:
    """The path of the key of `define_signature`.

    Raises:
        InvalidInput: signatures cannot be verified here, or there is no key.
    """
    if values.require_signed is None:
        return None
    model_signature.check_installed()
    path = parsing.parse_path("require_signed", values.require_signed)
    model_signature.check_key(path, "require_signed")
    return path


def define_kernels(values: flags.FlagValues) -> None:
    """Declares which kernels a .tflite is run with."""
    flags.DEFINE_enum(
        "kernels",
        None,
        [member.value for member in Kernels],
        "Kernels that run a .tflite: those of LiteRT's default delegate (xnnpack), its"
        " own, or the reference, as on microcontrollers; they round differently."
        " Default: xnnpack.",
        flag_values=values,
        module_name=HEADING,
    )


def define_images(values: flags.FlagValues, heading: str) -> None:
    """Declares which images a model is evaluated on."""
    where = {"flag_values": values, "module_name": heading}
    flags.DEFINE_string(
        "dataset", None, "TFDS data set. Default: the model's own.", **where
    )
    flags.DEFINE_string(
        "data_dir", None, "Where it is. Default: where it was.", **where
    )
    flags.DEFINE_string(
        "image_dir", None, "Folder of image files. Default: the model's own.", **where
    )
    flags.DEFINE_string(
        "image_list", None, "Table of image files. Default: the model's own.", **where
    )


def define_skipping(values: flags.FlagValues, heading: str) -> None:
    """Declares whether image files that cannot be read are left out."""
    flags.DEFINE_bool(
        "skip_unreadable",
        False,
        "Leaves out image files that cannot be read, and says so. Default: only where"
        " the training did.",
        flag_values=values,
        module_name=heading,
    )


def define_split(values: flags.FlagValues, heading: str) -> None:
    """Declares which rows of the data set judge a model."""
    flags.DEFINE_enum(
        "split",
        None,
        [member.value for member in EvaluationSplit],
        "Images that judge. Default: test, but validation for a run that was trained"
        " with --notest. A study records who opens its test split.",
        flag_values=values,
        module_name=heading,
    )


def parse_images(values: flags.FlagValues, run: Run | None = None) -> DataChoice:
    """Converts parsed flags to the images that they name.

    `run` is evaluated on them; its data set may be in a folder of its own.

    Raises:
        InvalidInput: they name two data sets, one that TFDS does not know, or a path
            that is empty or not there.
    """
    paths = {
        name: parsing.parse_directory(name, text)
        for name in ("image_dir", "image_list")
        if (text := values[name].value) is not None
    }
    for name, path in paths.items():
        if not os.path.exists(path):
            raise InvalidInput(
                f"{name}={path} does not exist; name where the files are"
            )
    if values.dataset:
        own = run.recorded().get("run", {}).get("data_dir") if run else None
        folder = values.data_dir or (own if isinstance(own, str) else None)
        catalogue.check_name(values.dataset, folder)
    return DataChoice(
        dataset=values.dataset,
        data_dir=values.data_dir,
        skip_unreadable="skip_unreadable" in values and values.skip_unreadable,
        split=EvaluationSplit(values.split) if _has_split(values) else None,
        **paths,
    )


def _has_split(values: flags.FlagValues) -> bool:
    return "split" in values and values.split is not None


def _define_data(values: flags.FlagValues) -> None:
    define_images(values, HEADING)
    define_skipping(values, HEADING)
    define_split(values, HEADING)
    where = {"flag_values": values, "module_name": HEADING}
    flags.DEFINE_enum(
        "eval_tta",
        EvalTta.NONE.value,
        [member.value for member in EvalTta],
        "Test-time augmentation: predictions averaged over 2 views of an image, 6 or 3;"
        " no file does that by itself. All but shift mirror: not for digits.",
        **where,
    )


def parse_options(
    values: flags.FlagValues, run: Run | None = None
) -> EvaluationOptions:
    """Converts parsed flags to options; `run` is evaluated with them.

    Raises:
        InvalidInput: two flags contradict each other, or data are not there.
    """
    return EvaluationOptions(
        file=parse_file_options(values),
        images=parse_images(values, run),
        eval_tta=EvalTta(values.eval_tta),
    )


def parse_file_options(values: flags.FlagValues) -> FileOptions:
    """Converts the parsed flags of `define_file_options`.

    Raises:
        InvalidInput: two flags contradict each other.
    """
    if values.input_range is not None and values.input_scaling is not None:
        raise InvalidInput(
            f"--input_range={values.input_range} and"
            f" --input_scaling={values.input_scaling} both say how pixels are taken;"
            " give one"
        )
    return FileOptions(
        output=values.output,
        input_range=values.input_range and InputRange(values.input_range),
        input_scaling=values.input_scaling and InputScaling(values.input_scaling),
        kernels=values.kernels and Kernels(values.kernels),
        engine=values.engine and LiteRtApi(values.engine),
        require_signed=parse_signature(values),
    )


def check_single_model(values: flags.FlagValues) -> None:
    """Checks that nothing of a run is named beside a model file.

    Raises:
        InvalidInput: it is.
    """
    for name in ("run_dir", "checkpoint"):
        if values[name].value is not None:
            raise InvalidInput(
                f"--{name}={values[name].value} and --model={values.model} name two"
                " things to evaluate; give one"
            )


def print_translated(values: flags.FlagValues, line: str) -> None:
    """Prints a library's `line` to stderr, its options named as flags of a command."""
    print(translate_options(line, values), file=sys.stderr, flush=True)
