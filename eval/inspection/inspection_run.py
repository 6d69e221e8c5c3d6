"""Inspects the data set of a request and writes the page and data.json."""

import datetime
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from eval.inspection import findings, inspected_data, inspection_page, label_errors
from eval.inspection.image_facts import ImageFacts
from eval.inspection.inspected_data import InspectedData
from eval.inspection.inspection_request import DATA, PAGE, InspectionRequest
from eval.predictors import engine
from eval.reports import output_folder
from trainer import files
from trainer.data.sources.folder_source import list_folder
from trainer.data.sources.table_source import list_table
from trainer.errors import InvalidInput
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE

_BLOCK = 256  # images whose measuring has begun


def inspect(
    request: InspectionRequest, say: Callable[[str], object] = print
) -> dict[str, Any]:
    """Inspects a data set, writes its page and data.json, and returns the latter.

    `say` is called with each line that must be known.

    Raises:
        InvalidInput: the data, the run or the folder cannot be used.
    """
    data, unseen = _open(request, say)
    facts = measure_all(data)
    if not any(isinstance(one, ImageFacts) for one in facts):
        raise InvalidInput(f"{data.name}: no image can be read; the first: {facts[0]}")
    with CONSOLE.count(len(facts), "looking for duplicates") as tick:
        found = findings.build_findings(data, facts, tick)
    now = datetime.datetime.now(datetime.UTC)
    found["created"] = now.strftime("%Y-%m-%d %H:%M UTC")
    if unseen is not None:
        found["label_errors"] = _find_label_errors(data, unseen)
    with CONSOLE.count(len(facts), "drawing pictures", "pictures") as tick:
        page = inspection_page.render(data, facts, found, tick)
    with CONSOLE.phase("writing the page"):
        content = {PAGE: page, DATA: files.json_bytes(found)}
        output_folder.write_folder(request.out_dir, content)
    return found


def _open(
    request: InspectionRequest, say: Callable[[str], object]
) -> tuple[InspectedData, Any]:
    """The data, and OutOfSample probabilities if there is a run."""
    images = request.images
    if request.run is None and images.dataset is None:
        with CONSOLE.phase("listing image files"):
            lists = list_folder if images.image_dir else list_table
            listing = lists(images.image_dir or images.image_list)
            return inspected_data.from_listing(listing), None
    with native_output.loading_libraries():
        from eval.inspection import trained_data
    if request.run is None:
        return trained_data.open_dataset(images, say), None
    return trained_data.open_trained(request.run, images, say)


def measure_all(data: InspectedData) -> list[ImageFacts | str]:
    """Measures every image on every core; text: why one cannot be used."""
    total, found = len(data.images), []
    with (
        ThreadPoolExecutor(engine.cores()) as pool,
        CONSOLE.count(total, "reading images") as tick,
    ):
        for first in range(0, total, _BLOCK):
            rows = range(first, min(first + _BLOCK, total))
            for one in pool.map(data.measure, rows):
                found.append(one)
                tick(1)
    return found


def _find_label_errors(data: InspectedData, unseen: Any) -> dict[str, Any]:
    labels = findings.labels_of(data, unseen.rows)
    suspects = label_errors.find_label_errors(unseen.probabilities, labels)
    return {
        "model": unseen.model,
        "images": len(labels),
        "found": [
            findings.describe_label_error(
                data, int(unseen.rows[n]), unseen.probabilities[n]
            )
            for n in suspects
        ],
    }


def summary_lines(found: dict[str, Any]) -> list[str]:
    """The findings in a few lines, for a terminal."""
    leaks, copies = found["leaks"], found["duplicates"]
    problems = [f"no training can begin: {x}" for x in found["data"]["problems"]]
    lines = [
        *problems,
        f"{found['images']:,} images in {_count_classes(found)}:"
        f" {len(found['broken']):,} cannot be read, {len(found['odd']):,} are odd",
        f"duplicates: {len(copies['exact']):,} groups with the same pixels,"
        f" {len(copies['near']):,} that look alike;"
        f" {found['label_conflicts']:,} with different labels",
    ]
    if leaks["exact"] + leaks["near"]:
        lines.append(
            f"the splits leak: {leaks['exact']:,} groups with the same pixels and"
            f" {leaks['near']:,} that look alike lie in several splits"
        )
    else:
        lines.append("the splits do not leak: no group lies in several")
    if found["label_errors"]:
        count = len(found["label_errors"]["found"])
        images = found["label_errors"]["images"]
        lines.append(f"likely label errors: {count:,} of {images:,} unseen images")
    return lines


def _count_classes(found: dict[str, Any]) -> str:
    count = len(found["data"]["classes"])
    return "1 class" if count == 1 else f"{count:,} classes"
