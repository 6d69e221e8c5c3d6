"""TFDS data sets: our own builders, and splits decoded into memory.

Importing this module registers our own builder, ``digits``, with TFDS::

    import trainer.data.sources.tfds_source
    tfds.builder("digits").download_and_prepare()
"""

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from trainer import storage, system
from trainer.config.schema import DataConfig
from trainer.data import catalogue, preprocessing
from trainer.data.preprocessing import PixelSpec, UnreadableImage
from trainer.data.sources import digits as digits  # registers itself with TFDS
from trainer.data.sources.literal_paths import take_folders_literally
from trainer.data.split import ARRAYS, Split, split_hashes
from trainer.data.store.kept_splits import LEAST_EXAMPLES, KeptSplits
from trainer.data.store.probing import in_threads
from trainer.errors import DataUnavailable, InvalidInput, first_line
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE, OnBatch
from trainer.storage import as_failure

BATCH = 500  # examples fetched from TFDS at a time
HIDDEN = -1  # TFDS's label of an example whose class is not published


@dataclasses.dataclass(frozen=True)
class TfdsSource:
    """A prepared TFDS data set as a DataSource.

    Attributes:
        builder: of the data set.
        spec: the pixels that its image files become; None: those that TFDS gives.
        held_out: None: a fraction of the training split validates.
    """

    builder: tfds.core.DatasetBuilder
    spec: PixelSpec | None = None
    held_out: None = None

    @property
    def name(self) -> str:
        """Name, configuration and version."""
        return self.builder.info.full_name

    @property
    def folder(self) -> str:
        """The folder of its files."""
        return str(self.builder.data_dir)

    def load(self, which: str) -> Split:
        """Maps the kept pixels of a split into memory, or decodes it: `load_split`."""
        if (kept := self.kept()) and (stored := kept.find((which,))):
            return stored.load(which)
        return self.decode(which)

    def kept(self) -> KeptSplits | None:
        """Where its decoded pixels are kept; None for a small data set."""
        splits = self.builder.info.splits.values()
        if sum(split.num_examples for split in splits) < LEAST_EXAMPLES:
            return None
        return KeptSplits(
            name=self.name,
            data_dir=self._root(),
            folder=self.folder,
            version=f"TensorFlow {tf.__version__}",
            spec=self.spec,
        )

    def _root(self) -> str | None:
        """The folder of data sets that this one lies in; None: it lies elsewhere."""
        inside = f"/{self.name}"
        return (
            self.folder.removesuffix(inside) if self.folder.endswith(inside) else None
        )

    def decode(self, which: str) -> Split:
        """Decodes a split without TensorFlow's own lines, see `load_split`."""
        with native_output.suppress_native_stderr("reading the data set"):
            return load_split(self.builder, which, self.spec)

    def with_pixels(self, data: DataConfig) -> "TfdsSource":
        """The same data set, resized where `data` asks for a size or channels.

        Raises:
            InvalidInput: it is not for image classification, or channels are asked for
                and its images have several sizes.
        """
        image, _ = _features(self.builder)
        height, width, channels = self.builder.info.features[image].shape
        wanted = data.channels or channels or 3
        if data.image_size is not None:
            if (*data.image_size, wanted) == (height, width, channels):
                return self
            spec = PixelSpec(*data.image_size, wanted, data.resize)
            return dataclasses.replace(self, spec=spec)
        if wanted == channels or data.channels is None:
            return self
        if None in (height, width):
            raise InvalidInput(
                f"channels={data.channels} of dataset={self.builder.name} needs an "
                "`image_size`"
            )
        spec = PixelSpec(height, width, wanted, data.resize)
        return dataclasses.replace(self, spec=spec)


