"""digits: the 1,797 handwritten digits that scikit-learn ships, as a TFDS data set."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

SIZE = 32
TEST_FRACTION = 0.2
SPLIT_SEED = 1797  # any fixed number: the split is part of the data set

DESCRIPTION = """
Digits 0 to 9 of 43 writers, 32x32x3 uint8; made offline from scikit-learn.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49. The 8x8 originals have 17 grey
levels; each pixel becomes 4x4 pixels, smoothed by linear interpolation.
"""


class Digits(tfds.core.GeneratorBasedBuilder):
    """Digits 0 to 9 of 43 writers, 32x32x3 uint8; made offline from scikit-learn."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "1,437 to train on, 360 to test on, stratified."}
    pkg_dir_path = None

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=" ".join(DESCRIPTION.split()),
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(SIZE, SIZE, 3)),
                    "label": tfds.features.ClassLabel(
                        names=[str(n) for n in range(10)]
                    ),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.24432/C50P49",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        from sklearn import datasets, model_selection

        bunch = datasets.load_digits()
        train, test = model_selection.train_test_split(
            np.arange(len(bunch.target)),
            test_size=TEST_FRACTION,
            stratify=bunch.target,
            random_state=SPLIT_SEED,
        )
        return {
            name: self._generate_examples(bunch.images, bunch.target, np.sort(rows))
            for name, rows in (("train", train), ("test", test))
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, rows: np.ndarray
    ) -> Iterator[tuple[str, dict]]:
        for row in rows:
            name = f"digit_{row:04d}"
            yield (
                name,
                {"id": name, "image": enlarge(images[row]), "label": int(labels[row])},
            )


def enlarge(image: np.ndarray) -> np.ndarray:
    """An 8x8 picture of levels 0..16 as uint8 [32, 32, 3]."""
    centres = (np.arange(SIZE) + 0.5) * len(image) / SIZE - 0.5
    low = np.clip(np.floor(centres).astype(int), 0, len(image) - 2)
    part = np.clip(centres - low, 0, 1)
    columns = image[:, low] * (1 - part) + image[:, low + 1] * part
    large = columns[low] * (1 - part[:, None]) + columns[low + 1] * part[:, None]
    return np.repeat(np.rint(large * 255 / 16).astype(np.uint8)[..., None], 3, axis=2)
