"""Pictures drawn with matplotlib, with class names as plain text.

A class name may contain `$`, which matplotlib reads as mathematics, characters that no
installed font has, or hundreds of characters; and there may be thousands of names.
"""

import collections
import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager, ft2font
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trainer.monitoring.printable import abbreviate

GRID_IMAGES = 32  # augmented images in the grid of step 0
FAMILY = "DejaVu Sans"  # comes with matplotlib
CELLS = 20  # up to this many classes the counts are written into the cells
NAMED = 40  # up to this many classes the names fit at an axis
POOLED = 100  # more classes are pooled into this many cells per axis
WORST = 15  # confusions listed beside a picture without numbers
LONGEST = 24  # characters of a class name in a picture
DPI = 110
CELL_INCHES = (1.1, 1.3)  # of an image and its class in the grid
IMAGE_INCHES = 0.93  # the longer side of an image in it
DARKEST_FOR_INK = 0.408  # luminance of a cell; what is darker is written on in white


@dataclasses.dataclass(frozen=True)
class Lettering:
    """How class names are written in a picture.

    Attributes:
        labels: a readable text for each name, no two alike.
        families: names of fonts that together have all characters.
    """

    labels: tuple[str, ...]
    families: tuple[str, ...] = (FAMILY,)


def lettering(names: Sequence[str], longest: int = LONGEST) -> Lettering:
    """Chooses labels and fonts for class `names`.

    A name with a character that no font has is written as "class 3".
    """
    texts = [abbreviate(name, longest) for name in names]
    wanted = {ord(char) for text in texts for char in text} - _letters(_bundled())
    families, had = _families(frozenset(wanted)) if wanted else ((FAMILY,), set())
    missing = wanted - had
    drawn = [bool(t) and missing.isdisjoint(map(ord, t)) for t in texts]
    labels = [t if drawn[n] else f"class {n}" for n, t in enumerate(texts)]
    count = collections.Counter(labels)
    labels = [t if count[t] == 1 else f"{n}: {t}" for n, t in enumerate(labels)]
    return Lettering(tuple(labels), families)


def _bundled() -> str:
    return font_manager.findfont(FAMILY)


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """Code points that the outline font at `path` can draw."""
    try:
        font = ft2font.FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@functools.cache
def _families(wanted: frozenset[int]) -> tuple[tuple[str, ...], frozenset[int]]:
    """Finds fonts that have the `wanted` code points, and the code points they have."""
    entries = {}
    for entry in font_manager.fontManager.ttflist:
        if entry.name not in entries or (entry.style, entry.weight) == ("normal", 400):
            entries[entry.name] = entry.fname
    likely = sorted(entries, key=lambda name: "CJK" not in name and "Noto" not in name)
    chosen, left = [FAMILY], set(wanted)
    for name in likely:
        if not left:
            break
        if "Last Resort" not in name and (found := left & _letters(entries[name])):
            chosen.append(name)
            left -= found
    return tuple(chosen), wanted - left


@contextlib.contextmanager
def drawing(families: Sequence[str] = (FAMILY,), **style: Any) -> Iterator[None]:
    """Context for drawing: matplotlib parses no mathematics and prints no warnings."""
    settings = {"text.parse_math": False, "font.family": list(families), **style}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def grid(
    images: np.ndarray, classes: np.ndarray, names: Sequence[str], columns: int = 8
) -> np.ndarray:
    """Draws images [N, H, W, C] with the class above each; returns uint8 [H, W, 3]."""
    letters = lettering(names, longest=14)
    texts = [letters.labels[label] for label in classes]
    inks = ["black"] * len(texts)
    return draw_grid(images, texts, inks, columns=columns, families=letters.families)


