"""The head of a report: the verdict in two sentences, and the numbers that decide."""

from collections.abc import Mapping
from typing import Any

from eval.metrics.calibration import State
from eval.reports import html
from eval.reports.pages import wording
from eval.reports.pages.tile import Tile
from trainer.config.enums import EvalTta


def worst_class(scores: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The class with the lowest recall; None if there is no image."""
    tested = [row for row in scores["per_class"] if row["support"]]
    return min(tested, key=lambda row: row["recall"], default=None)


def verdict(report: Mapping[str, Any]) -> list[str]:
    """Sums the report up: a sentence on accuracy, and one on classes and confidence."""
    s, data = report["scores"], report["data"]
    best = report["calibrated"] or s
    how = EvalTta(report["eval_tta"]).words
    images = f"{s['images']:,} {data['split']} images of {data['dataset']}"
    first = (
        f"Right on {wording.percent(s['accuracy'])} of {images}{how}"
        f" (95 %: {wording.span(s['accuracy_interval'])})."
    )
    if s["imbalanced"]:
        first = (
            f"Finds {wording.percent(s['balanced_accuracy'])} of the images of a class"
            f" on average{how} (95 %: {wording.span(s['balanced_accuracy_interval'])}),"
            f" of {images}."
        )
    belief = wording.calibration_verdict(best)
    rest = f"{belief[0].upper()}{belief[1:]}."
    worst = worst_class(s)
    if worst is not None and s["correct"] == s["images"]:
        rest = f"There is no mistake. {rest}"
    elif worst is not None:
        name = html.class_name(worst["name"])
        rest = (
            f"Weakest on {name}, of which it finds {wording.percent(worst['recall'])}"
            f" ({wording.span(worst['recall_interval'], 0)}); {belief}."
        )
    return [first, rest]


def tiles(report: Mapping[str, Any]) -> list[Tile]:
    """Chooses the numbers that decide."""
    s, found = report["scores"], []
    if s["imbalanced"]:
        found += [
            _mean_tile(s, "balanced_accuracy", "Balanced accuracy", "mean recall"),
            _mean_tile(s, "macro_f1", "Macro F1", "mean F1"),
        ]
    found.append(
        Tile(
            "Accuracy",
            wording.percent(s["accuracy"], 2),
            f"95 %: {wording.span(s['accuracy_interval'])};"
            f" {s['correct']:,} of {s['images']:,} right",
            "mistakes",
        )
    )
    found += [*_class_tile(s), _calibration_tile(report), *_size_tiles(report)]
    if report["robustness"]:
        mean = report["robustness"]["mean"]
        ends = mean.get("accuracy_interval")
        detail = f"95 %: {wording.span(ends)}; " if ends else ""
        value = wording.percent(mean["accuracy"])
        detail += "mean of 15 kinds and 5 severities"
        found.append(Tile("On corrupted images", value, detail, "robustness"))
    return found


def _mean_tile(s: Mapping[str, Any], name: str, title: str, what: str) -> Tile:
    return Tile(
        title,
        wording.percent(s[name], 2),
        f"95 %: {wording.span(s[f'{name}_interval'])}; {what} of the classes",
        "classes",
    )


def _class_tile(s: Mapping[str, Any]) -> list[Tile]:
    worst = worst_class(s)
    if worst is None:
        return []
    hits = round(worst["recall"] * worst["support"])
    return [
        Tile(
            f"Weakest class: {html.class_name(worst['name'])}",
            wording.percent(worst["recall"]),
            f"95 %: {wording.span(worst['recall_interval'])};"
            f" {hits:,} of {worst['support']:,} found",
            "classes",
        )
    ]


def _calibration_tile(report: Mapping[str, Any]) -> Tile:
    best = report["calibrated"] or report["scores"]
    temperature = report["calibration"]["temperature"]
    how = "no temperature" if temperature is None else f"temperature {temperature:.2f}"
    if report["calibration"]["state"] == State.INSIDE.value:
        how = "temperature inside the file"
    return Tile(
        "Calibration error (ECE)",
        wording.percent(best["ece"]),
        f"{wording.calibration_verdict(best)}; {how}",
        "trust",
        warning=not wording.is_believable(best),
    )


def _size_tiles(report: Mapping[str, Any]) -> list[Tile]:
    """Tiles of parameters, files and training time, as far as they are known."""
    found, result = [], (report["run"] or {}).get("result") or {}
    if type(parameters := result.get("parameters")) is int:
        step = report["model"]["step"]
        found.append(
            Tile("Parameters", wording.count(parameters), f"weights of step {step:,}")
        )
    found += _file_tiles(report)
    secs, steps = result.get("train_seconds"), result.get("steps")
    if type(secs) in (int, float) and type(steps) is int:
        epochs = result.get("epochs")
        detail = f"{steps:,} steps"
        if type(epochs) in (int, float):
            detail += f", {epochs:.3g} epochs"
        found.append(Tile("Training time", wording.seconds(secs), detail, "training"))
    return found


def _file_tiles(report: Mapping[str, Any]) -> list[Tile]:
    model, sized = report["model"], [e for e in report["exports"] if e.get("bytes")]
    if model.get("bytes"):
        detail = wording.milliseconds(model.get("latency_ms"))
        detail += " per image, one thread"
        return [Tile("File", wording.size(model["bytes"]), detail)]
    if sized:
        least = min(sized, key=lambda row: row["bytes"])
        detail = least["file"]
        if least.get("latency_ms") is not None:
            detail += f", {wording.milliseconds(least['latency_ms'])} per image"
        return [Tile("Smallest file", wording.size(least["bytes"]), detail, "files")]
    if report["run"]:
        return [Tile("Exported file", "none yet", "see “Use this model”", "use")]
    return []
