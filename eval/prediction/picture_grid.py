"""PictureGrid: a picture of some image files with their answers."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from eval.prediction.image_classifier import FilePrediction
from trainer import files
from trainer.monitoring import pictures

MOST = 64  # files in the picture
SIDE = 192  # pixels of a file that are kept
_RIGHT, _WRONG, _UNKNOWN = "#1a7f37", "#cf222e", "black"


class PictureGrid:
    """Chooses files evenly among all that are predicted, and draws them.

    Of files 0, 1, 2 and so on those at every `_stride`-th place are kept. When there
    are more than MOST, every second one is dropped and the stride doubled: half as many
    to MOST files are shown, from the first folder to the last, and no more are ever
    held in memory.
    """

    def __init__(self, threshold: float | None = None) -> None:
        """Starts empty; answers below `threshold` are drawn as unknown."""
        self._kept: list[tuple[np.ndarray, int, float, str | None]] = []
        self._threshold = threshold or 0.0
        self._seen, self._stride = 0, 1

    def add(self, one: FilePrediction) -> None:
        """Keeps a prediction if its turn has come."""
        if self._seen % self._stride == 0:
            answer = int(np.argmax(one.probabilities))
            probability = float(one.probabilities[answer])
            self._kept.append((_shrink(one.pixels), answer, probability, one.label))
            if len(self._kept) > MOST:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._seen += 1

    def save(self, path: pathlib.Path, names: Sequence[str]) -> None:
        """Draws the files that were kept, and writes a PNG; nothing if there is none.

        Answers in green are right, in red wrong, by the class folder of the file.

        Raises:
            OSError: it cannot be written.
        """
        if not self._kept:
            return
        letters = pictures.lettering(names, longest=14)
        least = self._threshold
        texts = [
            f"{letters.labels[k] if p >= least else 'unknown'} {p:.0%}"
            for _, k, p, _ in self._kept
        ]
        inks = [
            _ink(label if p >= least else None, names[k])
            for _, k, p, label in self._kept
        ]
        images = [image for image, *_ in self._kept]
        drawn = pictures.draw_grid(images, texts, inks, families=letters.families)
        buffer = io.BytesIO()
        Image.fromarray(drawn).save(buffer, "png")
        files.write_bytes(path, buffer.getvalue())


def _ink(label: str | None, answer: str) -> str:
    if label is None:
        return _UNKNOWN
    return _RIGHT if label == answer else _WRONG


def _shrink(pixels: np.ndarray) -> np.ndarray:
    """A copy of an image in colour, at most SIDE pixels wide and high."""
    shown = Image.fromarray(np.squeeze(pixels, 2) if pixels.shape[2] == 1 else pixels)
    shown.thumbnail((SIDE, SIDE))
    return np.array(shown.convert("RGB"))