def draw_grid(
    images: Sequence[np.ndarray],
    texts: Sequence[str],
    inks: Sequence[str],
    *,
    columns: int = 8,
    families: Sequence[str] = (FAMILY,),
) -> np.ndarray:
    """Draws images [H, W, C] with a text above each; returns uint8 [H, W, 3].

    `inks` are the colours of the texts, `families` the fonts that have their letters.
    """
    rows = -(-len(images) // columns)
    with drawing(families):
        size = (columns * CELL_INCHES[0], rows * CELL_INCHES[1])
        drawn = Figure(figsize=size)
        # One axis of inches: one per image took ten times as long.
        axis = drawn.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
        axis.set_axis_off()
        for n, image in enumerate(images):
            row, column = divmod(n, columns)
            centre = ((column + 0.5) * CELL_INCHES[0], (row + 0.55) * CELL_INCHES[1])
            _show(axis, image, (texts[n], inks[n]), centre)
        return _pixels(drawn)


def _show(
    axis: Any, image: np.ndarray, label: tuple[str, str], centre: tuple[float, float]
) -> None:
    """Draws an image [H, W, C] with a text in a colour above, on an axis of inches."""
    height, width = image.shape[:2]
    half = IMAGE_INCHES / 2 / max(height, width)
    left, right = centre[0] - width * half, centre[0] + width * half
    top, bottom = centre[1] - height * half, centre[1] + height * half
    looks = {"cmap": "gray", "interpolation": "nearest", "aspect": "auto"}
    axis.imshow(np.squeeze(image), extent=(left, right, bottom, top), **looks)
    looks = {"fontsize": 7, "ha": "center", "va": "bottom", "color": label[1]}
    axis.text(centre[0], top - 0.05, label[0], **looks)


def confusion_picture(counts: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Draws a heat map of counts [K, K]; returns uint8 [H, W, 3].

    The picture has at most 1,400 x 1,300 pixels. A map without numbers has a list of
    the most frequent confusions beside it.
    """
    letters = lettering(names)
    numbers = len(names) <= CELLS
    with drawing(letters.families):
        if numbers:
            size = 3 + 0.4 * len(names)
            drawn = Figure(figsize=(size + 1, size), layout="constrained")
            axis = drawn.subplots()
        else:
            drawn = Figure(figsize=(12, 8), layout="constrained")
            axis, beside = drawn.subplots(1, 2, width_ratios=[3, 1])
            beside.set_axis_off()
            listed = _listed(counts, letters.labels)
            beside.text(0, 1, listed, va="top", fontsize=8).set_in_layout(False)
        _confusion(axis, counts, letters.labels, numbers=numbers)
        return _pixels(drawn)


def _confusion(
    axis: Any, counts: np.ndarray, labels: Sequence[str], *, numbers: bool
) -> None:
    """Draws a confusion matrix as shares of the images of each class.

    Args:
        axis: a matplotlib axis.
        counts: int [K, K], true class by predicted class.
        labels: class labels; more than NAMED are replaced by class ids.
        numbers: whether to write the counts into the cells.

    More than POOLED classes are pooled: classes with neighbouring ids share a cell.
    """
    pooled, step = _pooled(counts)
    shares = pooled / np.maximum(pooled.sum(axis=1, keepdims=True), 1)
    if numbers:
        _heat(axis, shares, counts, labels)
    else:
        ends = (-0.5, step * len(pooled) - 0.5)
        extent = (*ends, *ends[::-1])
        looks = {"cmap": "cividis", "vmin": 0, "vmax": 1, "interpolation": "none"}
        shown = axis.imshow(shares, extent=extent, **looks)
        axis.figure.colorbar(shown, ax=axis, shrink=0.8)
    if not numbers and len(labels) <= NAMED:
        axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6)
        axis.set_yticks(range(len(labels)), labels, fontsize=6)
    unit = " (class id)" if len(labels) > NAMED else ""
    cells = f"; a cell is {step} x {step} classes" if step > 1 else ""
    axis.set(xlabel=f"answer{unit}{cells}", ylabel=f"true class{unit}")


def _heat(
    axis: Any, shares: np.ndarray, counts: np.ndarray, labels: Sequence[str]
) -> None:
    """Draws the cells as seaborn.heatmap does, which takes two seconds to import."""
    looks = {"cmap": "cividis", "vmin": 0, "vmax": 1}
    mesh, ticks = axis.pcolormesh(shares, **looks), np.arange(len(labels)) + 0.5
    axis.spines[:].set_visible(False)
    axis.set(xlim=(0, len(labels)), ylim=(len(labels), 0))
    axis.set_xticks(ticks, labels, rotation=90)
    axis.set_yticks(ticks, labels, va="center")
    colours = mesh.to_rgba(shares)
    for (row, column), count in np.ndenumerate(counts):
        ink = ".15" if _luminance(colours[row, column]) > DARKEST_FOR_INK else "w"
        looks = {"color": ink, "ha": "center", "va": "center", "size": 7}
        written = axis.text(ticks[column], ticks[row], str(count), **looks)
        written.set_in_layout(False)  # within the cell: no layout need measure it


def _luminance(colour: np.ndarray) -> float:
    """The relative luminance of an sRGB colour (WCAG 2), 0 to 1."""
    red, green, blue = colour[:3]
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
        for c in (red, green, blue)
    ]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def _pooled(counts: np.ndarray) -> tuple[np.ndarray, int]:
    """Sums blocks of classes to at most POOLED cells; also returns the block size."""
    step = -(-len(counts) // POOLED)
    first = range(0, len(counts), step)
    return np.add.reduceat(np.add.reduceat(counts, first, 0), first, 1), step


def _listed(counts: np.ndarray, labels: Sequence[str]) -> str:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    lines = [  # the marks keep the order left to right also for Arabic or Hebrew names
        f"\u200e{wrong[pair]}  {labels[pair[0]]} \u200e→ {labels[pair[1]]}"
        for pair in pairs
        if wrong[pair]
    ]
    return "\n".join(["images, true class → answer", *lines])


def _pixels(drawn: Figure) -> np.ndarray:
    """The pixels of a figure: uint8 [H, W, 3]."""
    drawn.set_dpi(DPI)
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()  # once; savefig draws twice, and its PNG would be read back
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
