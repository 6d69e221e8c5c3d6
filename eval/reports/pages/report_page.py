"""The page of a report: what each section shows, from report.json and some arrays."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from eval.reports import html
from eval.reports.charts import confusion_map, figures, svg
from eval.reports.charts.training_curves import Panels
from eval.reports.pages import headline, report_notes, snippets, wording
from eval.robustness import corruptions
from trainer.config.enums import EvalTta

MOST_CLASSES = 100  # rows of the table of classes
MOST_NUMBERS = 20  # classes whose confusions are a table of numbers
GROUPS = {"noise": 3, "blur": 4, "weather": 4, "digital": 4}  # of the 15 corruptions
PANELS = {"loss": "loss", "accuracy": "accuracy", "learning_rate": "learning rate"}


@dataclasses.dataclass(frozen=True)
class ReportArrays:
    """What the page shows beside report.json.

    Attributes:
        picture: data URI of a test image, by row.
        risks: of `classification.risks`.
        curves: of the training.
        corrupted: data URI of an image with each corruption, by its name.
        no_class: data URIs of images of no class, by set and index.
    """

    picture: Callable[[int], str]
    risks: np.ndarray
    curves: Panels
    corrupted: Mapping[str, str]
    no_class: Mapping[str, Mapping[int, str]] = dataclasses.field(default_factory=dict)


def draw_charts(
    report: Mapping[str, Any], arrays: ReportArrays
) -> dict[str, Callable[[], Markup]]:
    """Names the charts of the page, with functions that draw them."""
    best = report["calibrated"] or report["scores"]
    names = report["data"]["classes"]
    drawn = {
        "reliability": lambda: figures.reliability(best["reliability"]),
        "coverage": lambda: figures.coverage(arrays.risks),
    }
    if len(names) > MOST_NUMBERS:
        matrix = np.array(report["scores"]["confusion"])
        drawn["confusion"] = lambda: confusion_map.confusion_map(matrix, names)
    if abstention := report.get("abstention"):
        drawn["abstention"] = lambda: figures.abstention(abstention)
    for panel, title in PANELS.items():
        if found := arrays.curves.get(panel):
            drawn[panel] = _curve(found, title)
    return drawn


def _curve(found: Mapping[str, Any], title: str) -> Callable[[], Markup]:
    return lambda: figures.curves(found, title)


def render(
    report: Mapping[str, Any], arrays: ReportArrays, charts: Mapping[str, Markup]
) -> bytes:
    """Renders the page; `charts` are those of `draw_charts`."""
    scores = report["scores"]
    best = report["calibrated"] or scores
    shown = gallery(report)
    classes = class_rows(scores["per_class"])
    return html.render(
        "report.html.j2",
        report=report,
        s=scores,
        c=report["calibrated"],
        best=best,
        names=report["data"]["classes"],
        tta=EvalTta(report["eval_tta"]),
        verdict=headline.verdict(report),
        tiles=headline.tiles(report),
        notes=report_notes.list_notes(report),
        meaning=wording.calibration_meaning(best),
        gallery=shown,
        pictures={row: arrays.picture(row) for row in picture_rows(report)},
        no_class=arrays.no_class,
        classes=classes,
        axis=class_axis(classes),
        matrix=confusion_cells(scores["confusion"]),
        charts=charts,
        panels=list(PANELS),
        corrupted=arrays.corrupted,
        robustness=robustness_rows(report["robustness"]),
        usage=snippets.list_snippets(report),
        evaluated=report_notes.list_facts(report),
    )


def picture_rows(report: Mapping[str, Any]) -> list[int]:
    """The rows of all test images that the page shows."""
    refused = (report.get("abstention") or {}).get("refused", {})
    kinds = [*report["gallery"].values(), *refused.values()]
    return sorted({entry["row"] for kind in kinds for entry in kind})


def gallery(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Merges the lists of `gallery`: each image once, with the lists that it is in."""
    entries: dict[int, dict[str, Any]] = {}
    for kind, rows in report["gallery"].items():
        for entry in rows:
            kept = entries.setdefault(entry["row"], dict(entry) | {"kinds": []})
            kept["kinds"].append(kind)
    wrong = [e for e in entries.values() if e["prediction"] != e["label"]]
    right = [e for e in entries.values() if e["prediction"] == e["label"]]
    return sorted(wrong, key=lambda e: -e["confidence"]) + right


def class_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Selects at most MOST_CLASSES tested classes, the lowest recall first."""
    numbered = [row | {"id": number} for number, row in enumerate(rows)]
    tested = [row for row in numbered if row["support"]]
    return sorted(tested, key=lambda row: (row["recall"], row["f1"]))[:MOST_CLASSES]


def class_axis(rows: Sequence[Mapping[str, Any]]) -> svg.Axis:
    """The axis of recall and precision, zoomed to their intervals."""
    ends = [e for row in rows for k in ("recall", "precision")
            for e in (*row[f"{k}_interval"], row[k])]  # fmt: skip
    lows = [row[f"{k}_interval"][0] for row in rows for k in ("recall", "precision")]
    least = min(lows, default=0.0)
    return svg.fit_axis(
        ends, "", svg.percent, limits=(0.0, 1.0), ends=(None if least else 0.0, 1.0)
    )


def confusion_cells(matrix: Sequence[Sequence[int]]) -> list[list[dict[str, int]]]:
    """Count and shade of each cell; no cell if there are too many classes."""
    if len(matrix) > MOST_NUMBERS:
        return []
    most = max(
        (n for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j),
        default=0,
    )
    return [
        [
            {"count": n, "shade": 0 if i == j else confusion_map.shade(n, most)}
            for j, n in enumerate(row)
        ]
        for i, row in enumerate(matrix)
    ]


def robustness_rows(found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A row for each corruption: its group, its severities and their mean."""
    if found is None:
        return []
    kinds = [kind for kind, size in GROUPS.items() for _ in range(size)]
    groups = dict(zip(corruptions.TYPES, kinds, strict=False))
    return [
        {
            "name": name,
            "group": groups.get(name, ""),
            "rows": rows,
            "mean": found["type_means"][name],
        }
        for name, rows in found["types"].items()
    ]