def locate(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """The builder of data set `name`, prepared or not; it needs no network.

    Raises:
        InvalidInput: there is no such data set, its files are damaged, or `data_dir` is
            an empty text.
        PeerLost: the storage cannot be read for now.
    """
    if "://" not in (data_dir or ""):  # TFDS reads buckets, too
        place = catalogue.folder(data_dir)  # without a home TFDS would make a folder ~
        data_dir = data_dir and str(place)
    take_folders_literally()
    try:
        return tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except tfds.core.DatasetNotFoundError as error:
        if name == ARRAYS:
            raise DataUnavailable(
                "this run was trained on arrays of a script, which are not in the run; "
                "call trainer.evaluate or trainer.export_tflite in that script and "
                "give them data=..., or name a prepared `dataset`"
            ) from error
        raise InvalidInput(
            f"dataset={name} is neither known to TFDS nor prepared in "
            f"{data_dir or 'its default folder'};\nsee the TFDS catalogue for names, "
            "or use dataset=digits, which needs no download"
        ) from error
    except Exception as error:  # noqa: BLE001  JSON, protobuf, import, file errors
        cause = storage.find_os_error(error)
        if cause is not None and storage.is_temporary_read_error(cause):
            raise as_failure(f"data_dir={data_dir} cannot be read", cause) from error
        why = f" ({storage.reason(cause)})" if cause else ""
        raise InvalidInput(
            f"dataset={name} in data_dir={data_dir} cannot be opened: "
            f"{first_line(error)}{why}"
        ) from error


def load_split(
    builder: tfds.core.DatasetBuilder, which: str, spec: PixelSpec | None = None
) -> Split:
    """Decodes the split `which` ("train" or "test") of a prepared data set.

    The test split of a data set that has none is its "validation" split. With a `spec`
    Pillow decodes as it does files; otherwise TFDS decodes.

    Raises:
        PeerLost: the storage cannot be read for now.
        InvalidInput: it is not a data set for image classification, has images of
            several sizes or a damaged file, or does not fit into memory.
    """
    image, label = _features(builder)
    split = _split_name(builder, which)
    count = builder.info.splits[split].num_examples
    what = f"decoding {builder.name}, {split}"
    try:
        with CONSOLE.count(count, what, "examples") as tick:
            return _decode(builder, split, (image, label), spec, tick)
    except InvalidInput:
        raise
    except (tf.errors.OpError, OSError, ValueError) as error:
        what = f"split {split} of {builder.info.full_name} in {builder.data_dir} cannot"
        if isinstance(error, tf.errors.OpError | OSError):
            cause = storage.parse_os_error(first_line(error))
            if storage.is_temporary_read_error(cause):
                raise as_failure(f"{what} be read", cause) from error
        raise InvalidInput(
            f"{what} be read: {first_line(error)};\nprepare it again in an empty "
            "`data_dir`"
        ) from error


def _features(builder: tfds.core.DatasetBuilder) -> tuple[str, str]:
    """Finds the names of the one image and the one class label."""
    features = builder.info.features
    if not isinstance(features, tfds.features.FeaturesDict):
        raise InvalidInput(f"dataset={builder.name} has no named features")
    images = [k for k, f in features.items() if isinstance(f, tfds.features.Image)]
    labels = [k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
    if builder.info.supervised_keys:
        wanted = builder.info.supervised_keys[:2]
        images = [k for k in images if k in wanted] or images
        labels = [k for k in labels if k in wanted] or labels
    if len(images) != 1 or len(labels) != 1:
        raise InvalidInput(
            f"dataset={builder.name} is not for image classification: it needs one "
            f"image and one class label, got images {images} and labels {labels}"
        )
    if (dtype := features[images[0]].np_dtype) != np.uint8:
        raise InvalidInput(
            f"dataset={builder.name} has {dtype} pixels; uint8 is needed"
        )
    return images[0], labels[0]


def _split_name(builder: tfds.core.DatasetBuilder, which: str) -> str:
    splits = builder.info.splits
    for name in (which, "validation") if which == "test" else (which,):
        if name in splits and splits[name].num_examples:
            return name
    raise InvalidInput(
        f"dataset={builder.name} has no {which} split, only {sorted(splits)}"
    )


def _decode(
    builder: tfds.core.DatasetBuilder,
    split: str,
    keys: tuple[str, str],
    spec: PixelSpec | None,
    tick: OnBatch,
) -> Split:
    label = keys[1]
    count = builder.info.splits[split].num_examples
    features = builder.info.features
    source = _examples(builder, split, keys, spec)
    images = labels = None
    ids: list[str] = []
    for pixels, classes, names in source.batch(BATCH).prefetch(2).as_numpy_iterator():
        if spec is not None:
            pixels = _decode_files(pixels, names, spec)
        if images is None:
            images = _allocate((count, *pixels.shape[1:]), builder)
            labels = np.empty(count, np.int32)
        here = slice(len(ids), len(ids) + len(names))
        if here.stop > count:
            break
        images[here], labels[here] = pixels, classes
        ids += [n.decode() for n in names]
        tick(len(names))
    if len(ids) != count:
        raise ValueError(f"{len(ids)} or more examples where {count} are declared")
    names = tuple(features[label].names)
    if labels.min() == HIDDEN:
        raise InvalidInput(_describe_hidden_labels(builder, split, labels, label))
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(
            f"labels {labels.min()}..{labels.max()} of {len(names)} classes"
        )
    sha256, pixels_sha256 = split_hashes(ids, images, labels)
    return Split(images, labels, tuple(ids), names, sha256, split, pixels_sha256)


def _examples(
    builder: tfds.core.DatasetBuilder,
    split: str,
    keys: tuple[str, str],
    spec: PixelSpec | None,
) -> tf.data.Dataset:
    """Image, label and id of every example; with a `spec` the image is its file."""
    image, label = keys
    features = builder.info.features
    own_id = "id" in features and isinstance(features["id"], tfds.features.Text)
    config = tfds.ReadConfig(add_tfds_id=True, try_autocache=False)
    config.options.deterministic = True
    source = builder.as_dataset(
        split=split,
        read_config=config,
        shuffle_files=False,
        decoders=None if spec is None else {image: tfds.decode.SkipDecoding()},
    )
    source = source.map(
        lambda e: (e[image], e[label], e["id" if own_id else "tfds_id"]),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if spec is None and None in features[image].shape:
        return _check_equal_sizes(source, builder)
    return source


def _decode_files(
    contents: np.ndarray, names: np.ndarray, spec: PixelSpec
) -> np.ndarray:
    """The pixels of image files, uint8 [n, H, W, C].

    Raises:
        ValueError: one cannot be read; the message names it.
    """

    def decode(example: tuple[bytes, bytes]) -> np.ndarray:
        content, name = example
        try:
            return preprocessing.decode(content, spec)
        except UnreadableImage as error:
            raise ValueError(f"{name.decode(errors='replace')}: {error}") from error

    return np.stack(list(in_threads(decode, list(zip(contents, names, strict=True)))))


def _describe_hidden_labels(
    builder: tfds.core.DatasetBuilder, split: str, labels: np.ndarray, label: str
) -> str:
    """The message about a split without labels, as competitions publish them."""
    labelled = [
        name
        for name, info in builder.info.splits.items()
        if name != split and info.num_examples and _has_labels(builder, name, label)
    ]
    return (
        f"split {split} of {builder.info.full_name} hides {(labels == HIDDEN).sum():,} "
        f"of its {len(labels):,} labels ({HIDDEN}), so nothing can be scored on it; "
        f"with labels: {', '.join(labelled) or 'none'};\nname a data set that has one "
        f"of those as its split {split}"
    )


def _has_labels(builder: tfds.core.DatasetBuilder, split: str, label: str) -> bool:
    """Whether every example of `split` has a label."""
    only = tfds.decode.PartialDecoding({label: True})
    source = builder.as_dataset(split=split, decoders=only, shuffle_files=False)
    found = (batch[label] for batch in source.batch(BATCH).as_numpy_iterator())
    return all(labels.min() >= 0 for labels in found)


def _check_equal_sizes(
    source: tf.data.Dataset, builder: tfds.core.DatasetBuilder
) -> tf.data.Dataset:
    """Checks that every image of `source` has the size of the first; returns it."""
    first = next(iter(source.take(1)))[0].shape
    for number, (pixels, *_) in enumerate(source):
        if pixels.shape != first:
            raise InvalidInput(
                f"dataset={builder.name} has images of several sizes: number 0 is "
                f"{tuple(first)}, number {number} is {tuple(pixels.shape)};\nname "
                "the size to train on with `image_size`"
            )
    return source


def _allocate(shape: tuple[int, ...], builder: tfds.core.DatasetBuilder) -> np.ndarray:
    """An empty uint8 array; checks that a copy on the device fits into memory, too."""
    need, free = 2 * int(np.prod(shape)), system.free_bytes()
    if need > free:
        raise InvalidInput(
            f"dataset={builder.name} needs {need:,} bytes in memory, twice its "
            f"{shape} pixels; {free:,} are free: use a smaller data set"
        )
    return np.empty(shape, np.uint8)
