"""Evaluates a run, a SavedModel or a .tflite on its test split.

Synopsis::

    python -m eval.report  # runs/latest -> runs/latest/report/
    python -m eval.report --model=model.tflite --dataset=cifar10 --corruptions
"""

import contextlib
import pathlib
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NoReturn

from absl import flags

from eval import model_source, runner
from eval.formats import atomic_folders
from eval.predictors import engine, sandbox
from eval.predictors.engine import Kernels
from eval.predictors.input_normalization import InputRange, InputScaling
from eval.predictors.outputs import Output
from eval.reports import report_data, report_files
from eval.robustness import robustness
from trainer import storage, system
from trainer.cli import command as cli_command
from trainer.config import parsing
from trainer.config.enums import EvalTta
from trainer.config.schema import RunConfig
from trainer.data import preparation
from trainer.distributed import environment
from trainer.errors import InvalidInput, TrainingFailed, UsageError
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE
from trainer.rundir import layout
from trainer.storage import as_refusal

if TYPE_CHECKING:
    from eval.model_source import ModelSource
    from eval.runner import Evaluation

LARGEST_STEP = 10**12


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    model = {"flag_values": values, "module_name": "What to evaluate"}
    flags.DEFINE_string("run_dir", None, "The run; off: runs/latest.", **model)
    flags.DEFINE_integer(
        "checkpoint", None, "Step; off: the last of a finished run.", **model
    )
    flags.DEFINE_string(
        "model",
        None,
        "A .tflite or SavedModel instead of a run. A SavedModel is a program that may "
        "read and write your files: open none that you would not run.",
        **model,
    )
    define_reading(values)
    out = {"flag_values": values, "module_name": "Report"}
    flags.DEFINE_string(
        "out_dir",
        None,
        "Off: the run's report/, or <model>.report/; test-time augmentation is added to"
        " that name.",
        **out,
    )
    flags.DEFINE_bool(
        "corruptions", False, "Also on corrupted images, 75 times as many.", **out
    )
    flags.DEFINE_integer(
        "corruption_sample", None, "Test images to corrupt; off: all.", **out
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **out)
    return values


def define_reading(values: flags.FlagValues) -> None:
    """Declares how model files and data are read, for every command that does."""
    where = {"flag_values": values, "module_name": "Model files and data"}
    flags.DEFINE_enum_class(
        "output",
        Output.AUTO,
        Output,
        "What a file's answers are; auto: probabilities if all are within 0..1 and"
        " every row adds up to 1, else logits.",
        **where,
    )
    spans = [span.value for span in InputRange]
    flags.DEFINE_enum(
        "input_range",
        None,
        spans,
        "What pixels 0 and 255 are to a file; off: what its metadata says, else 0:255;"
        " 8-bit integer inputs take the pixel.",
        **where,
    )
    flags.DEFINE_enum(
        "input_scaling",
        None,
        [scaling.value for scaling in InputScaling],
        "How an 8-bit input takes pixels: as they are, or in the scale of the file;"
        " off: what the file says.",
        **where,
    )
    define_kernels(values)
    _define_data(values)


def _define_data(values: flags.FlagValues) -> None:
    where = {"flag_values": values, "module_name": "Model files and data"}
    flags.DEFINE_string(
        "dataset", None, "TFDS data set; off: the model's own, else cifar10.", **where
    )
    flags.DEFINE_string("data_dir", None, "Where it is; off: where it was.", **where)
    flags.DEFINE_enum(
        "eval_tta",
        EvalTta.NONE.value,
        [member.value for member in EvalTta],
        "Test-time augmentation: answers averaged over 2 views of an image, or 6; no"
        " file does that by itself. All mirror: not for digits.",
        **where,
    )


def define_kernels(values: flags.FlagValues) -> None:
    """Declares which kernels a .tflite is run with, for every command that runs one."""
    flags.DEFINE_enum(
        "kernels",
        None,
        [kernels.value for kernels in Kernels],
        "LiteRT's for a .tflite: its default delegate (xnnpack), its own, or the"
        " reference, as on microcontrollers; they round differently; off: xnnpack.",
        flag_values=values,
        module_name="Model files and data",
    )


def check(values: flags.FlagValues) -> None:
    """Raises UsageError for flags that contradict each other or are out of range."""
    if values.model is not None:
        for name in ("run_dir", "checkpoint"):
            if values[name].value is not None:
                raise UsageError(
                    f"--{name}={values[name].value} and --model={values.model} name two"
                    " things to evaluate; give one"
                )
    elif values.output is not Output.AUTO or any(reading(values).values()):
        raise UsageError(
            "--output, --input_range, --input_scaling and --kernels are for"
            " --model=FILE only"
        )
    check_reading(values)
    step, sample = values.checkpoint, values.corruption_sample
    if step is not None and not 0 <= step < LARGEST_STEP:
        raise UsageError(f"--checkpoint={step} must be a step, 0 or more")
    if sample is not None and sample < 1:
        raise UsageError(f"--corruption_sample={sample} must be at least 1")
    if sample is not None and not values.corruptions:
        raise UsageError(f"--corruption_sample={sample} needs --corruptions")


def check_reading(values: flags.FlagValues) -> None:
    """Raises UsageError for two readings of one input."""
    if values.input_range is not None and values.input_scaling is not None:
        raise UsageError(
            f"--input_range={values.input_range} and"
            f" --input_scaling={values.input_scaling} both say how pixels are taken;"
            " give one"
        )


