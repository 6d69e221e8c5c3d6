"""Findings: what data.json says of a data set; docs/inspection.md has the schema."""

import collections
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eval.inspection import duplicates
from eval.inspection.image_facts import ImageFacts
from eval.inspection.inspected_data import InspectedData
from trainer.data.sources.image_files import SPLITS, TRAIN, name_some

VERSION = 1
EXTREMES = 12  # brightest, darkest and blurriest images that are listed
SIZES = 10  # commonest sizes that are listed
_ORDER = list(dict.fromkeys(SPLITS.values()))
Facts = Sequence[ImageFacts | str]  # by row; text: why an image cannot be used
ByRow = dict[int, ImageFacts]


def build_findings(
    data: InspectedData, facts: Facts, tick: Callable[[int], object] = lambda _: None
) -> dict[str, Any]:
    """Builds the content of data.json but for the label errors.

    `tick` is called with the number of different images just compared with all others.
    """
    readable = {row: f for row, f in enumerate(facts) if isinstance(f, ImageFacts)}
    exact = _exact_groups(data, readable)
    near = _near_groups(data, readable, tick)
    return {
        "version": VERSION,
        "data": {
            "kind": data.kind,
            "name": data.name,
            "classes": list(data.classes),
            "remarks": list(data.remarks),
            "problems": [*data.problems, *_unreadable_classes(data, readable)],
        },
        "images": len(data.images),
        "readable": len(readable),
        "balance": _balance(data),
        "parts": _parts(data, facts),
        "sizes": _sizes(readable.values()),
        "broken": [
            {**_name(data, row), "reason": reason}
            for row, reason in enumerate(facts)
            if isinstance(reason, str)
        ],
        "odd": [
            {**_name(data, row), "reasons": list(one.odd)}
            for row, one in readable.items()
            if one.odd
        ],
        "duplicates": {"exact": exact, "near": near},
        "leaks": _leaks(exact, near),
        "label_conflicts": sum(len(group["classes"]) > 1 for group in exact + near),
        "extremes": _extremes(data, readable),
        "label_errors": None,
    }


def _name(data: InspectedData, row: int) -> dict[str, Any]:
    image = data.images[row]
    named = {"row": row, "name": image.name, "split": image.split}
    return named | {"class": data.classes[image.label]}


def _unreadable_classes(data: InspectedData, readable: ByRow) -> Iterator[str]:
    """A line if there are classes of which no training image can be read."""
    listed = {image.label for image in data.images if image.split == TRAIN}
    seen = (data.images[row] for row in readable)
    known = {image.label for image in seen if image.split == TRAIN}
    lost = [name for n, name in enumerate(data.classes) if n in listed - known]
    if lost:
        yield f"no image to train on of {name_some(lost)} can be read"


def _balance(data: InspectedData) -> dict[str, Any]:
    """Images of each class by split, and the largest class over the smallest."""
    splits = sorted({image.split for image in data.images}, key=_ORDER.index)
    counted = collections.Counter((image.split, image.label) for image in data.images)
    by_split = {}
    for split in splits:
        counts = [counted[split, label] for label in range(len(data.classes))]
        smallest, largest = min(counts), max(counts)
        by_split[split] = {
            "images": sum(counts),
            "by_class": dict(zip(data.classes, counts, strict=True)),
            "smallest": smallest,
            "largest": largest,
            "ratio": largest / smallest if smallest else None,
        }
    return by_split


def _parts(data: InspectedData, facts: Facts) -> list[dict[str, Any]]:
    """Sizes, formats and channels of each class in each split."""
    rows = collections.defaultdict(list)
    for row, image in enumerate(data.images):
        rows[image.split, image.label].append(row)
    return [
        {
            "split": split,
            "class": data.classes[label],
            "images": len(own),
            **_describe([facts[row] for row in own]),
        }
        for (split, label), own in sorted(rows.items(), key=_place)
    ]


def _place(part: tuple[tuple[str, int], list[int]]) -> tuple[int, int]:
    """By class, then by split."""
    (split, label), _ = part
    return label, _ORDER.index(split)


