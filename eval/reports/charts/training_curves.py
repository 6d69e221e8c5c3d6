"""Reads the curves of a training from metrics.jsonl."""

import json
from collections.abc import Mapping

from trainer.config.enums import EvalTta
from trainer.rundir.layout import Run

PANELS = ("loss", "accuracy", "learning_rate")
NAMES = {"train": "training", "validation": "validation"}
_NO_POINT = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
# Curves of each panel: name -> (epochs, values).
Panels = dict[str, dict[str, tuple[list[float], list[float]]]]


def load_curves(run: Run | None) -> Panels:
    """Loads panels of training curves, by name and split; {} if there are none.

    Points lie at epochs, or at steps where a line has no epoch.
    """
    panels: Panels = {}
    if run is None or not run.metrics.is_file():
        return panels
    with open(run.metrics, "rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
                curve = _name(entry)
                place = float(entry.get("epoch", entry["step"]))
                points = {
                    k: float(v) for k in PANELS if (v := entry.get(k)) is not None
                }
            except _NO_POINT:
                continue  # the line is damaged or being written
            for name, value in points.items():
                panel = panels.setdefault(name, {})
                places, values = panel.setdefault(curve, ([], []))
                places.append(place)
                values.append(value)
    return panels


def _name(entry: Mapping) -> str:
    """Name of a curve: its split, and how it was measured."""
    split = entry["split"]
    if not isinstance(split, str):
        raise TypeError(split)
    return NAMES.get(split, split) + EvalTta(entry.get("eval_tta", "none")).words
