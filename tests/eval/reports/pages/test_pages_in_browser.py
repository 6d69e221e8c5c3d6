"""Pages of eval in a browser: accessible, on a phone, on paper."""

import base64
import json
import os
import pathlib
import re
import types

import numpy as np
import pytest

from eval.reports import report_files
from eval.reports.pages import comparison_page
from eval.studies import group_comparison, study_data, study_page, study_summary
from eval.studies.seed_groups import SeedGroup
from tests.support import axe, chromium, fake_studies, report_pages
from trainer.config.enums import EvalTta

MISSING = "make test-web runs it, in Chromium and with npm"
pytestmark = pytest.mark.skipif(not os.environ.get("TEST_WEB"), reason=MISSING)
OPEN = "for (const one of document.querySelectorAll('details')) one.open = true"
WIDE = "document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def urls(tmp_path_factory) -> dict[str, str]:
    """Addresses: a report, one of a hundred classes, a comparison, a study, groups."""
    folder = tmp_path_factory.mktemp("pages")
    reports = {
        "report": report_pages.make_report(10, 400),
        "many": report_pages.make_report(100, 2000, names=long_names()),
    }
    content = {
        name: report_files.render_page(report, arrays, print)["report.html"]
        for name, (report, arrays) in reports.items()
    }
    picture = reports["report"][1].picture
    found = report_pages.make_comparison()
    curves = [reports["report"][1].curves] * 2
    content["comparison"] = comparison_page.render(found, picture, curves)
    study = study_data.load_study(write_study(folder / "s"))
    content["study"] = study_page.render(study_summary.summarize(study))
    content["groups"] = study_page.render_groups(compare_groups(folder))
    for name, page in content.items():
        (folder / f"{name}.html").write_bytes(page)
    return {name: (folder / f"{name}.html").as_uri() for name in content}


def write_study(path: pathlib.Path) -> pathlib.Path:
    """A study whose last trial has failed."""
    fake_studies.write(path)
    table = json.loads((path / study_data.TABLE).read_text())
    table["trials"][-1] |= {
        "state": "failed",
        "reason": "the loss is not a number",
        "validation_accuracy": None,
        "validation_accuracy_interval": None,
        "values": None,
    }
    (path / study_data.TABLE).write_text(json.dumps(table))
    return path


def compare_groups(folder: pathlib.Path) -> dict:
    """A comparison of two groups of two seeds each, on 300 images."""
    draws = np.random.default_rng(0)
    split = types.SimpleNamespace(
        split="test", labels=np.zeros(300), sha256="0" * 64, held_out=False
    )
    results = [
        types.SimpleNamespace(
            right=draws.random(300) < 0.8,
            split=split,
            dataset="digits",
            tta=EvalTta.NONE,
        )
        for _ in range(4)
    ]
    runs = (folder / "0", folder / "1")
    groups = [SeedGroup(name, folder, runs) for name in "ab"]
    return group_comparison.build_comparison(groups, results)


def select(tab, selector: str, then: str) -> object:
    """The list of elements with `selector`, and what `then` makes of it."""
    return tab.evaluate(f"[...document.querySelectorAll({selector!r})].{then}")


def long_names() -> list[str]:
    return [f"{'very ' * (n % 9)}long name {n}" for n in range(100)]


@pytest.mark.parametrize("name", ["report", "many", "comparison", "study", "groups"])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_anybody_can_read_it(browser, urls, name, dark, width):
    tab = browser.open(urls[name], width, dark=dark)
    assert tab.evaluate(WIDE) == width
    assert tab.faults() == []
    assert [url for url in tab.requests() if not url.startswith("data:")] == [
        urls[name]
    ]
    tab.evaluate(OPEN)
    assert axe.find_faults(tab) == []
    assert tab.evaluate(WIDE) == width


