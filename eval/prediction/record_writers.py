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
from trainer.monitoring import pictures
from trainer.monitoring.printable import single_line

_WIDEST_FILE, _WIDEST_CLASS = 60, 24  # columns of a terminal


class RecordWriter(Protocol):
    """Writes predictions of files that could be read."""

    def write(
        self, predictions: Sequence[FilePrediction], names: Sequence[str]
    ) -> None:
        """Writes some predictions; `names` are those of the classes."""


def open_writer(kind: RecordFormat, out: TextIO, top_k: int) -> RecordWriter:
    """The writer of `kind` to `out`, of the `top_k` likeliest classes of a file."""
    writers = {
        RecordFormat.TABLE: TableWriter,
        RecordFormat.CSV: CsvWriter,
        RecordFormat.JSONL: JsonLinesWriter,
    }
    return writers[kind](out, top_k)


def likeliest(probabilities: np.ndarray, top_k: int) -> list[tuple[int, float]]:
    """The likeliest classes and their probabilities; ties go to the lower class."""
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return [(int(k), float(f"{probabilities[k]:.6g}")) for k in order]


class CsvWriter:
    """One line a file, after a header; classes in order of probability.

    Bytes of a path that are not UTF-8 are escaped as \\udcNN.
    """

    def __init__(self, out: TextIO, top_k: int) -> None:
        self._out, self._top_k, self._begun = out, top_k, False

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
            rows.writerow(["file", "label", *columns])
            self._begun = True
        for one in predictions:
            found = likeliest(one.probabilities, self._top_k)
            answers = [part for k, value in found for part in (names[k], value)]
            rows.writerow([one.path, one.label or "", *answers])
        self._out.write(_encodable(text.getvalue()))


class JsonLinesWriter:
    """One JSON object a file: file, label, class, probability and the list "top"."""

    def __init__(self, out: TextIO, top_k: int) -> None:
        self._out, self._top_k = out, top_k

    def write(
        self, predictions: Sequence[FilePrediction], names: Sequence[str]
    ) -> None:
        """Writes predictions; `names` are those of the classes."""
        for one in predictions:
            record = to_record(one, names, self._top_k)
            line = json.dumps(record, ensure_ascii=False)
            self._out.write(f"{_encodable(line)}\n")


def to_record(one: FilePrediction, names: Sequence[str], top_k: int) -> dict[str, Any]:
    """A prediction as an object of JSON."""
    found = likeliest(one.probabilities, top_k)
    top = [{"class": names[k], "probability": value} for k, value in found]
    return {"file": one.path, "label": one.label, **top[0], "top": top}


def _encodable(text: str) -> str:
    """Escapes bytes of a path that are not UTF-8, as Python and JSON do."""
    return text.encode(errors="backslashreplace").decode()


class TableWriter:
    """Columns for a terminal: file, class and probability, next likeliest classes."""

    def __init__(self, out: TextIO, top_k: int) -> None:
        self._out, self._top_k = out, top_k
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
            cells[0] = self._cell(names[found[0][0]], found[0][1], len("probability"))
            wrong = one.label not in (None, names[found[0][0]])
            mark = f"  not {single_line(one.label)}" if wrong else ""
            path = _pad(single_line(one.path), self._file)
            self._out.write(f"{path}  {'   '.join(cells)}{mark}\n")

    def _begin(
        self, predictions: Sequence[FilePrediction], names: Sequence[str]
    ) -> None:
        paths = [_width(single_line(one.path)) for one in predictions]
        self._file = min(_WIDEST_FILE, max(4, *paths))
        shown = [_width(pictures.short(name, _WIDEST_CLASS)) for name in names]
        self._class = min(2 * _WIDEST_CLASS, max(5, *shown))
        others = [f"{n}." for n in range(2, min(self._top_k, len(names)) + 1)]
        first = f"{_pad('class', self._class)} probability"
        cells = [first, *(_pad(n, self._class + 8) for n in others)]
        line = f"{_pad('file', self._file)}  {'   '.join(cells)}"
        self._out.write(f"{line.rstrip()}\n")

    def _cell(self, name: str, probability: float, width: int = 7) -> str:
        shown = pictures.short(name, _WIDEST_CLASS) or "(blank)"
        share = f"{100 * probability:.1f} %"
        return f"{_pad(shown, self._class)} {share:>{width}}"


def _width(text: str) -> int:
    """Columns of a terminal; Chinese and Japanese characters take two."""
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
