"""Prepares a TFDS data set once, however many processes ask for it.

Synopsis::

    python -m trainer.prepare --dataset=digits --data_dir=data
"""

import contextlib
import pathlib
import shutil
import sys
import typing
from collections.abc import Callable

from trainer.data import catalogue
from trainer.data.sources import tfds_source
from trainer.data.sources.reachability import check_reachable
from trainer.data.store.lock import preparation_lock
from trainer.errors import DataUnavailable, first_line
from trainer.monitoring import bars
from trainer.monitoring.progress import CONSOLE

if typing.TYPE_CHECKING:
    import tensorflow_datasets as tfds


def prepare(
    name: str, data_dir: str | None, *, say: Callable[[str], None], write: bool = True
) -> "tfds.core.DatasetBuilder":
    """Prepares the data set `name` unless it is prepared; returns its builder.

    Args:
        name: of a TFDS data set.
        data_dir: where it is or goes; None: the default folder of TFDS. It may be
            read-only once the data set is prepared.
        say: receives messages for the user.
        write: False refuses to prepare anything.

    Raises:
        InvalidInput: TFDS does not know the name.
        DataUnavailable: it cannot be downloaded or written.
    """
    builder = tfds_source.locate(name, data_dir)
    if builder.is_prepared():
        return builder
    if not write:
        root = builder._data_dir_root
        raise catalogue.unprepared(name, builder.data_dir, root)
    if urls := [url for url in builder.url_infos or () if url.startswith("http")]:
        check_reachable(urls[0], builder.name, builder.data_dir)
    root = pathlib.Path(builder._data_dir_root)
    with preparation_lock(root, builder.name, f"dataset={name}", say) as alone:
        builder = tfds_source.locate(name, data_dir)
        if not builder.is_prepared():
            _check_absent(builder)
            say(f"preparing {builder.info.full_name} in {builder.data_dir}")
            with CONSOLE.phase(f"preparing {builder.info.full_name}"):
                _prepare(builder, alone=alone)
    return tfds_source.locate(name, data_dir)


def _check_absent(builder: "tfds.core.DatasetBuilder") -> None:
    """Checks that no foreign folder has the name: TFDS renames a finished folder."""
    folder = pathlib.Path(builder.data_dir)
    if folder.exists() and not builder.is_prepared():
        raise DataUnavailable(
            f"{folder} holds no dataset_info.json, so its data set is incomplete;\n"
            "move it away, or name another `data_dir`"
        )


def _prepare(builder: "tfds.core.DatasetBuilder", *, alone: bool) -> None:
    """Prepares the data set; another process may win the race unless `alone`."""
    import tensorflow_datasets as tfds

    lines = contextlib.nullcontext() if sys.stderr.isatty() else bars.show_as_lines()
    folder = pathlib.Path(builder.data_dir)
    if alone:  # left by a process that was killed
        for left in folder.parent.glob("incomplete.*"):
            shutil.rmtree(left, ignore_errors=True)
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        with contextlib.redirect_stdout(sys.stderr), lines:
            builder.download_and_prepare(download_config=config)
    except (AssertionError, OSError, ValueError, RuntimeError) as error:
        if not alone and builder.is_prepared():
            return
        raise DataUnavailable(
            f"dataset={builder.name} could not be prepared in {folder}: "
            f"{first_line(error)}"
        ) from error
