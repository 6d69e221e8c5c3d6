"""Leakage: finds training images that are also test images."""

import numpy as np

from trainer.data.split import Split

# Fraction of the training images. In large sets a few images in ten thousand are equal
# by chance; more mean that the test split was not held out.
LIMIT = 0.01
_ALIKE = 8  # mean difference of pixels; JPEG at quality 75 changes them by 3 to 6


def find_test_images(train: Split, test: Split | None) -> np.ndarray:
    """Whether each image of `train` is one of `test`: bool [N].

    None are if `test` is None: the test split is closed, and nothing is compared.
    Two images count as one if all pixels are equal, or if they have the same id and
    similar pixels, as two codecs decode differently. Equal ids alone prove nothing:
    they may start again in each split.
    """
    if test is None or train.images.shape[1:] != test.images.shape[1:]:
        return np.zeros(len(train.images), bool)
    known = set(test.image_digests)
    seen = np.array([digest in known for digest in train.image_digests], bool)
    row_by_id = {name: row for row, name in enumerate(test.ids)}
    for row, name in enumerate(train.ids):
        if name in row_by_id and not seen[row]:
            pair = np.stack([train.images[row], test.images[row_by_id[name]]]).astype(
                int
            )
            seen[row] = np.abs(np.diff(pair, axis=0)).mean() <= _ALIKE
    return seen


def describe_leak(seen: np.ndarray) -> str | None:
    """Describes the leak if too many training images, bool [N], are test images."""
    if not seen.any() or seen.mean() <= LIMIT:
        return None
    return f"{int(seen.sum()):,} of the {len(seen):,} training images are test images"
