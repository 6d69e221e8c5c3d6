"""Data sets that TensorFlow reads, and a run's probabilities for what it did not see.

This module loads TensorFlow; a folder of image files is inspected without it.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from eval import model_source, runner
from eval.inspection import inspected_data
from eval.inspection.inspected_data import InspectedData, InspectedImage
from eval.model_source import ModelSource
from eval.splits.evaluation_options import DataChoice
from trainer import errors
from trainer.data import loading, sampler
from trainer.data.sources.image_files import TEST, TRAIN, VALIDATION
from trainer.data.split import IMAGE_DIR, IMAGE_LIST, DataSource, Split
from trainer.data.store.request import FilesRequest
from trainer.data.store.store import StoredImages
from trainer.errors import InvalidInput
from trainer.monitoring.progress import CONSOLE
from trainer.rundir.layout import Run


@dataclasses.dataclass(frozen=True)
class OutOfSample:
    """Probabilities of images that a model was not trained on.

    Attributes:
        model: its name.
        rows: of an InspectedData, int64 [N].
        probabilities: float64 [N, C].
    """

    model: str
    rows: np.ndarray
    probabilities: np.ndarray


def open_dataset(images: DataChoice, say: Callable[[str], object]) -> InspectedData:
    """The TFDS data set that `images` names, prepared if it is not.

    Raises:
        InvalidInput: there is none, or it is not prepared and cannot be.
    """
    source = loading.open_source(images.dataset, images.data_dir, say=say)
    train, test = source.load("train"), source.load("test")
    return _from_splits(source.name, train, test, np.zeros(0, int))


def open_trained(
    run: Run, images: DataChoice, say: Callable[[str], object]
) -> tuple[InspectedData, OutOfSample]:
    """The data of a finished run, split as it was, and probabilities of unseen rows.

    Those are the test rows and the rows that were held out of the training; of other
    data than the run's own, the test rows alone. The test split of a run that was
    trained without a test stays closed.

    Raises:
        InvalidInput: the run has not finished, or its data cannot be used.
        TrainingFailed: its outputs are no numbers.
    """
    source = model_source.from_run(run)
    runner.start_devices()
    named = images.image_dir or images.image_list
    if named or (images.dataset or source.dataset) in (IMAGE_DIR, IMAGE_LIST):
        # What cannot be read is a finding, no obstacle.
        images = dataclasses.replace(images, skip_unreadable=True)
    opened = runner.open_data(source, images, say, test=source.tested)
    train = opened.load("train")
    test = opened.load("test") if source.tested else None
    held = _held_out_rows(source, opened, train, say)
    predictor = runner.open_predictor(source, test or train)
    parts = [train.images[held], *([test.images] if test else [])]
    with (
        errors.failing_on_value_errors(source.name),
        CONSOLE.count(sum(map(len, parts)), "predicting unseen images") as tick,
    ):
        found = np.concatenate([predictor(part, tick) for part in parts if len(part)])
    data, rows = _with_splits(opened, train, test, held)
    known = rows >= 0
    return data, OutOfSample(source.name, rows[known], found[known])


def _held_out_rows(
    source: ModelSource,
    opened: DataSource,
    train: Split,
    say: Callable[[str], object],
) -> np.ndarray:
    """The rows of `train` that the training of `source` held out, if it is its own.

    Raises:
        InvalidInput: there are none, and the test split stays closed.
    """
    held = np.zeros(0, int)
    if train.sha256 == source.trained_on.get("train"):
        fraction = source.validation_fraction
        _, held = sampler.validation_split(train.labels, fraction, opened.held_out)
    elif source.tested:
        say(
            f"{opened.name} is not what {source.name} was trained on: its test split"
            " alone is searched for label errors"
        )
    if not source.tested and not len(held):
        raise InvalidInput(
            f"{source.name} was trained without a test, and {opened.name} has no rows "
            "that it held out, so nothing is left to search;\nname its own data, or "
            "inspect the data set without a run"
        )
    return held


def _with_splits(
    opened: DataSource, train: Split, test: Split | None, held: np.ndarray
) -> tuple[InspectedData, np.ndarray]:
    """The data, its rows named as they were split, and the rows not trained on.

    Those are the rows of `held`, then those of `test`: int64, -1 for a file that is
    gone.
    """
    tested = test.ids if test else ()
    if not isinstance(opened, StoredImages):
        data = _from_splits(opened.name, train, test, held)
        return data, np.concatenate([held, len(train.labels) + np.arange(len(tested))])
    request = FilesRequest(**{opened.kind: opened.folder}, test=test is not None)
    splits = dict.fromkeys(train.ids, TRAIN)
    splits |= dict.fromkeys([train.ids[row] for row in held], VALIDATION)
    splits |= dict.fromkeys(tested, TEST)
    data = inspected_data.from_listing(request.list_files(), splits)
    place = {image.name: row for row, image in enumerate(data.images)}
    names = [*(train.ids[row] for row in held), *tested]
    return data, np.array([place.get(name, -1) for name in names])


def _from_splits(
    name: str, train: Split, test: Split | None, held: np.ndarray
) -> InspectedData:
    """A data set of pixels, its training rows `held` out as validation."""
    unseen = set(held.tolist())
    parts = [
        [
            InspectedImage(
                str(train.ids[row]),
                VALIDATION if row in unseen else TRAIN,
                int(label),
            )
            for row, label in enumerate(train.labels)
        ],
    ]
    pixels = [train.images]
    if test is not None:
        named = zip(test.ids, test.labels, strict=True)
        parts.append([InspectedImage(str(n), TEST, int(label)) for n, label in named])
        pixels.append(test.images)
    pairs = list(zip(parts, pixels, strict=True))
    return inspected_data.from_arrays(name, train.names, pairs)
