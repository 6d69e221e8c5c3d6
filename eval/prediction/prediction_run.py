"""Predicts the files of a request and writes what a command shows of them."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

import numpy as np

from eval import runner
from eval.abstention.model_thresholds import load_or_choose
from eval.metrics import classification
from eval.model_source import ModelSource
from eval.prediction import image_paths, record_writers
from eval.prediction.image_classifier import FilePrediction, ImageClassifier
from eval.prediction.picture_grid import PictureGrid
from eval.prediction.prediction_request import PredictionRequest, RecordFormat
from trainer import errors, streams
from trainer.errors import InvalidInput
from trainer.monitoring.printable import single_line
from trainer.monitoring.progress import CONSOLE, EVERY_SECS
from trainer.storage import as_failure


class _Tally:
    """Counts of the files so far.

    Attributes:
        threshold: least probability of an answer that is given; None: all are.
    """

    def __init__(self, threshold: float | None) -> None:
        self.read = self.bad = self.labelled = self.answered = self.right = 0
        self.threshold = threshold

    def add(self, one: FilePrediction, answer: str) -> None:
        """Counts a file that was read."""
        self.read += 1
        if one.label is None:
            return
        self.labelled += 1
        if record_writers.is_answered(one, self.threshold):
            self.answered += 1
            self.right += one.label == answer

    def accuracy(self) -> str:
        """A line about the files in class folders."""
        others = self.read - self.labelled
        left = [f"{others:,} in no folder of a class"] if others else []
        left += [f"{self.bad:,} that cannot be read"] if self.bad else []
        line = f"{self._describe()} images in class folders"
        line += " (some may be images of its training:"
        line += " eval.report counts test images alone)"
        return f"{line}; not counted: {', '.join(left)}" if left else line

    def _describe(self) -> str:
        if self.threshold is None:
            return f"accuracy {_describe_share(self.right, self.labelled)}"
        share = f"answered {_describe_share(self.answered, self.labelled)}"
        if not self.answered:
            return share
        return f"accuracy {_describe_share(self.right, self.answered)} answers, {share}"


def _describe_share(part: int, total: int) -> str:
    low, high = classification.interval(part, total)
    return (
        f"{part / total:.2%} (95 % interval {low:.2%} to {high:.2%}): {part:,} of"
        f" {total:,}"
    )


def predict(
    request: PredictionRequest,
    out: TextIO,
    say: Callable[[str], object] = runner.print_line,
) -> bool:
    """Predicts every file and writes records to `out` as they are done.

    A file that cannot be read is a line on stderr. `say` is called with each line that
    must be known before the predictions.

    Returns:
        Whether all files could be read and all records were written.

    Raises:
        InvalidInput: the model or its options cannot be used, or no path was named.
        TrainingFailed: the model cannot be run, or its outputs are no numbers.
    """
    source = runner.open_source(
        request.run, request.checkpoint, request.model, request.options
    )
    threshold = _find_threshold(source, request, say)
    with CONSOLE.phase(f"opening {source.name}"):
        classifier = ImageClassifier(source, request.resize, request.image_size)
    for line in classifier.notes:
        say(line)
    if request.kind is not RecordFormat.TABLE:
        streams.use_utf8(out)
    tally = _Tally(threshold)
    grid = PictureGrid(threshold) if request.grid else None
    with errors.failing_on_value_errors(classifier.name):
        _write_records(request, classifier, tally, grid, out)
    CONSOLE.close()
    if getattr(out, "lost", ""):
        return getattr(out, "left", False)  # `| head` has seen enough
    _finish(request, classifier, tally, grid, out)
    return tally.bad == 0


def _write_records(
    request: PredictionRequest,
    classifier: ImageClassifier,
    tally: _Tally,
    grid: PictureGrid | None,
    out: TextIO,
) -> None:
    """Predicts and writes files until all are done or nobody reads `out`."""
    writer = record_writers.open_writer(
        request.kind, out, request.top_k, tally.threshold
    )
    found = image_paths.find_images(_names(request.paths), classifier.names or ())
    began = time.monotonic()
    for chunk in _with_phases(classifier.predict_files(found)):
        good = _report_problems(chunk, tally)
        writer.write(good, classifier.names or ())
        out.flush()
        for one in good:
            tally.add(one, classifier.names[int(np.argmax(one.probabilities))])
            if grid is not None:
                grid.add(one)
        if getattr(out, "lost", ""):
            return
        _show_progress(tally, time.monotonic() - began, out)


def _find_threshold(
    source: ModelSource, request: PredictionRequest, say: Callable[[str], object]
) -> float | None:
    """The least probability of an answer that is given; None: all are given.

    Raises:
        InvalidInput: the model has no threshold for what is asked.
    """
    if request.abstain is None:
        return None
    found = load_or_choose(source, say).find(request.abstain)
    if found.value is None:
        raise InvalidInput(
            f"abstain={request.abstain:g}: {source.name} has no threshold for it."
            f" {found.guarantee}\nAsk for less, or leave `abstain` out"
        )
    say(f"answers of {found.value:.4g} or more are given. {found.guarantee}")
    return found.value


def _names(paths: tuple[str, ...]) -> Iterator[str | None]:
    for path in paths:
        if path == image_paths.STDIN:
            yield from image_paths.read_names(0)
        else:
            yield path


def _with_phases(
    chunks: Iterator[list[FilePrediction]],
) -> Iterator[list[FilePrediction]]:
    """The same; a reminder that was shown meanwhile is gone when a chunk comes."""
    while True:
        with CONSOLE.phase("reading and classifying images"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _report_problems(
    chunk: list[FilePrediction], tally: _Tally
) -> list[FilePrediction]:
    """The files that were read; each of the others is a line on stderr."""
    bad = [one for one in chunk if one.problem]
    if bad:
        CONSOLE.close()
    for one in bad:
        line = single_line(f"{one.path}: {one.problem}")
        print(line, file=sys.stderr, flush=True)
    tally.bad += len(bad)
    return [one for one in chunk if not one.problem]


def _show_progress(tally: _Tally, seconds: float, out: TextIO) -> None:
    """Shows how many files are done, unless the records themselves are seen."""
    if seconds >= EVERY_SECS and not out.isatty():
        speed = tally.read / seconds
        CONSOLE.update(f"{tally.read:,} images  {speed:,.0f} images/s")


def _finish(
    request: PredictionRequest,
    classifier: ImageClassifier,
    tally: _Tally,
    grid: PictureGrid | None,
    out: TextIO,
) -> None:
    """Tells the accuracy, how many files were not read, and draws the grid."""
    table = request.kind is RecordFormat.TABLE
    if tally.labelled:
        print(tally.accuracy(), file=out if table else sys.stderr, flush=True)
    if tally.bad:
        count = tally.bad + tally.read
        line = f"{tally.bad:,} of {count:,} files could not be read"
        print(line, file=sys.stderr, flush=True)
    if not classifier.calibrated and tally.read and table:
        print("uncalibrated: the probabilities are as the model gives them", file=out)
    if grid is None:
        return
    with CONSOLE.phase("drawing the grid"):
        try:
            grid.save(request.grid, classifier.names or ())
        except OSError as error:
            raise as_failure(f"{request.grid} cannot be written", error) from error
