"""ImageClassifier: image files to calibrated probabilities by a run or model file."""

import collections
import concurrent.futures
import dataclasses
import time
from collections.abc import Iterable, Iterator

import numpy as np

from eval.metrics import calibration
from eval.model_source import ModelSource
from eval.prediction.image_paths import ImagePath
from eval.predictors import engine
from eval.predictors.predictor import Predictor
from trainer.config.enums import Resize
from trainer.config.serialization import misfit
from trainer.data.preprocessing import PixelSpec, UnreadableImage, decode, read_file
from trainer.errors import InvalidInput
from trainer.models import evaluator

CHUNK_BYTES = 1 << 26  # of the pixels that are predicted at once
CHUNK_SECS = 1.0  # after which the files that are decoded so far are predicted
_WINDOW = 32  # files whose decoding has begun; a core holds one before it is resized


@dataclasses.dataclass(frozen=True)
class FilePrediction:
    """The answer to an image file.

    Attributes:
        path: of the file.
        label: the class in whose folder it lies; None: in none.
        pixels: uint8 [H, W, C], as the model sees them; None: it cannot be read.
        probabilities: float64 [classes]; None: it cannot be read.
        problem: why it cannot be read, "" if it can.
    """

    path: str
    label: str | None
    pixels: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    problem: str = ""


