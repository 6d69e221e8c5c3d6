"""Training images that are test images as well: what is fitted on them is no proof."""

import numpy as np

from trainer.data.split import Split

# Share of the training images. Pictures of the same thing happen to be equal in large
# sets, a handful in ten thousands; more are a split that was not held out.
LIMIT = 0.01
_ALIKE = 8  # mean difference of pixels; JPEG at quality 75 is at 3 to 6


def test_images(train: Split, test: Split) -> np.ndarray:
    """Whether each image of `train` is one of `test`: bool [N].

    It is if every pixel is the same, or if it has the same id and looks the same: two
    codecs' pixels of one picture differ. Ids alone may begin anew in each split.
    """
    if train.images.shape[1:] != test.images.shape[1:]:
        return np.zeros(len(train.images), bool)
    known = {image.tobytes() for image in test.images}
    seen = np.array([image.tobytes() in known for image in train.images], bool)
    place = {name: row for row, name in enumerate(test.ids)}
    for row, name in enumerate(train.ids):
        if name in place and not seen[row]:
            pair = np.stack([train.images[row], test.images[place[name]]]).astype(int)
            seen[row] = np.abs(np.diff(pair, axis=0)).mean() <= _ALIKE
    return seen


def found(seen: np.ndarray) -> str | None:
    """What is wrong if so many of the training images, bool [N], are test images."""
    if not seen.any() or seen.mean() <= LIMIT:
        return None
    return f"{int(seen.sum()):,} of the {len(seen):,} training images are test images"
