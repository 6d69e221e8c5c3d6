"""Images of no class at all: what does a model say where it should say nothing?

The default sets need no download and nothing but scikit-learn, whatever the model was
trained on. A data set or folder of the user's own joins them.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from eval.prediction import image_paths
from trainer.config.schema import DataConfig
from trainer.data import loading, sampler
from trainer.data.preprocessing import PixelSpec, UnreadableImage, decode, read_file
from trainer.errors import InvalidInput

IMAGES = 256  # of each default set
MOST_IMAGES = 1000  # of a set that the user names
_SEED = 0
_TILES = 4  # pieces along a side of an image that is scrambled
_DIGITS = frozenset("0123456789")
_NARROWEST = 48  # pixels of a piece of a photograph


@dataclasses.dataclass(frozen=True)
class NoClassImages:
    """Images that show none of a model's classes.

    Attributes:
        name: one word.
        what: what they show, for a reader.
        images: uint8 [N, H, W, C].
    """

    name: str
    what: str
    images: np.ndarray


def make_defaults(test: np.ndarray, names: Sequence[str]) -> list[NoClassImages]:
    """Makes the default sets for the test images uint8 [N, H, W, C] of a model.

    Args:
        names: of the model's classes. If digits are among them, the set of digits is
            left out.
    """
    shape = test.shape[1:]
    draw = np.random.default_rng(_SEED)
    found = [
        NoClassImages(
            "scrambled",
            f"test images, their {_TILES} x {_TILES} pieces in random places",
            _scramble(test, draw),
        ),
        NoClassImages(
            "photographs",
            "pieces of two photographs of scikit-learn: a temple, a flower",
            _fit(_cut_photographs(draw), shape),
        ),
    ]
    if not _DIGITS & set(names):
        what = "handwritten digits of scikit-learn"
        found.append(NoClassImages("digits", what, _fit(_load_digits(), shape)))
    colours = draw.integers(0, 256, (IMAGES, 1, 1, shape[2]), np.uint8)
    noise = draw.integers(0, 256, (IMAGES, *shape), np.uint8)
    return [
        *found,
        NoClassImages(
            "colours", "one colour each", np.tile(colours, (1, *shape[:2], 1))
        ),
        NoClassImages("noise", "every value random", noise),
    ]


def _scramble(test: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Test images whose pieces change places; a rest at the edges stays."""
    images = np.array(test[sampler.spread_rows(len(test), IMAGES)])
    height, width = (side // _TILES for side in images.shape[1:3])
    if not height or not width:
        return images[:, ::-1]
    corners = [(y * height, x * width) for y in range(_TILES) for x in range(_TILES)]
    for image in images:
        pieces = [image[y : y + height, x : x + width].copy() for y, x in corners]
        for (y, x), piece in zip(corners, draw.permutation(len(pieces)), strict=True):
            image[y : y + height, x : x + width] = pieces[piece]
    return images


def _cut_photographs(draw: np.random.Generator) -> Iterator[np.ndarray]:
    """Square pieces, uint8 [S, S, 3], of any size and place."""
    from sklearn import datasets  # takes two seconds, which --help does not need

    photographs = datasets.load_sample_images().images
    for number in range(IMAGES):
        image = photographs[number % len(photographs)]
        side = int(draw.integers(_NARROWEST, min(image.shape[:2]) + 1))
        top, left = (int(draw.integers(0, room - side + 1)) for room in image.shape[:2])
        yield image[top : top + side, left : left + side]


def _load_digits() -> Iterator[np.ndarray]:
    """Some digits, uint8 [8, 8]."""
    from sklearn import datasets

    images = datasets.load_digits().images
    for row in sampler.spread_rows(len(images), IMAGES):
        yield (images[row] * 255 / 16).astype(np.uint8)


def _fit(images: Iterator[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Images of any size as uint8 [N, *shape]."""
    height, width, channels = shape
    mode = "RGB" if channels == 3 else "L"
    rows = [
        np.asarray(
            Image.fromarray(image)
            .convert(mode)
            .resize((width, height), Image.Resampling.BILINEAR)
        ).reshape(height, width, -1)
        for image in images
    ]
    found = np.stack(rows)
    return found if found.shape[3] == channels else np.repeat(found, channels, axis=3)


def load_named(
    name: str,
    spec: PixelSpec,
    data_dir: str | None,
    say: Callable[[str], object],
) -> NoClassImages:
    """Loads at most MOST_IMAGES images of a folder, a file or a TFDS data set.

    Args:
        name: a path, or the name of a data set, whose test split is taken.
        spec: what their pixels become.
        data_dir: where data sets are; None: TFDS's own folder.
        say: is called with a line about each file that cannot be read.

    Raises:
        InvalidInput: there is no image of that name.
    """
    if os.path.exists(name):
        return NoClassImages("own", name, _read_files(name, spec, say))
    if (
        not name
        or os.sep in name.removesuffix(os.sep)
        and name.startswith((".", "/", "~"))
    ):
        raise InvalidInput(
            f"no_class_data={name} is not there; name a folder of images or a TFDS data"
            " set"
        )
    source = loading.open_source(name, data_dir, say=say)
    wanted = DataConfig(
        image_size=(spec.height, spec.width), channels=spec.channels, resize=spec.resize
    )
    split = source.with_pixels(wanted).load("test")
    rows = sampler.spread_rows(len(split.labels), MOST_IMAGES)
    return NoClassImages("own", source.name, np.array(split.images[rows]))


def _read_files(path: str, spec: PixelSpec, say: Callable[[str], object]) -> np.ndarray:
    found = [one for one in image_paths.find_images([path], ()) if one is not None]
    rows = sampler.spread_rows(len(found), MOST_IMAGES)
    images = []
    for one in (found[row] for row in rows):
        try:
            if one.problem:
                raise UnreadableImage(one.problem)
            images.append(decode(read_file(one.path), spec))
        except (UnreadableImage, OSError) as error:
            say(f"{one.path}: {error} (no_class_data)")
    if not images:
        raise InvalidInput(f"no_class_data={path} has no image that can be read")
    return np.stack(images)
