"""Renders and writes the files of a report: page, charts, data, predictions."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from eval.metrics import classification
from eval.reports import abstention_report, examples, html
from eval.reports.charts import svg, training_curves
from eval.reports.output_folder import FIGURES, PREDICTIONS, REPORT_DATA, REPORT_PAGE
from eval.reports.pages import report_page
from eval.reports.pages.report_page import ReportArrays
from eval.robustness import corruptions
from eval.robustness.no_class_images import NoClassImages
from eval.runner import Evaluation
from trainer import errors, files

MISSING = Markup("<p>This chart could not be drawn.</p>")
SHOWN_SEVERITY = 3  # of the pictures of corruptions


def render_files(
    report: Mapping[str, Any],
    evaluation: Evaluation,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    no_class: Sequence[NoClassImages] = (),
) -> dict[str, bytes]:
    """Renders every file of a report by its name in the folder; report.json is last.

    A chart that cannot be drawn is left out, and `say` receives a message. `no_class`
    are the images that the report's part "abstention" is about.
    """
    split = evaluation.split
    arrays = ReportArrays(
        picture=lambda row: examples.data_uri(split.images[row]),
        risks=classification.risks(evaluation.calibrated, split.labels),
        curves=training_curves.load_curves(evaluation.source.run),
        corrupted=_corrupted(report, split.images),
        no_class=abstention_report.data_uris(report["abstention"], no_class),
    )
    content = render_page(report, arrays, say)
    content[PREDICTIONS] = evaluation.to_npz()
    content[REPORT_DATA] = files.json_bytes(report)
    return content


def render_page(
    report: Mapping[str, Any], arrays: ReportArrays, say: Callable[[str], None]
) -> dict[str, bytes]:
    """Renders the page and its charts, by file name."""
    content, shown = {}, {}
    for name, draw in report_page.draw_charts(report, arrays).items():
        made = errors.attempt_drawing(draw, f"the chart {name}", say)
        shown[name] = MISSING if made is None else made
        if made is not None:
            content[f"{FIGURES}/{name}.svg"] = svg.standalone(made, html.chart_style())
    content[REPORT_PAGE] = report_page.render(report, arrays, shown)
    return content


def _corrupted(report: Mapping[str, Any], images: np.ndarray) -> dict[str, str]:
    """An image with each corruption of the report, as data URIs."""
    if not report["robustness"]:
        return {}
    contrast = images[:64].astype(np.float32).std(axis=(1, 2, 3))
    image = images[int(contrast.argmax())][None]  # one that shows something
    return {
        name: examples.data_uri(corruptions.corrupt(image, name, SHOWN_SEVERITY)[0])
        for name in report["robustness"]["types"]
    }