def _describe(facts: Facts) -> dict[str, Any]:
    found = [one for one in facts if isinstance(one, ImageFacts)]
    return {
        "broken": len(facts) - len(found),
        "bytes": sum(one.bytes for one in found),
        "formats": _count(one.format for one in found),
        "modes": _count(one.mode for one in found),
        "channels": _count(str(one.channels) for one in found),
        "height": _spread([one.height for one in found]),
        "width": _spread([one.width for one in found]),
    }


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(collections.Counter(values).most_common())


def _spread(values: list[int]) -> dict[str, float] | None:
    if not values:
        return None
    middle = statistics.median(values)
    return {"least": min(values), "median": middle, "most": max(values)}


def _sizes(facts: Iterable[ImageFacts]) -> dict[str, Any]:
    counted = collections.Counter((one.height, one.width) for one in facts)
    return {
        "different": len(counted),
        "commonest": [
            {"height": height, "width": width, "images": count}
            for (height, width), count in counted.most_common(SIZES)
        ],
    }


def _exact_groups(data: InspectedData, readable: ByRow) -> list[dict[str, Any]]:
    """Groups of images with equal pixels, also in files of other bytes."""
    rows = list(readable)
    groups = duplicates.group_equal([readable[row].pixels_sha256 for row in rows])
    found = [_group(data, readable, [rows[n] for n in group]) for group in groups]
    return sorted(found, key=_rank)


def _near_groups(
    data: InspectedData, readable: ByRow, tick: Callable[[int], object]
) -> list[dict[str, Any]]:
    """Groups of images that look alike but have other pixels, with their copies."""
    alike = collections.defaultdict(list)
    for row, one in readable.items():
        alike[one.pixels_sha256].append(row)
    copies = list(alike.values())
    if not copies:
        return []
    signatures = np.stack([readable[rows[0]].signature for rows in copies])
    groups = duplicates.group_near(signatures, tick)
    found = [
        _group(data, readable, sorted(row for n in group for row in copies[n]))
        for group in groups
    ]
    return sorted(found, key=_rank)


def _group(data: InspectedData, readable: ByRow, rows: list[int]) -> dict[str, Any]:
    images = [data.images[row] for row in rows]
    contents = {readable[row].file_sha256 for row in rows}
    return {
        "splits": sorted({image.split for image in images}, key=_ORDER.index),
        "classes": [data.classes[k] for k in sorted({i.label for i in images})],
        "same_bytes": len(contents) == 1 and contents != {b""},
        "images": [_name(data, row) for row in rows],
    }


def _rank(group: Mapping[str, Any]) -> tuple[bool, bool, int]:
    """Leaks first, then different labels, then the largest groups."""
    leaks, conflicts = len(group["splits"]) > 1, len(group["classes"]) > 1
    return not leaks, not conflicts, -len(group["images"])


def _leaks(exact: list[dict], near: list[dict]) -> dict[str, int]:
    """Groups across splits, and images outside of training that are in one."""
    across = [group for group in exact + near if len(group["splits"]) > 1]
    told = {
        image["row"]
        for group in across
        for image in group["images"]
        if image["split"] != "train"
    }
    return {
        "exact": sum(len(group["splits"]) > 1 for group in exact),
        "near": sum(len(group["splits"]) > 1 for group in near),
        "images": len(told),
    }


def _extremes(data: InspectedData, readable: ByRow) -> dict[str, list[dict[str, Any]]]:
    def first(key: Callable[[ImageFacts], float]) -> list[dict[str, Any]]:
        rows = sorted(readable, key=lambda row: key(readable[row]))[:EXTREMES]
        return [
            {
                **_name(data, row),
                "brightness": round(readable[row].brightness, 2),
                "sharpness": round(readable[row].sharpness, 2),
            }
            for row in rows
        ]

    return {
        "brightest": first(lambda one: -one.brightness),
        "darkest": first(lambda one: one.brightness),
        "blurriest": first(lambda one: one.sharpness),
    }


def labels_of(data: InspectedData, rows: np.ndarray) -> np.ndarray:
    """Labels of `rows`: int64 [N]."""
    return np.array([data.images[row].label for row in rows], np.int64)


def describe_label_error(
    data: InspectedData, row: int, probabilities: np.ndarray
) -> dict[str, Any]:
    """Describes a row whose label is likely wrong; `probabilities` are float [C]."""
    other = int(probabilities.argmax())
    return {
        **_name(data, row),
        "likely": data.classes[other],
        "probability": float(probabilities[other]),
        "label_probability": float(probabilities[data.images[row].label]),
    }
