"""The library: train, load and evaluate from a script or notebook.

`import trainer` offers `train` and `load` under its own name. They are kept here,
above both packages, because a trained model that predicts is calibrated as a report is.
"""

import contextlib
import dataclasses
import os
import re
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from eval import model_source
from eval.metrics import calibration
from eval.metrics.validation_rows import ValidationAnswers
from eval.prediction.image_classifier import ImageClassifier
from eval.prediction.image_paths import ImagePath
from trainer.config.parsing import parse_init_from
from trainer.config.run_config import RunConfig
from trainer.config.schema import PENDING, Config
from trainer.contract import EXIT_INTERRUPTED
from trainer.data.dataset import Splits
from trainer.data.preprocessing import UnreadableImage
from trainer.data.split import check_source
from trainer.distributed.shutdown import KeyboardRequest
from trainer.errors import Interrupted, InvalidInput
from trainer.models import registry
from trainer.models.lookup import own_network
from trainer.pretrained.source import add_sha256
from trainer.rundir import checks, layout
from trainer.rundir.layout import Run
from trainer.training import network, start
from trainer.training.loop import Callback
from trainer.training.start import ScriptInputs

Network = Callable[..., Any]  # a function, or a Keras model


class TrainingResult(types.SimpleNamespace):
    """The keys of result.json as attributes, see docs/run_directory.md.

    Attributes:
        run_dir: where the run is. Workers other than the chief, which alone tests and
            writes, have this one only.
    """


