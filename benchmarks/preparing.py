"""Measures how fast image files become pixels, against Keras and tf.data.

    python -m benchmarks.preparing --images=900 --image_size=96

The same JPEG files, cropped and resized to the same size, by: the store, from the
listing to the hashes; `keras.utils.image_dataset_from_directory`, iterated once, which
does not antialias; `tf.data` with `tf.image.resize(antialias=True)`, the same filter as
the store's up to rounding. The pictures are noise on a gradient of colours, whose files
are as long as those of photographs.
"""

import contextlib
import os
import pathlib
import resource
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
from absl import flags
from PIL import Image

from benchmarks import interleave
from trainer.cli import command
from trainer.data.store import store
from trainer.data.store.request import FilesRequest
from trainer.monitoring import native_output

SIZE = (500, 375)  # width and height of the files
CLASSES = 3
VALUES = flags.FlagValues()


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags."""
    where = {"flag_values": values, "module_name": "Comparison"}
    flags.DEFINE_integer("images", 900, "Files.", lower_bound=30, **where)
    flags.DEFINE_integer("image_size", 96, "Side in pixels.", lower_bound=8, **where)
    return interleave.define(values)


def write_files(root: pathlib.Path, count: int) -> None:
    """Writes `count` JPEG files of quality 90 in class folders."""
    drawn = np.random.default_rng(0)
    for number in range(count):
        layers = (
            drawn.integers(0, 256, shape).astype(np.uint8)
            for shape in ((12, 16, 3), (188, 250, 3))
        )
        scene, noise = (
            Image.fromarray(layer).resize(SIZE, Image.Resampling.BICUBIC)
            for layer in layers
        )
        path = root / f"class{number % CLASSES}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.blend(scene, noise, 0.15).save(path, quality=90)


def by_store(root: pathlib.Path) -> None:
    """Prepares a store of the files, and removes it."""
    side = VALUES.image_size
    with tempfile.TemporaryDirectory() as folder:
        request = FilesRequest(
            image_dir=str(root), data_dir=folder, image_size=(side, side)
        )
        store.open_store(request, say=lambda _: None)


def by_keras(root: pathlib.Path) -> None:
    """Iterates over Keras' data set of the folder."""
    import keras

    read = keras.utils.image_dataset_from_directory(
        root,
        image_size=(VALUES.image_size,) * 2,
        crop_to_aspect_ratio=True,
        shuffle=False,
        verbose=False,
    )
    for _ in read:
        pass


def by_tf_data(root: pathlib.Path) -> None:
    """Iterates over a tf.data set that antialiases."""
    import tensorflow as tf

    left = (SIZE[0] - SIZE[1]) // 2

    def decode(path: "tf.Tensor") -> "tf.Tensor":
        image = tf.io.decode_jpeg(tf.io.read_file(path), 3)
        middle = image[:, left : left + SIZE[1]]
        sized = tf.image.resize(middle, (VALUES.image_size,) * 2, antialias=True)
        return tf.cast(tf.round(sized), tf.uint8)

    names = sorted(map(str, root.rglob("*.jpg")))
    files = tf.data.Dataset.from_tensor_slices(names)
    for _ in files.map(decode, tf.data.AUTOTUNE).batch(32):
        pass


@contextlib.contextmanager
def counting_seconds(seconds: list[float]) -> Iterator[None]:
    """Appends the processor time of the context to `seconds`."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    user = after.ru_utime - before.ru_utime
    seconds.append(user + after.ru_stime - before.ru_stime)


def speed(
    read: Callable[[pathlib.Path], None], root: pathlib.Path, seconds: list[float]
) -> float:
    """Measures images per second of `read`; its processor time goes to `seconds`."""
    start = time.perf_counter()
    with counting_seconds(seconds):
        read(root)
    return VALUES.images / (time.perf_counter() - start)


def main() -> None:
    """Measures all sides in turn."""
    with native_output.suppress_native_stderr():
        import tensorflow as tf

        tf.config.list_logical_devices()
    readers = {"store": by_store, "keras": by_keras, "tf.data": by_tf_data}
    spent: dict[str, list[float]] = {name: [] for name in readers}
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        write_files(root, VALUES.images)
        for read in readers.values():
            read(root)  # imports, compiles, and fills the page cache
        sides = {
            name: lambda read=read, name=name: speed(read, root, spent[name])
            for name, read in readers.items()
        }
        measured = interleave.interleaved(sides, VALUES.rounds)
    processor = interleave.medians(spent)
    rows = [
        {
            "by": name,
            "images/s": middle,
            "CPU ms/image": 1000 * processor[name] / VALUES.images,
            "by keras": interleave.ratio(measured, name, "keras"),
        }
        for name, middle in interleave.medians(measured).items()
    ]
    settings = {"images": VALUES.images, "image_size": VALUES.image_size}
    interleave.report("preparing", settings | {"cores": os.cpu_count()}, rows)


if __name__ == "__main__":
    command.run("benchmarks.preparing", __doc__, define(VALUES), main)
