"""Writers of predictions: a table for people, CSV and JSON Lines for programs."""

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from typing import Any, Protocol, TextIO

import numpy as np

from eval.prediction.image_classifier import FilePrediction
from eval.prediction.prediction_request import RecordFormat
from trainer.monitoring.printable import abbreviate, single_line

_WIDEST_FILE, _WIDEST_CLASS = 60, 24  # columns of a terminal


class RecordWriter(Protocol):
    """Writes predictions of files that could be read."""

    def write(
        self, predictions: Sequence[FilePrediction], names: Sequence[str]
    ) -> None:
        """Writes some predictions; `names` are those of the classes."""


def open_writer(
    kind: RecordFormat, out: TextIO, top_k: int, threshold: float | None = None
) -> RecordWriter:
    """The writer of `kind` to `out`, of the `top_k` likeliest classes of a file.

    Args:
        threshold: least probability of an answer that is given; None: all are.
    """
    writers = {
        RecordFormat.TABLE: TableWriter,
        RecordFormat.CSV: CsvWriter,
        RecordFormat.JSONL: JsonLinesWriter,
    }
    return writers[kind](out, top_k, threshold)


def is_answered(one: FilePrediction, threshold: float | None) -> bool:
    """Whether the answer to a file is given."""
    return threshold is None or bool(one.probabilities.max() >= threshold)


def likeliest(probabilities: np.ndarray, top_k: int) -> list[tuple[int, float]]:
    """The likeliest classes and their probabilities; ties go to the lower class."""
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return [(int(k), float(f"{probabilities[k]:.6g}")) for k in order]


class CsvWriter:
    """One line per file, after a header; classes in order of probability.

    With a threshold there is a column "answered": an answer that is not given has
    "false" there and an empty class. Bytes of a path that are not UTF-8 are escaped as
    \\udcNN.
    """

    def __init__(self, out: TextIO, top_k: int, threshold: float | None = None) -> None:
        self._out, self._top_k, self._begun = out, top_k, False
        self._threshold = threshold

    def write(
        self, predictions: Sequence[FilePrediction], names: Sequence[str]
    ) -> None:
        """Writes predictions; `names` are those of the classes."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        if predictions and not self._begun:
            numbers = range(2, min(self._top_k, len(names)) + 1)
            ranks = ["", *(f"_{n}" for n in numbers)]
            columns = [f"{what}{n}" for n in ranks for what in ("class", "probability")]
            asked = [] if self._threshold is None else ["answered"]
            rows.writerow(["file", "label", *asked, *columns])
            self._begun = True
        for one in predictions:
            found = likeliest(one.probabilities, self._top_k)
            answers = [part for k, value in found for part in (names[k], value)]
            answered = is_answered(one, self._threshold)
            if not answered:
                answers[0] = ""
            asked = [] if self._threshold is None else [str(answered).lower()]
            rows.writerow([one.path, one.label or "", *asked, *answers])
        self._out.write(_encodable(text.getvalue()))


class JsonLinesWriter:
    """One JSON object per file: file, label, class, probability and the list "top".

    With a threshold it has "answered", too, and the class is null where that is false.
    """

    def __init__(self, out: TextIO, top_k: int, threshold: float | None = None) -> None:
        self._out, self._top_k, self._threshold = out, top_k, threshold

    def write(
        self, predictions: Sequence[FilePrediction], names: Sequence[str]
    ) -> None:
        """Writes predictions; `names` are those of the classes."""
        for one in predictions:
            record = to_record(one, names, self._top_k, self._threshold)
            line = json.dumps(record, ensure_ascii=False)
            self._out.write(f"{_encodable(line)}\n")


def to_record(
    one: FilePrediction,
    names: Sequence[str],
    top_k: int,
    threshold: float | None = None,
) -> dict[str, Any]:
    """A prediction as an object of JSON."""
    found = likeliest(one.probabilities, top_k)
    top = [{"class": names[k], "probability": value} for k, value in found]
    record = {"file": one.path, "label": one.label, **top[0]}
    if threshold is not None:
        record["answered"] = is_answered(one, threshold)
        record["class"] = top[0]["class"] if record["answered"] else None
    return {**record, "top": top}


def _encodable(text: str) -> str:
    """Escapes bytes of a path that are not UTF-8, as Python and JSON do."""
    return text.encode(errors="backslashreplace").decode()


class TableWriter:
    """Columns for a terminal: file, class and probability, next likeliest classes."""

    def __init__(self, out: TextIO, top_k: int, threshold: float | None = None) -> None:
        self._out, self._top_k, self._threshold = out, top_k, threshold
        self._file = self._class = 0  # widths; 0 until the first predictions

    def write(
        self, predictions: Sequence[FilePrediction], names: Sequence[str]
    ) -> None:
        """Writes predictions; `names` are those of the classes."""
        if predictions and not self._file:
            self._begin(predictions, names)
        for one in predictions:
            found = likeliest(one.probabilities, self._top_k)
            cells = [self._cell(names[k], value) for k, value in found]
            answer, probability = names[found[0][0]], found[0][1]
            answered = is_answered(one, self._threshold)
            shown = answer if answered else "unknown"
            cells[0] = self._cell(shown, probability, len("probability"))
            wrong = one.label not in (None, answer)
            mark = f"  not {single_line(one.label)}" if wrong else ""
            if not answered:
                mark = f"  perhaps {abbreviate(answer, _WIDEST_CLASS)}"
            path = _pad(single_line(one.path), self._file)
            self._out.write(f"{path}  {'   '.join(cells)}{mark}\n")

    def _begin(
        self, predictions: Sequence[FilePrediction], names: Sequence[str]
    ) -> None:
        paths = [_width(single_line(one.path)) for one in predictions]
        self._file = min(_WIDEST_FILE, max(4, *paths))
        words = [*names, *([] if self._threshold is None else ["unknown"])]
        shown = [_width(abbreviate(word, _WIDEST_CLASS)) for word in words]
        self._class = min(2 * _WIDEST_CLASS, max(5, *shown))
        others = [f"{n}." for n in range(2, min(self._top_k, len(names)) + 1)]
        first = f"{_pad('class', self._class)} probability"
        cells = [first, *(_pad(n, self._class + 8) for n in others)]
        line = f"{_pad('file', self._file)}  {'   '.join(cells)}"
        self._out.write(f"{line.rstrip()}\n")

    def _cell(self, name: str, probability: float, width: int = 7) -> str:
        shown = abbreviate(name, _WIDEST_CLASS) or "(blank)"
        share = f"{100 * probability:.1f} %"
        return f"{_pad(shown, self._class)} {share:>{width}}"


def _width(text: str) -> int:
    """Columns of a terminal; Chinese and Japanese characters take two."""
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