def reading(values: flags.FlagValues) -> dict[str, Any]:
    """How flags say that model files are to be read: arguments of `of_file`."""
    kinds = {"input_range": InputRange, "input_scaling": InputScaling}
    kinds["kernels"] = Kernels
    found = {
        k: kind(values[k].value) if values[k].value else None
        for k, kind in kinds.items()
    }
    found["span"], found["scaling"] = (
        found.pop("input_range"),
        found.pop("input_scaling"),
    )
    return found


def check_folder(path: pathlib.Path, names: Collection[str] = ()) -> None:
    """Raises UsageError unless a folder of files called `names` can be made there."""
    path = path.resolve()
    try:
        # Root may write where it cannot.
        storage.probe(path.parent, folders=False, appends=False)
    except OSError as error:
        what = f"the report cannot go to {path} (see --out_dir)"
        raise as_refusal(what, error, restart=False) from error
    atomic_folders.check(path, names, "the report")


def main(values: flags.FlagValues) -> None:
    """Evaluates, writes the report and prints where it is."""
    check(values)
    chosen, default = _subject(values)
    tta = EvalTta(values.eval_tta)
    if tta is not EvalTta.NONE:  # beside the report of what ships, not over it
        default = default.with_name(f"{default.name}_{tta.value}")
    out = default
    if values.out_dir is not None:
        out = parsing.parse_path("out_dir", values.out_dir)

    check_folder(out, report_files.NAMES)
    try:
        done = _evaluation(chosen, values, out)
        report = _document(done, values)
    except InvalidInput:
        raise
    except ValueError as error:
        raise TrainingFailed(f"{chosen.name}: {error}") from error
    with CONSOLE.phase("drawing and writing the report"):
        report_files.write(out, report_files.files_of(report, done))
    best = report["calibrated"] or report["scores"]
    low, high = report["scores"]["accuracy_interval"]
    print(
        f"{chosen.name}: {report['scores']['accuracy']:.2%} of"
        f" {report['scores']['images']:,} {report['data']['split']} images{tta.words}"
        f" (95 %: {low:.2%} to {high:.2%}),"
        f" NLL {best['nll']:.4f}, ECE {best['ece']:.2%},"
        f" {report['calibration']['state']}; {engine.words(report['engine'])}\n"
        f"{out / report_files.PAGE}"
    )


def start() -> None:
    """Imports TensorFlow and makes its devices, quietly."""
    with native_output.suppress_native_stderr():
        from trainer.distributed import strategy

        strategy.set_threads(None)
        strategy.connect(RunConfig())


def _subject(values: flags.FlagValues) -> tuple["ModelSource", pathlib.Path]:
    """What to evaluate, and where its report goes by default."""

    if values.model is None:
        run = layout.open_run(values.run_dir)
        chosen = model_source.from_run(run, values.checkpoint)
        start()
        return chosen, run.path / "report"
    path = parsing.parse_path("model", values.model)
    start()
    with native_output.suppress_native_stderr(f"opening {path}"):
        chosen = model_source.from_file(path, values.output, **reading(values))
    if path.absolute().name.isdecimal():  # a version among those that are served
        path = path.absolute()
        path = path.parent.with_name(f"{path.parent.name}_{path.name}")
    return chosen, path.with_name(path.name + ".report")


def builder(chosen: "ModelSource", values: flags.FlagValues):
    """The prepared data set that the flags name, or else the subject's own."""

    name = chosen.dataset if values.dataset is None else values.dataset
    if name is None:
        name = "cifar10"
        tell(
            [
                f"{chosen.name} does not say what it was trained on: it is asked about"
                f" {name} (--dataset names another)"
            ]
        )
    if not name:
        raise UsageError("--dataset= is empty; name a TFDS data set, e.g. cifar10")
    folder = chosen.data_dir if values.data_dir is None else values.data_dir
    return preparation.prepare(
        name, folder, say=lambda line: print(line, file=sys.stderr)
    )


def tell(remarks: list[str]) -> None:
    """Says on the terminal what must be known before the numbers."""
    for line in remarks:
        print(line, file=sys.stderr, flush=True)


def _evaluation(
    chosen: "ModelSource", values: flags.FlagValues, out: pathlib.Path
) -> "Evaluation":

    source = builder(chosen, values)
    split = runner.load_split(source, "test")
    predictor = runner.open_predictor(chosen, split, EvalTta(values.eval_tta))
    new = report_data.identity(chosen.facts, predictor, source.info.full_name)
    old = report_data.kept(out, chosen.facts)
    asked = values.out_dir is not None
    if said := atomic_folders.check_same(out, old, new, asked):
        tell([said])
    tell(runner.remarks(chosen, predictor, split, source.info.full_name))
    return runner.evaluate(chosen, predictor, split, source)


def _document(done: "Evaluation", values: flags.FlagValues) -> dict[str, Any]:

    rows = None
    if values.corruptions:
        rows = robustness.sample(len(done.split.labels), values.corruption_sample)
    with CONSOLE.phase("scoring"):
        found = environment.describe(system.threads())
        return report_data.build_report(done, rows, found)


def _model(argv: list[str]) -> list[str]:
    """What --model names, before anything is done; none if `argv` is wrong."""
    values = define(flags.FlagValues())
    with contextlib.suppress(UsageError):
        cli_command.parse(values, argv)
        return [values.model] if values.model else []
    return []


def command() -> NoReturn:
    """Does what the words of the command line say."""
    values = define(flags.FlagValues())
    cli_command.run(
        "eval.report",
        "Evaluates a run or a model file on its test split; writes a report.",
        values,
        lambda: main(values),
    )


def run() -> NoReturn:
    """Runs the command in a second process where a model file is foreign."""
    sandbox.supervised("eval.report", command, _model(sys.argv))


if __name__ == "__main__":
    run()
