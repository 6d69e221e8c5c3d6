"""Pages of reports and comparisons in a browser: accessible, on a phone, on paper."""

import base64
import os
import re

import pytest

from eval.reports import report_files
from eval.reports.pages import comparison_page
from tests.support import axe, chromium, report_pages

MISSING = "make test-web runs it, in Chromium and with npm"
pytestmark = pytest.mark.skipif(not os.environ.get("TEST_WEB"), reason=MISSING)
OPEN = "for (const one of document.querySelectorAll('details')) one.open = true"
WIDE = "document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def urls(tmp_path_factory) -> dict[str, str]:
    """Addresses of pages: a report, one of a hundred classes, a comparison."""
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
    for name, page in content.items():
        (folder / f"{name}.html").write_bytes(page)
    return {name: (folder / f"{name}.html").as_uri() for name in content}


def select(tab, selector: str, then: str) -> object:
    """The list of elements with `selector`, and what `then` makes of it."""
    return tab.evaluate(f"[...document.querySelectorAll({selector!r})].{then}")


def long_names() -> list[str]:
    return [f"{'very ' * (n % 9)}long name {n}" for n in range(100)]


@pytest.mark.parametrize("name", ["report", "many", "comparison"])
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


@pytest.mark.parametrize("name", ["report", "comparison"])
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


def test_without_its_script_everything_is_shown(browser, urls):
    session = browser.attach()
    browser.call("Emulation.setScriptExecutionDisabled", session, value=True)
    browser.load(session, urls["report"])
    tab = chromium.Tab(browser, session)
    assert select(tab, "#pictures li", "every((one) => one.checkVisibility())")
    assert not tab.evaluate("document.querySelector('.filters').checkVisibility()")
