"""The page of an inspection: findings with their pictures, in one HTML file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eval.inspection.image_facts import ImageFacts
from eval.inspection.inspected_data import InspectedData
from eval.predictors import engine
from eval.reports import examples, html
from trainer.data import sampler
from trainer.data.preprocessing import UnreadableImage

GROUPS, MEMBERS = 20, 8  # groups of duplicates that are shown, images of each
LISTED = 200  # broken and odd files, label errors that are shown
SHEETS, SHEET_IMAGES = 50, 16  # classes with a contact sheet, images of each


def render(
    data: InspectedData,
    facts: Sequence[ImageFacts | str],
    findings: Mapping[str, Any],
    tick: Callable[[int], object] = lambda _: None,
) -> bytes:
    """Renders the page; `tick` is called with the number of pictures just drawn."""
    shown = _shown_findings(findings)
    sheets = choose_sheets(data, facts)
    wanted = set(_rows(shown)) | {row for _, _, rows in sheets for row in rows}
    return html.render(
        "data.html.j2",
        found=findings,
        shown=shown,
        sheets=sheets,
        pictures=_encode(data, sorted(wanted), tick),
        name_of=lambda row: data.images[row].name,
        limits={"groups": GROUPS, "members": MEMBERS, "listed": LISTED},
    )


def choose_sheets(
    data: InspectedData, facts: Sequence[ImageFacts | str]
) -> list[tuple[str, int, list[int]]]:
    """Name, number of images and rows of the contact sheet of each class.

    The rows lie evenly among those of the class that can be read.
    """
    rows: list[list[int]] = [[] for _ in data.classes]
    for row, image in enumerate(data.images):
        if isinstance(facts[row], ImageFacts):
            rows[image.label].append(row)
    sheets = []
    for name, own in list(zip(data.classes, rows, strict=True))[:SHEETS]:
        places = sampler.spread_rows(len(own), SHEET_IMAGES)
        sheets.append((name, len(own), [own[place] for place in places]))
    return sheets


def _shown_findings(findings: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of each list of findings."""
    groups = [
        {**group, "kind": kind, "shown": group["images"][:MEMBERS]}
        for kind in ("exact", "near")
        for group in findings["duplicates"][kind]
    ]
    leaks = [group for group in groups if len(group["splits"]) > 1]
    others = [group for group in groups if len(group["splits"]) == 1]
    errors = findings["label_errors"]
    return {
        "leaks": leaks[:GROUPS],
        "conflicts": [g for g in others if len(g["classes"]) > 1][:GROUPS],
        "copies": [g for g in others if len(g["classes"]) == 1][:GROUPS],
        "label_errors": errors["found"][:LISTED] if errors else [],
        "extremes": findings["extremes"],
        "broken": findings["broken"][:LISTED],
        "odd": findings["odd"][:LISTED],
    }


def _rows(shown: Mapping[str, Any]) -> Iterable[int]:
    """Rows of the pictures that the findings need."""
    for kind in ("leaks", "conflicts", "copies"):
        yield from (one["row"] for group in shown[kind] for one in group["shown"])
    yield from (one["row"] for one in shown["label_errors"])
    yield from (one["row"] for kind in shown["extremes"].values() for one in kind)


def _encode(
    data: InspectedData, rows: Sequence[int], tick: Callable[[int], object]
) -> dict[int, str]:
    """Pictures as data URIs, by row; one that is gone meanwhile is empty."""

    def encode(row: int) -> str:
        try:
            found = examples.data_uri(data.pixels(row))
        except (OSError, UnreadableImage):
            found = "data:,"
        tick(1)
        return found

    with ThreadPoolExecutor(engine.cores()) as pool:
        return dict(zip(rows, pool.map(encode, rows), strict=True))
