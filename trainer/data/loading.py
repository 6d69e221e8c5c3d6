"""Loads the data set that the options of a run name."""

import os
from collections.abc import Callable
from typing import Any

from trainer.config import parsing
from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.data.dataset import Dataset, Splits
from trainer.data.sources import tfds_preparation
from trainer.data.sources.tfds_source import TfdsSource
from trainer.data.split import IMAGE_DIR, IMAGE_LIST, WITH_TEST, WITHOUT_TEST
from trainer.data.store import store
from trainer.data.store.request import FilesRequest
from trainer.data.store.store import StoredImages
from trainer.errors import DataUnavailable


def load_dataset(
    config: Config, run_config: RunConfig, *, say: Callable[[str], None]
) -> Dataset:
    """Prepares the data set if it is not prepared yet, loads it, holds rows out.

    The test split is not read where `run_config.test` is False.

    Raises:
        DataUnavailable: it is not prepared and cannot be.
        InvalidInput: it is not a data set for image classification.
    """
    write, name = not run_config.dry_run, config.data.dataset
    test = run_config.test
    if name in (IMAGE_DIR, IMAGE_LIST):
        request = FilesRequest.from_configs(config, run_config)
        source = open_files(request, say=say, write=write)
        say(f"{request.option}: its pixels are in {source.manifest.folder}")
        splits = _load_splits(source, test=test)
    else:
        source = open_source(name, run_config.data_dir, say=say, write=write)
        source = source.with_pixels(config.data)
        splits = _load_tfds(name, source, test=test, say=say, keep=write)
    return splits.hold_out(config.data.validation_fraction)


def open_source(
    name: str,
    data_dir: str | None = None,
    *,
    say: Callable[[str], object] = print,
    write: bool = True,
) -> TfdsSource:
    """Opens the TFDS data set `name`, prepared if it is not; decodes nothing yet.

    Args:
        name: of an image-classification data set, e.g. "cifar10".
        data_dir: where TFDS data sets are; None: TFDS's own folder.
        say: shows a message.
        write: whether the data set may be prepared if it is not.

    Raises:
        InvalidInput: there is no such data set.
        DataUnavailable: it is not prepared and cannot be.
    """
    builder = tfds_preparation.prepare(name, data_dir, say=say, write=write)
    return TfdsSource(builder)


def open_files(
    request: FilesRequest,
    *,
    say: Callable[[str], object] = print,
    write: bool = True,
) -> StoredImages:
    """Opens image files as a store, prepared if it is not; see `open_source`.

    Raises:
        InvalidInput: they cannot be used.
        DataUnavailable: they are not prepared and cannot be.
    """
    if request.path is None:
        raise DataUnavailable(
            f"this run was trained on image files ({request.kind}) whose folder or "
            "table it does not name; name it with `image_dir` or `image_list`"
        )
    return store.open_store(request, say=say, write=write)


def from_tfds(
    name: str,
    data_dir: str | None = None,
    *,
    test: bool = True,
    say: Callable[[str], None] = print,
    write: bool = True,
) -> Splits:
    """The train and test splits of the TFDS data set `name`, decoded into memory.

    Without `test` that split is not read. The other arguments are those of
    `open_source`.

    Raises:
        InvalidInput: it cannot be had.
    """
    source = open_source(name, data_dir, say=say, write=write)
    return _load_tfds(name, source, test=test, say=say, keep=write)


def _load_tfds(
    name: str,
    source: TfdsSource,
    *,
    test: bool,
    say: Callable[[str], object],
    keep: bool,
) -> Splits:
    """Loads the splits; keeps their decoded pixels for the next time, if it may."""
    splits, kept = WITH_TEST if test else WITHOUT_TEST, source.kept()
    if keep and kept is not None and kept.find(splits) is None:
        loaded = kept.get(splits, source.decode, say)
    else:
        loaded = {which: source.load(which) for which in splits}
    return Splits(
        source=name,
        name=source.name,
        train=loaded["train"],
        test=loaded.get("test"),
        preprocessing=source.spec,
    )


def from_files(path: str | os.PathLike[str], **options: Any) -> Splits:
    """Image files in class folders, or listed in a table, as train and test splits.

    They are decoded once into a store, which is memory-mapped.

    Args:
        path: a folder, CLASS/FILE or SPLIT/CLASS/FILE, or a .csv or .jsonl table.
        options: of FilesRequest: image_size=(HEIGHT, WIDTH), resize, channels,
            test_fraction, skip_unreadable, data_dir, test=False to leave out the test
            split.

    Raises:
        InvalidInput: the files cannot be used.
        DataUnavailable: the store cannot be written.
    """
    name = parsing.parse_directory("path", os.fspath(path))
    where = {"image_dir" if os.path.isdir(name) else "image_list": name}
    request = FilesRequest(**where, **options)
    return _load_splits(open_files(request), test=request.test)


def _load_splits(source: StoredImages, *, test: bool) -> Splits:
    return Splits(
        source=source.kind,
        name=source.name,
        train=source.load("train"),
        test=source.load("test") if test else None,
        held_out=source.held_out,
        preprocessing=source.preprocessing,
        skipped=source.skipped,
        test_fraction=source.manifest.fields["source"]["test_fraction"],
    )
