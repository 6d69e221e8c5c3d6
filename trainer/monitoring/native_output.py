"""Keeps TensorFlow's start-up lines off the terminal unless something fails.

They are written by C++ to descriptor 2, one of them at every log level, before Python
could filter: so the descriptor itself is sent to a file, which is replayed on failure.
"""

import contextlib
import functools
import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from trainer import streams, system
from trainer.errors import InvalidInput, TrainingFailed, unwrap_interruption
from trainer.monitoring.progress import CONSOLE

# Keras and TensorFlow try to import these for wrappers and drawings that no command
# uses: 2.6 of the 6.6 CPU-seconds that the two of them cost.
UNUSED = ("sklearn", "pandas", "matplotlib")


@contextlib.contextmanager
def suppress_native_stderr(what: str = "loading TensorFlow") -> Iterator[None]:
    """Hides what is written to descriptor 2 inside; an unexpected error shows it.

    The first one of a process imports TensorFlow and Keras. `what` is the phase that
    progress tells of.

    Raises:
        InvalidInput: TensorFlow cannot be imported here.
        TrainingFailed: `ulimit -v` leaves less address space than TensorFlow needs.
    """
    _check_temporary()
    _check_addresses()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.stderr.flush()
    with unnamed_file() as hidden, streams.put_aside() as kept:
        os.dup2(hidden.fileno(), 2)
        try:
            with CONSOLE.phase(what):
                _load()
                yield
        except (InvalidInput, TrainingFailed):
            raise
        except Exception as error:
            told = system.lacking(error) or unwrap_interruption(error) is not error
            if not told:  # in a line, by whoever catches it
                hidden.seek(0)
                os.write(kept, hidden.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)


@functools.cache
def _load() -> None:
    """Imports TensorFlow and Keras without what they only try to import.

    What the process has imported already stays, and all can be imported afterwards.
    The half a million objects of the libraries live as long as the process: to walk
    through them while they are made, later and at the exit took 2.8 CPU-seconds more.
    """
    absent = {name: None for name in UNUSED if name not in sys.modules}
    collecting = gc.isenabled()
    sys.modules.update(absent)
    gc.disable()
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]
        gc.freeze()
        if collecting:
            gc.enable()


def _check_temporary() -> None:
    """TensorFlow cannot be imported where no folder for temporary files is."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise InvalidInput(
            "TensorFlow wants a folder for temporary files, and none of $TMPDIR, /tmp, "
            "/var/tmp and this one can be written;\nname one in TMPDIR, e.g. /dev/shm"
        ) from error


def unnamed_file() -> IO[bytes]:
    """An empty file in memory: containers may have no folder for temporary files."""
    return open(os.memfd_create("hidden"), "w+b")


@functools.cache
def _check_addresses() -> None:
    """Refuses what cannot do, and warns once of what may not."""
    limit = system.address_limit()
    if said := system.addresses(limit):
        if limit < system.LEAST_ADDRESSES:
            raise TrainingFailed(f"out of memory: {said}")
        print(f"warning: memory may not do: {said}", file=sys.stderr)
