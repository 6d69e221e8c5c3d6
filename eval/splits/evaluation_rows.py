"""Chooses the images that judge a model: its test split, or its validation rows.

A run that was trained without a test, as the runs of a study are, is judged by the rows
that it held out of its training, until somebody asks for the test split by name.
"""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from eval.model_source import ModelSource
from eval.splits.evaluation_options import EvaluationSplit
from trainer.data import sampler
from trainer.data.split import DataSource, Split, split_hashes
from trainer.errors import InvalidInput
from trainer.rundir import test_openings


def choose(
    sources: Sequence[ModelSource], asked: EvaluationSplit | None
) -> EvaluationSplit:
    """The split that is asked for; by default the test where no model is sealed."""
    if asked is not None:
        return asked
    tested = all(source.tested for source in sources)
    return EvaluationSplit.TEST if tested else EvaluationSplit.VALIDATION


def load(
    kind: EvaluationSplit,
    sources: Sequence[ModelSource],
    data: DataSource,
    say: Callable[[str], object],
) -> Split:
    """Loads the images that judge `sources`.

    An opening of the test split of a study is recorded first; `say` is called with a
    line about it.

    Raises:
        InvalidInput: `data` are not those of the models, no row was held out by all of
            them, or an opening cannot be recorded.
    """
    if kind is EvaluationSplit.VALIDATION:
        return _validation_rows(sources, data)
    for source in sources:
        path = source.run.path if source.run else pathlib.Path(source.facts["path"])
        weights = source.manifest.get("weights_sha256") or source.facts["sha256"]
        if line := test_openings.record(path, weights):
            say(line)
    return data.load("test")


def _validation_rows(sources: Sequence[ModelSource], data: DataSource) -> Split:
    train = data.load("train")
    known = [one for one in sources if one.validation_fraction is not None]
    if not known:
        raise InvalidInput(
            f"{sources[0].name} does not say which rows it held out of its training;"
            "\nevaluate it on a test split, with split=test"
        )
    rows = np.arange(len(train.labels))
    for source in known:
        rows = np.intersect1d(rows, _own_rows(source, train, data))
    if not len(rows):
        raise InvalidInput(
            "no row was held out by every model that is compared, and one of them was "
            "trained without a test;\nopen the test split with split=test"
        )
    images, labels = train.images[rows], train.labels[rows]
    ids = tuple(train.ids[row] for row in rows)
    sha256, pixels_sha256 = split_hashes(ids, images, labels)
    name = EvaluationSplit.VALIDATION.value
    return Split(
        images, labels, ids, train.names, sha256, name, pixels_sha256, held_out=True
    )


def _own_rows(source: ModelSource, train: Split, data: DataSource) -> np.ndarray:
    """The rows that `source` held out.

    Raises:
        InvalidInput: there are none, or `train` is not what it was trained on.
    """
    if source.trained_on.get("train") != train.sha256:
        raise InvalidInput(
            f"{data.name} is not what {source.name} was trained on, so it has none of "
            "its validation rows;\nname its own data, or open a test split with "
            "split=test"
        )
    fraction = source.validation_fraction
    _, rows = sampler.validation_split(train.labels, fraction, data.held_out)
    if not len(rows):
        raise InvalidInput(
            f"{source.name} was trained without validation rows and without a test, so "
            "nothing is left that may judge it;\nopen the test split with split=test"
        )
    return rows


def describe(split: Split, name: str) -> str | None:
    """A line where `split` are validation rows of the model `name`; otherwise None."""
    if not split.held_out:
        return None
    return (
        f"{name} is judged by the {len(split.labels):,} validation rows that its"
        " training held out, not by the test split (split=test opens that); where it"
        " was chosen by them, or its temperature was fitted on them, they flatter it"
    )