@pytest.mark.parametrize("name", ["report", "comparison", "study"])
def test_paper_shows_what_is_folded_and_no_buttons(browser, urls, name):
    tab = browser.open(urls[name], 720)
    tab.call("Emulation.setEmulatedMedia", media="print")
    folded = "filter((one) => !one.checkVisibility()).length"
    assert select(tab, "details td", folded) == 0
    shown = "filter((one) => one.checkVisibility()).length"
    assert select(tab, "button.copy, .filters, nav", shown) == 0
    assert axe.find_faults(tab) == []
    pdf = base64.b64decode(tab.call("Page.printToPDF", printBackground=True)["data"])
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", pdf)) < 25


def test_pictures_are_filtered_and_enlarged_with_the_keyboard(browser, urls):
    tab = browser.open(urls["report"], 1000)
    visible = "document.querySelectorAll('#pictures li:not([hidden])').length"
    first = tab.evaluate(visible)
    tab.evaluate("document.querySelector('[data-kind=label_errors]').click()")
    badges = "document.querySelectorAll('#pictures li:not([hidden]) .badge').length"
    assert 0 < tab.evaluate(visible) == tab.evaluate(badges) <= first
    tab.evaluate("document.querySelector('#pictures li:not([hidden]) .open').focus()")
    tab.press("Enter", 13, "\r")
    assert tab.evaluate("document.querySelector('dialog').open")
    place = "document.querySelector('.place').textContent"
    assert tab.evaluate(place).startswith("1 of ")
    tab.press("ArrowRight", 39)
    assert tab.evaluate(place).startswith("2 of ")
    assert axe.find_faults(tab) == []
    tab.press("Escape", 27)
    assert not tab.evaluate("document.querySelector('dialog').open")


def test_a_confusion_shows_its_pictures(browser, urls):
    tab = browser.open(urls["report"], 1000)
    tab.evaluate("document.querySelector('[data-pair]').click()")
    pair = tab.evaluate("document.querySelector('[data-pair]').dataset.pair").split()
    pairs = "map((one) => [one.dataset.label, one.dataset.prediction])"
    shown = select(tab, "#pictures li:not([hidden])", pairs)
    assert shown and all(one == pair for one in shown)


def test_tables_are_sorted(browser, urls):
    tab = browser.open(urls["report"], 1000)
    press = "document.querySelectorAll('[aria-labelledby=classes] .sort')[0].click()"
    rows, names = "[aria-labelledby=classes] tbody th", "map((one) => one.textContent)"
    tab.evaluate(press)
    assert select(tab, rows, names) == [f"class {n}" for n in range(10)]
    tab.evaluate(press)
    assert select(tab, rows, names) == [f"class {n}" for n in reversed(range(10))]
    sort = "document.querySelector('[aria-labelledby=classes] [aria-sort]').ariaSort"
    assert tab.evaluate(sort) == "descending"


def test_trials_are_sorted_the_best_first_and_those_without_a_number_last(
    browser, urls
):
    tab = browser.open(urls["study"], 1000)
    buttons = "[...document.querySelectorAll('[aria-labelledby=trials] .sort')]"
    press = f"{buttons}.find((one) => one.textContent === 'accuracy').click()"
    rows = "[aria-labelledby=trials] tbody tr"
    found = "map((one) => [one.dataset.trial, one.cells[6].dataset.value])"
    for best_first in (True, False):
        tab.evaluate(press)
        *shown, last = select(tab, rows, found)
        assert last == ["23", ""]
        values = [float(value) for _, value in shown]
        assert values == sorted(values, reverse=best_first)


def test_a_trial_lights_up_in_every_chart(browser, urls):
    tab = browser.open(urls["study"], 1000)
    tab.evaluate("document.querySelector('tr[data-trial=\"3\"]').focus()")
    trials = "map((one) => one.dataset.trial)"
    assert select(tab, ".on", trials) == ["3"] * 4
    tab.press("ArrowDown", 40)
    assert select(tab, ".on", trials) == ["4"] * 4


def test_without_its_script_everything_is_shown(browser, urls):
    session = browser.attach()
    browser.call("Emulation.setScriptExecutionDisabled", session, value=True)
    browser.load(session, urls["report"])
    tab = chromium.Tab(browser, session)
    assert select(tab, "#pictures li", "every((one) => one.checkVisibility())")
    assert not tab.evaluate("document.querySelector('.filters').checkVisibility()")
