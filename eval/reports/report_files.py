"""Renders and writes the files of a report: page, figures, data, predictions."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from eval.abstention import abstention_report
from eval.abstention.no_class_images import NoClassImages
from eval.metrics import classification
from eval.predictors import engine
from eval.reports import examples, html, plots, report_data
from eval.reports.output_folder import FIGURES, PREDICTIONS, REPORT_DATA, REPORT_PAGE
from eval.runner import Evaluation
from trainer import files
from trainer.config.enums import EvalTta
from trainer.config.serialization import misfit
from trainer.models import evaluator
from trainer.monitoring import pictures

MAX_CLASSES = 50  # classes with their own row and bars
MISSING = Markup("<p>This picture could not be drawn.</p>")


def render_files(
    report: Mapping[str, Any],
    evaluation: Evaluation,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    no_class: Sequence[NoClassImages] = (),
) -> dict[str, bytes]:
    """Renders every file of a report by its name in the folder; report.json is last.

    A figure that cannot be drawn is left out, and `say` receives a message. `no_class`
    are the images that the report's part "abstention" is about.
    """
    names = report["data"]["classes"]
    content, shown = {}, {}
    with plots.drawing_style(names):
        for name, (draw, text) in _figures(report, evaluation).items():
            made = pictures.attempt(
                functools.partial(_draw, draw, text), f"the picture {name}", say
            )
            shown[name] = MISSING if made is None else made[0]
            if made is not None:
                content[f"{FIGURES}/{name}.png"] = made[1]
    content[PREDICTIONS] = evaluation.to_npz()
    content[REPORT_PAGE] = html.render(
        "report.html.j2",
        report=report,
        pictures=shown,
        images=_image_uris(report, evaluation),
        no_class=abstention_report.data_uris(report["abstention"], no_class),
        notes=_notes(report),
        tta=EvalTta(report["eval_tta"]),
        how=_probability_kind(report),
        evaluated=_facts(report),
        classes=_shown_classes(report["scores"]["per_class"]),
        unnamed=pictures.lettering(names).unnamed,
    )
    content[REPORT_DATA] = files.json_bytes(report)
    return content


def _draw(draw: Callable[[], Figure], text: str) -> tuple[Markup, bytes]:
    """Draws a figure as inline SVG with the description `text`, and as PNG."""
    figure = draw()
    plots.fix_layout(figure)
    png = plots.png(figure)
    return Markup(plots.svg(figure, text)), png


def _shown_classes(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Selects at most MAX_CLASSES rows, those with the lowest F1, and adds "id"."""
    numbered = [row | {"id": number} for number, row in enumerate(rows)]
    if len(rows) <= MAX_CLASSES:
        return numbered
    tested = [row for row in numbered if row["support"]]
    return sorted(tested, key=lambda row: row["f1"])[:MAX_CLASSES]


def _figures(
    report: Mapping[str, Any], evaluation: Evaluation
) -> dict[str, tuple[Callable[[], Figure], str]]:
    """Collects the function that draws each figure, and its description."""
    found, names = report["scores"], report["data"]["classes"]
    tables = {_probability_kind(report): found["reliability"]}
    if report["calibrated"]:
        tables["calibrated"] = report["calibrated"]["reliability"]
    risks = classification.risks(evaluation.calibrated, evaluation.split.labels)
    rows, letters = _shown_classes(found["per_class"]), pictures.lettering(names)
    labels = [letters.labels[row["id"]] for row in rows]
    figures = {
        "per_class": (
            functools.partial(plots.per_class, rows, labels),
            "Recall and precision of each class with intervals",
        ),
        "confusion": (
            functools.partial(plots.confusion, found["confusion"], names),
            "Confusion matrix, labels down and predictions across",
        ),
        "reliability": (
            functools.partial(plots.reliability, tables),
            "Accuracy against confidence, and a histogram of confidence",
        ),
        "risk_coverage": (
            functools.partial(plots.risk_coverage, risks),
            "Error rate against the share of images answered",
        ),
    }
    if report["robustness"]:
        types = {
            name: [row["accuracy"] for row in rows]
            for name, rows in report["robustness"]["types"].items()
        }
        draw = functools.partial(plots.robustness, types, found["accuracy"])
        figures["robustness"] = (draw, "Accuracy by corruption and severity")
    if curves := report_data.training_curves(evaluation.source.run):
        draw = functools.partial(plots.curves, curves)
        figures["curves"] = (draw, "Training curves over steps")
    return figures


def _probability_kind(report: Mapping[str, Any]) -> str:
    return EvalTta(report["eval_tta"]).words.strip() or "as the model answers"


def _image_uris(report: Mapping[str, Any], evaluation: Evaluation) -> dict[int, str]:
    refused = (report["abstention"] or {}).get("refused", {})
    kinds = [*report["gallery"].values(), *refused.values()]
    rows = {entry["row"] for kind in kinds for entry in kind}
    return {row: examples.data_uri(evaluation.split.images[row]) for row in rows}


def _notes(report: Mapping[str, Any]) -> list[str]:
    """Collects notes that a reader needs before the numbers."""
    tta, notes = EvalTta(report["eval_tta"]), []
    if tta is not EvalTta.NONE:
        notes.append(
            f"Every score here is{tta.words}: a mean over {evaluator.count_views(tta)} "
            "views of each image. Exported files do not do that by themselves; their "
            "scores are those of a report without it."
        )
    notes += [f"{line}." for line in report["remarks"]]
    notes += _training_note(report, tta)
    if report["calibration"]["state"] == "uncalibrated":
        notes.append(report["calibration"]["why"])
    return notes


def _training_note(report: Mapping[str, Any], tta: EvalTta) -> list[str]:
    """Notes the test accuracy that the training recorded, if it differs."""
    result = (report["run"] or {}).get("result") or {}
    same_step = result.get("steps") == report["model"]["step"]
    if not (same_step and report["data"]["same_as_trained"]):
        return []
    kinds = [member.value for member in EvalTta]
    if misfit(result, {"test_accuracy": float}) or (
        result.get("eval_tta", EvalTta.NONE.value) not in kinds
    ):
        return []  # the result is damaged
    noted = EvalTta(result.get("eval_tta", EvalTta.NONE.value))
    known = f"The training recorded {result['test_accuracy']:.2%}{noted.words}"
    if noted is not tta:
        plain = "" if noted.words else " without test-time augmentation"
        return [f"{known}{plain} on these images."]
    if result["test_accuracy"] != report["scores"]["accuracy"]:
        return [
            f"{known} on these images: another machine or version rounds differently."
        ]
    return []


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, data = report["model"], report["data"]
    rule = (
        "as given, or as its last operator or manifest says"
        if model["output_was_given"]
        else "found by looking at every output"
    )
    outputs = None if model["kind"] == "checkpoint" else f"{model['output']} ({rule})"
    trained = data["trained_on"] or {}
    rows = [
        ("model", model["path"]),
        ("model SHA-256", model["sha256"]),
        ("step", model["step"]),
        ("outputs", outputs),
        ("computed by", engine.format_engine(report["engine"])),
        ("test-time augmentation", report["eval_tta"]),
        ("data", f"{data['dataset']}, {data['split']}: {data['images']:,} images"),
        ("data SHA-256", data["sha256"]),
        *((f"trained with ({k}) SHA-256", v) for k, v in trained.items()),
        ("calibration", report["calibration"]["why"]),
    ]
    return [(name, str(value)) for name, value in rows if value is not None]