def train(
    config: Config,
    data: Splits,
    *,
    model: Network | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    run_config: RunConfig | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainingResult:
    """Trains a network, or resumes the run in `run_dir`, with the commands' exactness.

    Ctrl-C stops after a checkpoint; the same call resumes.

    Args:
        config: what decides the numbers; `data` decides the data set.
        data: from `trainer.data.from_arrays` or `from_tfds`.
        model: a function (x, num_classes, *, option=default) -> logits, a function
            (num_classes, image_shape, *, option=default) -> Keras model, or a Keras
            model, see docs/models.md; None: the network that `config` names.
        run_dir: a new directory or the run to resume; None: a new one under runs/.
        run_config: where and how it runs; `run_dir` overrides its own.
        callbacks: called with the TrainState and the StepOutput after each block, on
            every worker; when one is called, a checkpoint that was due is saved.

    Raises:
        InvalidInput: a value is out of range, `data` is no data set or not as `config`
            asks, or another config was used in `run_dir`.
        TrainingFailed: the loss is not finite, or the disk takes no more.
        KeyboardInterrupt: stopped, after a checkpoint.
    """
    run_config = _locate(run_config or RunConfig(), run_dir)
    config, run_config = _complete(config, run_config, data, model)
    run = checks.select_run(config, run_config)
    how = (run, config, run_config, ScriptInputs(data, model, callbacks))
    result = _load_finished(*how) or _train(*how)
    if result is None:
        return TrainingResult(run_dir=run.path)
    _calibrate(run, data)
    return TrainingResult(run_dir=run.path, **result)


def _locate(run_config: RunConfig, run_dir: str | os.PathLike[str] | None) -> RunConfig:
    """`run_config` with the directory that the caller names."""
    if run_config.dry_run:
        raise InvalidInput("dry_run=True trains nothing; leave `dry_run` out")
    if run_config.init_from is not None:
        init_from = parse_init_from("init_from", os.fspath(run_config.init_from))
        run_config = dataclasses.replace(run_config, init_from=init_from)
    if run_dir is None:
        return run_config
    path = os.path.abspath(os.path.expanduser(run_dir))
    return dataclasses.replace(run_config, run_dir=path)


def _train(
    run: Run,
    config: Config,
    run_config: RunConfig,
    script: ScriptInputs,
) -> dict[str, Any] | None:
    layout.check_storage(run)
    with _stopping_on_interrupt() as request:
        return start.train(run, config, run_config, request, script=script)


def _load_finished(
    run: Run, config: Config, run_config: RunConfig, script: ScriptInputs
) -> dict[str, Any] | None:
    """The result of a run that is finished, if it was trained with this network."""
    if (result := run.result()) is not None and config.model.architecture == PENDING:
        dataset = script.splits.hold_out(config.data.validation_fraction)
        file = own_network.reopen_network(config.model, run_config.model_file)
        built = network.describe_network(config, dataset, file, script.network)
        start.adopt_network(run, built)
    return result


def _complete(
    config: Config, run_config: RunConfig, data: Splits, model: Network | None
) -> tuple[Config, RunConfig]:
    """Both configs with the data set, the network and the hash of `init_from`."""
    check_source(data)
    data.check_options(config.data)
    named = dataclasses.replace(config.data, dataset=data.source)
    config = dataclasses.replace(config, data=named)
    if model is None:
        config, run_config = registry.locate_network(config, run_config)
        return add_sha256(config, run_config), run_config
    named = dataclasses.replace(
        config.model, name=_network_name(model), architecture=PENDING
    )
    config = dataclasses.replace(config, model=named)
    return add_sha256(config, run_config), run_config


def _network_name(model: Network) -> str:
    """The name of a function or model, without the number that Keras may give it."""
    name = getattr(model, "__name__", None) or getattr(model, "name", "network")
    return re.sub(r"^(sequential|functional)_\d+$", r"\1", name)


@contextlib.contextmanager
def _stopping_on_interrupt() -> Iterator[KeyboardRequest]:
    request = KeyboardRequest()
    try:
        yield request
    except Interrupted as error:
        if error.code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt(str(error)) from None
        raise
    finally:
        request.restore()


def _calibrate(run: Run, data: Splits) -> None:
    """Fits the temperature of a finished run, unless calibration.json has it."""
    source = model_source.from_run(run)
    test = data.test if layout.was_tested(run.result()) else None

    def predict(images: np.ndarray) -> np.ndarray:
        shape, classes = data.train.images.shape[1:], len(data.train.names)
        return source.open(shape, classes)(images, _ignore)

    answers = ValidationAnswers(run, predict, lambda: data.train, test, data.held_out)
    calibration.from_run(answers, source.facts["sha256"])


def _ignore(_: int) -> None:
    """Tells nobody how many images are done."""


class TrainedModel:
    """A finished run that classifies images.

    Attributes:
        names: of the classes, by label.
        image_shape: height, width, channels.
        temperature: what logits are divided by; 1.0 where none could be fitted.
    """

    def __init__(self, run: Run) -> None:
        self._classifier = ImageClassifier(model_source.from_run(run))
        self.names = self._classifier.names
        self.image_shape = self._classifier.spec.shape
        self.temperature = self._classifier.temperature

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float32 [N, classes], of uint8 [N, H, W, C].

        Raises:
            InvalidInput: the images have another dtype or shape.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape:
            raise InvalidInput(
                f"images must be uint8 [N, {', '.join(map(str, self.image_shape))}], "
                f"got {images.dtype} {list(images.shape)}"
            )
        return self._classifier.predict(images).astype(np.float32)

    def predict_files(self, paths: Iterable[str | os.PathLike[str]]) -> np.ndarray:
        """Calibrated probabilities, float32 [N, classes], of image files.

        They are decoded as the run's own images were, a few at a time.

        Raises:
            UnreadableImage: a file cannot be read; the message names it.
        """
        rows = [np.empty((0, len(self.names)), np.float32)]
        found = (ImagePath(os.fspath(path)) for path in paths)
        for chunk in self._classifier.predict_files(found):
            for one in chunk:
                if one.problem:
                    raise UnreadableImage(f"{one.path}: {one.problem}")
            rows.append(np.stack([one.probabilities for one in chunk]))
        return np.concatenate(rows).astype(np.float32)


def load(run_dir: str | os.PathLike[str]) -> TrainedModel:
    """The model of a finished run; needs neither its script nor its data.

    Raises:
        InvalidInput: there is no finished run, or its files are damaged.
    """
    return TrainedModel(layout.open_run(os.fspath(run_dir)))
