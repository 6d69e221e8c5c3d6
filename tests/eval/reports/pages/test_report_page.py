"""The page of a report says what its numbers are, for two classes or a thousand."""

import html.parser
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from eval.reports import html as reports_html
from eval.reports import report_files
from eval.reports.charts import figures
from eval.reports.pages import headline, report_page, snippets, wording
from tests.support import report_pages


def render(report, arrays, said=None):
    said = [] if said is None else said
    return report_files.render_page(report, arrays, said.append)


def page_of(*words, **options) -> str:
    return render(*report_pages.make_report(*words, **options))["report.html"].decode()


class Whole(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects ids and links."""

    EMPTY = {"meta", "img", "br", "link", "input"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.ids, self.links = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.ids += [known["id"]] if "id" in known else []
        self.links += [known["href"][1:]] if "href" in known else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


@pytest.mark.parametrize(("classes", "images"), [(2, 60), (10, 400), (101, 2000)])
def test_the_page_is_whole_and_small(classes, images):
    page = page_of(classes, images)
    found = Whole(page)
    assert set(found.links) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert len(page) < 1_500_000
    assert "something that a reader must know." in page
    assert "nan" not in re.sub(r"data:[^\"]*", "", page).lower().split()


def test_a_thousand_classes_stay_a_small_page():
    page = page_of(1100, 3000, robustness=None)
    assert len(page) < 2_500_000
    assert "with the lowest recall are shown" in page


def test_every_accuracy_has_an_interval():
    report, arrays = report_pages.make_report()
    for tile in headline.tiles(report):
        if "%" in tile.value and "ECE" not in tile.label:
            assert tile.detail.startswith("95 %: "), tile
    verdict = headline.verdict(report)[0]
    low, high = report["scores"]["accuracy_interval"]
    assert f"(95 %: {100 * low:.1f} to {100 * high:.1f}\u202f%)" in verdict
    for row in report["robustness"]["types"]["fog"]:
        ends = row["accuracy_interval"]
        assert ends[0] <= row["accuracy"] <= ends[1]


def test_the_diagonal_and_zeros_have_no_colour():
    cells = report_page.confusion_cells([[5, 0, 2], [0, 9, 0], [1, 0, 0]])
    shades = [[cell["shade"] for cell in row] for row in cells]
    assert shades[1] == [0, 0, 0] and shades[0][0] == shades[2][2] == 0
    assert shades[0][2] > shades[2][0] > 0


def test_an_image_in_several_lists_is_one_picture():
    report, _ = report_pages.make_report()
    merged = report_page.gallery(report)
    rows = [entry["row"] for entry in merged]
    assert len(rows) == len(set(rows))
    kinds = {entry["row"]: entry["kinds"] for entry in merged}
    for entry in report["gallery"]["label_errors"]:
        assert "label_errors" in kinds[entry["row"]]
    wrong = [e["confidence"] for e in merged if e["label"] != e["prediction"]]
    assert wrong == sorted(wrong, reverse=True)


def test_the_axis_of_classes_is_zoomed():
    report, _ = report_pages.make_report(skill=9.0)
    rows = report_page.class_rows(report["scores"]["per_class"])
    axis = report_page.class_axis(rows)
    assert 0 < axis.low <= min(row["recall_interval"][0] for row in rows)
    assert axis.high == 1 and len(axis.ticks) >= 3
    recalls = [row["recall"] for row in rows]
    assert recalls == sorted(recalls)


def test_a_model_without_mistakes():
    page = page_of(3, 200, skill=60.0)
    assert "There is no mistake." in page and "100.00\u202f%" in page


def test_a_chart_that_cannot_be_drawn_is_said(monkeypatch):
    def fail(*_, **__):
        raise ValueError("no ink")

    monkeypatch.setattr("eval.reports.charts.figures.reliability", fail)
    said = []
    files = render(*report_pages.make_report(), said)
    assert said == ["the chart reliability could not be drawn: ValueError: no ink"]
    assert "figures/reliability.svg" not in files
    assert b"This chart could not be drawn" in files["report.html"]


def test_charts_stand_alone():
    files = render(*report_pages.make_report(25, 500))
    names = {name for name in files if name.startswith("figures/")}
    kinds = (
        "reliability",
        "coverage",
        "confusion",
        "abstention",
        "loss",
        "accuracy",
        "learning_rate",
    )
    assert names == {f"figures/{kind}.svg" for kind in kinds}
    for name in names:
        text = files[name].decode()
        assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg" ')
        assert "<style>:root" in text and "@media" not in text


def test_what_calibration_means():
    def scores(confidence, accuracy, count=1000):
        row = {"count": count, "confidence": confidence, "accuracy": accuracy}
        return {"ece": abs(confidence - accuracy), "reliability": [row]}

    sure = scores(0.95, 0.80) | {"ece_by_chance": 0.01}
    assert wording.calibration_verdict(sure) == "it is too sure of itself"
    said = wording.calibration_meaning(sure)
    assert "15.0 points apart" in said and "rather 75\u202f% are right" in said
    modest = scores(0.7, 0.9)
    assert wording.calibration_verdict(modest) == "it is less sure than it could be"
    few = scores(0.90, 0.85, 20) | {"ece_by_chance": 0.05}
    assert wording.is_believable(few)


def test_numbers_as_people_read_them():
    assert wording.percent(0.87314, 2) == "87.31\u202f%"
    assert wording.percent(None) == reports_html.format_number(None) == "–"
    assert wording.span([0.1, 0.25]) == "10.0 to 25.0\u202f%"
    assert reports_html.format_number(1234.5, 1) == "1,234.5"
    nested = {"a": {"b": [1, 2]}, "c": None}
    assert reports_html.table_rows(nested) == [("a.b", "1, 2"), ("c", "–")]
    assert (
        wording.size(158_400) == "158\u202fkB" and wording.size(12) == "12\u202fbytes"
    )
    assert wording.milliseconds(0.061) == "0.061\u202fms"
    assert wording.seconds(75) == "1\u202fmin 15\u202fs"
    assert wording.count(25_557_032) == "25.6 million"


def test_snippets_name_the_run_and_the_smallest_file():
    report, _ = report_pages.make_report()
    code = {one.title: one.code for one in snippets.list_snippets(report)}
    assert "--run_dir=runs/tiny" in code["Classify image files"]
    assert 'trainer.load("runs/tiny")' in code["In Python"]
    device = code["On a device, with LiteRT alone"]
    assert '"runs/tiny/export/model_int8.tflite"' in device
    compile(device, "snippet", "exec")
    file = report | {
        "model": report["model"] | {"kind": "tflite", "path": "a b.tflite"}
    }
    assert "'--model=a b.tflite'" in snippets.list_snippets(file)[0].code


def test_likeliest_classes_are_json_in_an_attribute():
    found = [{"class": 1, "probability": 0.75}, {"class": 0, "probability": 0.25}]
    text = reports_html.format_likeliest(found, ['a"b', "<c>"])
    assert json.loads(text) == [["<c>", 0.75], ['a"b', 0.25]]


def test_the_same_report_has_the_same_bytes():
    assert page_of(2, 60) == page_of(2, 60)


def test_charts_of_odd_values():
    curve = {"training": ([0.0], [float("inf")]), "x" * 99: ([1.0, 2.0], [3.0, 3.0])}
    assert "<svg" in figures.curves(curve, "loss")
    assert "<svg" in figures.coverage(np.zeros(1))


def test_a_curve_of_a_million_points_stays_small():
    long = list(range(1_000_000))
    assert len(figures.curves({"training": (long, long)}, "loss")) < 100_000


def test_html_is_imported_without_heavy_libraries():
    """matplotlib alone takes up to a second to load, and no chart is drawn with it."""
    modules = "eval.reports.html, eval.reports.charts.svg"
    program = f"import sys, {modules}\nprint(*sys.modules)"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert not {"matplotlib", "numpy", "tensorflow"} & {*done.stdout.split()}
