"""Prepares a TFDS data set once, however many processes ask for it.

Synopsis::

    python -m trainer.prepare --dataset=digits --data_dir=data
"""

import contextlib
import os
import pathlib
import queue
import shutil
import sys
import threading
import typing
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from absl import flags

from trainer import commandline, files, quiet
from trainer.commandline import UsageError, first_line
from trainer.progress import CONSOLE

if typing.TYPE_CHECKING:
    import tensorflow_datasets as tfds

REACH_SECS = 5  # to answer a request for the first byte of a download


def ensure(
    name: str, data_dir: str | None, *, say: Callable[[str], None], write: bool = True
) -> "tfds.core.DatasetBuilder":
    """The builder of `name`, prepared; a prepared folder may be read-only.

    Raises:
        UsageError: unknown, not to be had without network, or no right to write.
    """
    from trainer import datasets

    builder = datasets.locate(name, data_dir)
    if builder.is_prepared():
        return builder
    if not write:
        raise UsageError(
            f"--dataset={name} is not prepared in {builder.data_dir} and --dry_run "
            f"writes nothing; run python -m trainer.prepare --dataset={name} "
            f"--data_dir={builder._data_dir_root} first"
        )
    _check_reachable(builder)
    with _turn(builder, say) as alone:
        builder = datasets.locate(name, data_dir)
        if not builder.is_prepared():
            _check_absent(builder)
            say(f"preparing {builder.info.full_name} in {builder.data_dir}")
            with CONSOLE.phase(f"preparing {builder.info.full_name}"):
                _prepare(builder, alone=alone)
    return datasets.locate(name, data_dir)


def _check_absent(builder: "tfds.core.DatasetBuilder") -> None:
    """TFDS renames a finished folder; one that stands here unprepared is not ours."""
    folder = pathlib.Path(builder.data_dir)
    if folder.exists() and not builder.is_prepared():
        raise UsageError(
            f"{folder} holds no dataset_info.json, so it is no whole data set;\n"
            "move it away, or name another --data_dir"
        )


def _prepare(builder: "tfds.core.DatasetBuilder", *, alone: bool) -> None:
    """Prepares it; not `alone`, another process may win, which is as good."""
    import tensorflow_datasets as tfds

    from trainer import bars

    lines = contextlib.nullcontext() if sys.stderr.isatty() else bars.as_lines()
    folder = pathlib.Path(builder.data_dir)
    if alone:  # what is there is of a preparer that was killed
        for left in folder.parent.glob("incomplete.*"):
            shutil.rmtree(left, ignore_errors=True)
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        with contextlib.redirect_stdout(sys.stderr), lines:
            builder.download_and_prepare(download_config=config)
    except (AssertionError, OSError, ValueError, RuntimeError) as error:
        if not alone and builder.is_prepared():
            return
        raise UsageError(
            f"--dataset={builder.name} could not be prepared in {folder}: "
            f"{first_line(error)}"
        ) from error


@contextlib.contextmanager
def _turn(
    builder: "tfds.core.DatasetBuilder", say: Callable[[str], None]
) -> Iterator[bool]:
    """One preparer at a time; the lock of one that dies is free at once.

    False inside where the file system has no locks, and others may prepare as well.
    """
    root = pathlib.Path(builder._data_dir_root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        path = root / f".{builder.name}.preparing"
        lock = files.open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise UsageError(
            f"--dataset={builder.name} is not prepared and --data_dir={root} cannot be "
            f"written: {error.filename}: {error.strerror};\nname another --data_dir"
        ) from error
    with open(lock, "rb"):
        try:
            alone = files.lock(lock, wait=False)
        except BlockingIOError:
            say(f"waiting for another process that prepares {builder.name} in {root}")
            with CONSOLE.phase(f"waiting for who prepares {builder.name}"):
                alone = files.lock(lock, wait=True)
        yield alone


def _check_reachable(builder: "tfds.core.DatasetBuilder") -> None:
    """TFDS itself would try for minutes before it says that there is no network."""
    urls = [url for url in builder.url_infos or () if url.startswith("http")]
    if not urls:
        return
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # A daemon: a name look-up has no time-out and must not hold the process.
    ask = threading.Thread(target=lambda: answers.put(_reach(urls[0])), daemon=True)
    ask.start()
    try:
        reason = answers.get(timeout=2 * REACH_SECS)
    except queue.Empty:
        reason = "no answer"
    if reason is not None:
        raise UsageError(
            f"--dataset={builder.name} is not prepared in {builder.data_dir} and "
            f"{urls[0]} cannot be reached ({reason});\nname the folder of a prepared "
            "copy with --data_dir, or use --dataset=digits, which needs no network"
        )


def _reach(url: str) -> str | None:
    """Why `url` gives no answer at all, or None."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=REACH_SECS).close()
    except urllib.error.HTTPError:
        return None  # somebody answered: let TFDS try
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return None


def _define(values: flags.FlagValues) -> flags.FlagValues:
    where = {"flag_values": values, "module_name": "Data"}
    flags.DEFINE_string("dataset", "cifar10", "TFDS data set to prepare.", **where)
    flags.DEFINE_string(
        "data_dir", None, "Where it goes; off: $TFDS_DATA_DIR or TFDS's own.", **where
    )
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **where)
    return values


def main(values: flags.FlagValues) -> None:
    """Prepares --dataset and says where it is."""
    with quiet.start_up():
        import trainer.datasets  # noqa: F401
    builder = ensure(
        values.dataset, values.data_dir, say=lambda m: print(m, file=sys.stderr)
    )
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    print(f"{builder.info.full_name} is prepared in {builder.data_dir}: {counts}")


if __name__ == "__main__":
    _values = _define(flags.FlagValues())
    commandline.run(
        "trainer.prepare", "Prepares a TFDS data set.", _values, lambda: main(_values)
    )
