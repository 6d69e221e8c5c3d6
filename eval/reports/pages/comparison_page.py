"""The page of a comparison, from comparison.json, pictures and training curves."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from eval.reports import html
from eval.reports.charts import figures, svg
from eval.reports.charts.training_curves import Panels
from eval.reports.pages import wording

CHARTS = (  # split and measure
    ("validation", "accuracy"),
    ("validation", "loss"),
    ("training", "loss"),
)


def render(
    found: Mapping[str, Any],
    picture: Callable[[int], str],
    curves: Sequence[Panels] = (),
) -> bytes:
    """Renders the page.

    Args:
        found: comparison.json.
        picture: gives the data URI of a test image by its row.
        curves: of each model's training, {} for a file.
    """
    rows = {entry["row"] for pair in found["pairs"] for entry in pair["examples"]}
    return html.render(
        "comparison.html.j2",
        found=found,
        verdict=verdict(found),
        axis=accuracy_axis(found["models"]),
        images={row: picture(row) for row in sorted(rows)},
        charts=draw_curves([model["name"] for model in found["models"]], curves),
        fields=found.get("config_fields", {}),
        said=[describe_pair(pair) for pair in found["pairs"]],
        style_of=svg.style,
    )


def accuracy_axis(models: Sequence[Mapping[str, Any]]) -> svg.Axis:
    """An axis zoomed to the intervals of all models."""
    ends = [end for model in models for end in model["accuracy_interval"]]
    return svg.fit_axis(ends, "", svg.percent, limits=(0.0, 1.0))


def verdict(found: Mapping[str, Any]) -> list[str]:
    """Sums the comparison up in one or two sentences."""
    models, pairs = found["models"], found["pairs"]
    if len(pairs) == 1:
        return [describe_pair(pairs[0])]
    best = max(models, key=lambda model: model["accuracy"])
    first = (
        f"{best['name']} is the most accurate of {len(models)}:"
        f" {wording.percent(best['accuracy'], 2)}"
        f" (95 %: {wording.span(best['accuracy_interval'])})."
    )
    sure = [pair["second"] for pair in pairs if pair["accuracy"]["interval"][0] > 0]
    worse = [pair["second"] for pair in pairs if pair["accuracy"]["interval"][1] < 0]
    parts = []
    if sure:
        parts.append(f"better than {pairs[0]['first']}: {', '.join(sure)}")
    if worse:
        parts.append(f"worse than {pairs[0]['first']}: {', '.join(worse)}")
    rest = "; ".join(parts) or f"no difference from {pairs[0]['first']} is shown"
    return [first, f"{rest[0].upper()}{rest[1:]}."]


def describe_pair(pair: Mapping[str, Any]) -> str:
    """Says whether the second model of a pair is better, and by how much."""
    gap, ends = pair["accuracy"]["difference"], pair["accuracy"]["interval"]
    low, high = (f"{100 * end:+.2f}" for end in ends)
    amount = f"{abs(100 * gap):.2f} points of accuracy (95 %: {low} to {high})"
    if ends[0] > 0:
        return f"{pair['second']} is better than {pair['first']} by {amount}."
    if ends[1] < 0:
        return f"{pair['second']} is worse than {pair['first']} by {amount}."
    return (
        f"No difference in accuracy between {pair['second']} and {pair['first']} is"
        f" shown: {100 * gap:+.2f} points (95 %: {low} to {high})."
    )


def draw_curves(names: Sequence[str], curves: Sequence[Panels]) -> list[Markup]:
    """Draws a chart for each of CHARTS, with a curve for each model."""
    drawn = []
    for split, panel in CHARTS:
        lines = {
            name: _find(found, panel, split)
            for name, found in zip(names, curves, strict=False)
        }
        if any(xs for xs, _ in lines.values()):
            title = f"{split} {panel}"
            label = f"{title} of each model over epochs"
            drawn.append(figures.curves(lines, title, label=label, legend=False))
    return drawn


def _find(panels: Panels, panel: str, split: str) -> figures.Curve:
    """The curve of a split, also one with test-time augmentation; empty if none."""
    for name, curve in panels.get(panel, {}).items():
        if name.startswith(split):
            return curve
    return [], []
