"""Comparison of models on the same test images: comparison.json and its page."""

import dataclasses
import datetime
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eval import model_source, runner
from eval.formats import atomic_folders
from eval.metrics import classification, significance
from eval.model_source import ModelSource
from eval.reports import examples, exported_files, output_folder, report_data
from eval.reports.charts import training_curves
from eval.reports.charts.training_curves import Panels
from eval.reports.output_folder import COMPARISON_DATA, COMPARISON_PAGE
from eval.reports.pages import comparison_page
from eval.reports.requests import ComparisonRequest
from trainer import errors, files
from trainer.config import serialization
from trainer.config.enums import EvalTta
from trainer.data.split import DataSource, Split
from trainer.errors import InvalidInput
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE
from trainer.rundir.layout import Run

VERSION = 1
EXAMPLES = 24  # disagreements shown for each pair
_RESULT = ("parameters", "train_seconds")  # of result.json
_NAMES = ("accuracy", "accuracy_interval", "nll", "brier", "ece", "ties")


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """Probabilities of one model, after its temperature if it has one."""

    source: ModelSource
    split: Split
    dataset: str
    state: str
    tta: EvalTta
    engine: dict[str, Any]
    remarks: list[str]
    probabilities: np.ndarray
    min_probability: float

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is right: bool [N]."""
        return classification.correct(self.probabilities, self.split.labels)

    @property
    def losses(self) -> np.ndarray:
        """Negative log-likelihood of each label in nats: float64 [N]."""
        own = self.probabilities[np.arange(len(self.split.labels)), self.split.labels]
        return -np.log(np.maximum(own, self.min_probability))


def write_comparison(
    request: ComparisonRequest, say: Callable[[str], object] = runner.print_line
) -> dict[str, Any]:
    """Compares the models of `request`, writes the files, returns comparison.json.

    `say` is called with each line that must be known before the numbers.

    Raises:
        InvalidInput: a model, the data or the folder cannot be used.
        TrainingFailed: a model cannot be run, or its outputs are no numbers.
    """
    runner.start_devices()
    sources = _open_sources(request)
    _check_same(request, sources, say)
    options = request.options
    with errors.failing_on_value_errors():
        data, split = runner.open_evaluation(sources, options.images, options.data, say)
        results = evaluate_all(sources, split, data, options.eval_tta, say)
        with CONSOLE.phase("comparing"):
            found = build_comparison(results)
    curves = [training_curves.load_curves(source.run) for source in sources]
    output_folder.write_folder(request.out_dir, render_files(found, split, curves))
    return found


def _open_sources(request: ComparisonRequest) -> list[ModelSource]:
    file = request.options.file
    with native_output.suppress_native_stderr("opening the models"):
        sources = [model_source.from_path(name, file) for name in request.models]
    if file.kernels and all(one.facts["kind"] != "tflite" for one in sources):
        raise InvalidInput(
            f"kernels={file.kernels.value} is for .tflite files, and none is compared"
        )
    return model_source.rename_apart(sources)


def _check_same(
    request: ComparisonRequest,
    sources: Sequence[ModelSource],
    say: Callable[[str], object],
) -> None:
    """Refuses to replace a comparison of other models, or announces it."""
    paths = [source.facts["path"] for source in sources]
    new = {"models": paths, "eval_tta": request.options.eval_tta.value}
    replaced = atomic_folders.check_same_content(
        request.out_dir,
        load_identity(request.out_dir),
        new,
        may_replace=request.given_dir is None,
    )
    if replaced:
        say(replaced)


def evaluate_all(
    sources: Sequence[ModelSource],
    split: Split,
    data: DataSource,
    tta: EvalTta = EvalTta.NONE,
    say: Callable[[str], object] = runner.print_line,
) -> list[ModelResult]:
    """Evaluates each model on `split`, which `data` has, in the same way.

    All are opened before the first is evaluated, so that one which does not fit is
    found before anything is written.
    """
    predictors = [runner.open_predictor(source, split, tta) for source in sources]
    for source, predictor in zip(sources, predictors, strict=True):
        for line in runner.remarks(source, predictor, split, data.name):
            say(line)
    return [
        _to_result(runner.evaluate(source, predictor, split, data))
        for source, predictor in zip(sources, predictors, strict=True)
    ]


def _to_result(done: runner.Evaluation) -> ModelResult:
    return ModelResult(
        source=done.source,
        split=done.split,
        dataset=done.dataset,
        state=done.calibration.state.value,
        tta=done.predictor.tta,
        engine=dict(done.predictor.model.engine),
        remarks=done.remarks,
        probabilities=done.calibrated,
        min_probability=done.min_probability,
    )


def build_comparison(entries: Sequence[ModelResult]) -> dict[str, Any]:
    """Compares all `entries` with the first: comparison.json."""
    first, split = entries[0], entries[0].split
    runs = [entry.source.run for entry in entries]
    return {
        "version": VERSION,
        "created": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "data": {
            "dataset": first.dataset,
            "split": split.split,
            "kind": report_data.kind_of(split),
            "images": len(split.labels),
            "classes": list(split.names),
            "sha256": split.sha256,
        },
        "models": [_row(entry) for entry in entries],
        "pairs": [_pair(first, entry) for entry in entries[1:]],
        "config_fields": config_fields(runs),
    }


def config_fields(runs: Sequence[Run | None]) -> dict[str, list[Any]]:
    """The fields in which the configs of `runs` differ, with the value of each.

    A file, which is None among `runs`, has None. {} unless there are two runs.
    """
    configs = [serialization.flatten(r.config().to_json()) if r else None for r in runs]
    known = [config for config in configs if config is not None]
    names = sorted({name for config in known for name in config})
    return {
        name: [None if config is None else config.get(name) for config in configs]
        for name in names
        if any(config.get(name) != known[0].get(name) for config in known)
    }


def _row(entry: ModelResult) -> dict[str, Any]:
    given, labels = entry.probabilities, entry.split.labels
    right = entry.right
    values = (
        float(right.mean()),
        classification.interval(int(right.sum()), len(right)),
        classification.nll(given, labels, entry.min_probability),
        classification.brier(given, labels),
        classification.ece(classification.reliability(given, labels)),
        classification.ties(given),
    )
    named = dict(zip(_NAMES, values, strict=True))
    how = {
        "calibration": entry.state,
        "eval_tta": entry.tta.value,
        "engine": entry.engine,
        "remarks": entry.remarks,
    }
    return entry.source.facts | how | named | _size_and_speed(entry)


def _size_and_speed(entry: ModelResult) -> dict[str, Any]:
    """Parameters and training time of a run, bytes and latency of a `.tflite`."""
    facts, run = entry.source.facts, entry.source.run
    result = (run.result() if run else None) or {}
    known = {name: result.get(name) for name in _RESULT}
    found = {k: v if type(v) in (int, float) else None for k, v in known.items()}
    sized = exported_files.measure_file(facts, entry.engine)
    return found | {"bytes": None, "latency_ms": None} | sized


def _pair(first: ModelResult, second: ModelResult) -> dict[str, Any]:
    one, two = (classification.predictions(e.probabilities) for e in (first, second))
    return {
        "first": first.source.name,
        "second": second.source.name,
        "accuracy": significance.paired_bootstrap(first.right, second.right),
        "nll": significance.paired_bootstrap(first.losses, second.losses),
        "mcnemar": significance.mcnemar(first.right, second.right),
        "both_right": int((first.right & second.right).sum()),
        "both_wrong": int((~first.right & ~second.right).sum()),
        "disagreements": int((one != two).sum()),
        "examples": _examples(first, second, one, two),
        "config_differences": _config_differences(first, second),
    }


def _examples(
    first: ModelResult, second: ModelResult, one: np.ndarray, two: np.ndarray
) -> list[dict[str, Any]]:
    """Lists images on which two models disagree, the most confident first."""
    rows = np.flatnonzero(one != two)
    sure = np.minimum(first.probabilities.max(axis=1), second.probabilities.max(axis=1))
    rows = rows[np.argsort(-sure[rows], kind="stable")][:EXAMPLES]
    split = first.split
    return [
        {
            "row": int(row),
            "id": split.ids[row],
            "label": int(split.labels[row]),
            "first": int(one[row]),
            "second": int(two[row]),
            "first_confidence": float(first.probabilities[row].max()),
            "second_confidence": float(second.probabilities[row].max()),
        }
        for row in rows
    ]


def _config_differences(first: ModelResult, second: ModelResult) -> list[str] | None:
    """Lists the fields in which the configs of two runs differ; None for files."""
    runs = [entry.source.run for entry in (first, second)]
    if None in runs:
        return None
    first_config, second_config = (run.config().to_json() for run in runs)
    return serialization.differences(first_config, second_config)


def render_files(
    found: dict[str, Any], split: Split, curves: Sequence[Panels] = ()
) -> dict[str, bytes]:
    """Renders the comparison's files by name; comparison.json is last.

    `curves` are those of each model's training.
    """
    page = comparison_page.render(
        found, lambda row: examples.data_uri(split.images[row]), curves
    )
    return {COMPARISON_PAGE: page, COMPARISON_DATA: files.json_bytes(found)}


def load_identity(folder: pathlib.Path) -> dict[str, Any]:
    """Loads the paths of the models in the comparison in `folder`; {} if none."""
    try:
        found = files.read_json(folder / COMPARISON_DATA)
        models = found["groups"] if "groups" in found else found["models"]
        paths = [model["path"] for model in models]
        return {"models": paths, "eval_tta": models[0]["eval_tta"]}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}


def summary_lines(found: dict[str, Any]) -> list[str]:
    """Formats the comparison as lines for a terminal."""
    width = max(len(model["name"]) for model in found["models"])
    text = [
        f"{model['name']:{width}}  accuracy {model['accuracy']:.2%}"
        f"{EvalTta(model['eval_tta']).words}"
        f" ({model['accuracy_interval'][0]:.2%} to {model['accuracy_interval'][1]:.2%})"
        f"  NLL {model['nll']:.4f}  ECE {model['ece']:.2%}"
        for model in found["models"]
    ]
    for pair in found["pairs"]:
        low, high = pair["accuracy"]["interval"]
        text.append(
            f"{pair['second']} - {pair['first']}:"
            f" {100 * pair['accuracy']['difference']:+.2f} points of accuracy"
            f" (95 %: {100 * low:+.2f} to {100 * high:+.2f}),"
            f" McNemar's p = {pair['mcnemar']['p_value']:.2g},"
            f" {pair['disagreements']:,} different predictions"
        )
    return text