class ImageClassifier:
    """A model and the specification of the pixels that it takes.

    Attributes:
        name: of the model, for messages.
        names: of the classes, by label; None: their number is not known before the
            first prediction, which sets it.
        spec: how image files become pixels.
        temperature: what logits are divided by; 1.0 where there is none.
        calibrated: whether that, or the file itself, calibrates the probabilities.
        notes: lines that a reader of the predictions must know.
    """

    def __init__(
        self,
        source: ModelSource,
        resize: Resize | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        """Opens the model of `source`.

        Args:
            resize: what happens to images of another shape; None: what the model
                records, otherwise CROP.
            image_size: height and width where the model takes any; None: its own.

        Raises:
            InvalidInput: it classifies no images, or of no known size.
        """
        self.name = source.name
        self._predictor, shape = _open_predictor(source, image_size)
        self.spec = _choose_spec(source, shape, resize)
        self.names = _class_names(source, self._predictor)
        state = _find_calibration(source)
        self.temperature = state.temperature or 1.0
        self.calibrated = state.state is not calibration.State.UNCALIBRATED
        self.notes = list(self._predictor.notes)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float64 [N, classes], of uint8 [N, H, W, C].

        Raises:
            ValueError: an output is not finite or no probability.
        """
        found = self._predictor(images)
        if self.names is None:
            self.names = tuple(map(str, range(found.shape[1])))
        return calibration.apply_temperature(
            found, self.temperature, self._predictor.min_probability
        )

    def predict_files(
        self, paths: Iterable[ImagePath | None]
    ) -> Iterator[list[FilePrediction]]:
        """Answers files in the order of `paths`, in lists as they are done.

        A list has as many files as are predicted at once, or what was decoded within
        CHUNK_SECS, or before a None among `paths`.

        Raises:
            InvalidInput: the model's images are neither grey nor RGB.
            ValueError: an output is not finite or no probability.
        """
        if self.spec.channels not in (1, 3):
            raise InvalidInput(
                f"{self.name} takes images {' x '.join(map(str, self.spec.shape))};"
                " image files have 1 channel or 3, which is the last side"
            )
        for chunk in _chunks(_decode_in_order(paths, self.spec), self.spec):
            pixels = [one.pixels for one in chunk if one.pixels is not None]
            rows = iter(self.predict(np.stack(pixels)) if pixels else ())
            yield [
                one
                if one.pixels is None
                else dataclasses.replace(one, probabilities=next(rows))
                for one in chunk
            ]


def _open_predictor(
    source: ModelSource, image_size: tuple[int, int] | None
) -> tuple[Predictor, tuple[int, int, int]]:
    """The predictor, and the height, width and channels of its images."""
    if source.run is not None:
        if source.image_shape is None or source.classes is None:
            raise InvalidInput(
                f"{source.run.path / 'config.json'} does not say what images and "
                "classes the run has"
            )
        _check_size(source.name, source.image_shape, image_size)
        shape = tuple(source.image_shape)
        return source.open(shape, len(source.classes)), shape
    predictor = source.open((0, 0, 0), 0)  # a file says itself what it takes
    if predictor.model.classes is not None and predictor.model.classes < 2:
        raise InvalidInput(
            f"{source.name} gives {predictor.model.classes} number for an image; a "
            "classifier gives one for each class"
        )
    own = predictor.model.shape
    _check_size(source.name, own, image_size)
    given = (*(image_size or (None, None)), 3)
    whole = [side or other for side, other in zip(own, given, strict=True)]
    if None in whole:
        raise InvalidInput(
            f"{source.name} takes images of any size; name one with `image_size`"
        )
    return predictor, tuple(whole)


def _check_size(
    name: str, own: tuple[int | None, ...], image_size: tuple[int, int] | None
) -> None:
    pairs = zip(own, image_size or (), strict=False)
    if any(side not in (None, given) for side, given in pairs):
        raise InvalidInput(
            f"image_size={image_size[0]}x{image_size[1]}: {name} takes images of"
            f" {own[0]}x{own[1]} only"
        )


def _choose_spec(
    source: ModelSource, shape: tuple[int, int, int], resize: Resize | None
) -> PixelSpec:
    """The specification that the model records, for images of `shape`."""
    described = source.manifest
    if source.run is not None:
        described = source.run.recorded().get("data", {})
    found = described.get("preprocessing")
    known = [member.value for member in Resize]
    if not isinstance(found, dict) or misfit(found, {"resize": str}):
        found = {}
    own = found.get("resize")
    recorded = Resize(own) if own in known else Resize.CROP
    return PixelSpec(*shape, resize or recorded)


def _class_names(source: ModelSource, predictor: Predictor) -> tuple[str, ...] | None:
    if source.classes is not None:
        return tuple(map(str, source.classes))
    count = predictor.model.classes
    return None if count is None else tuple(map(str, range(count)))


def _find_calibration(source: ModelSource) -> calibration.Calibration:
    if source.run is None:
        return calibration.from_manifest(source.manifest)
    saved = source.final and calibration.load_saved(source.run, source.facts["sha256"])
    return saved or calibration.uncalibrated("Uncalibrated: no temperature is fitted.")


def _decode_in_order(
    paths: Iterable[ImagePath | None], spec: PixelSpec
) -> Iterator[FilePrediction | None]:
    """Decodes files on every core, a few ahead of the one that is asked for."""
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(engine.cores())
    try:
        for path in paths:
            if path is not None:
                waiting.append(pool.submit(_decode_file, path, spec))
            while waiting and (path is None or len(waiting) >= _WINDOW):
                yield waiting.popleft().result()
            if path is None:
                yield None
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_file(image: ImagePath, spec: PixelSpec) -> FilePrediction:
    reason, pixels = image.problem, None
    if not reason:
        try:
            content = read_file(image.path)
            pixels = decode(content, spec)
        except UnreadableImage as error:
            reason = str(error)
        except OSError as error:
            reason = error.strerror or str(error)
    return FilePrediction(image.path, image.label, pixels, problem=reason)


def _chunks(
    decoded: Iterable[FilePrediction | None], spec: PixelSpec
) -> Iterator[list[FilePrediction]]:
    most = CHUNK_BYTES // (spec.height * spec.width * spec.channels)
    most = max(1, min(evaluator.BATCH, most))
    chunk: list[FilePrediction] = []
    began = time.monotonic()
    for one in decoded:
        if one is not None:
            chunk.append(one)
        late = time.monotonic() - began >= CHUNK_SECS
        if chunk and (one is None or late or len(chunk) == most):
            yield chunk
            chunk, began = [], time.monotonic()
    if chunk:
        yield chunk
