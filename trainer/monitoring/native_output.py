"""Hides the start-up lines of TensorFlow unless something fails.

C++ code writes them to file descriptor 2, some of them at every log level, where Python
cannot filter them. The descriptor is therefore redirected to a file, which is shown on
failure.
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
from trainer.contract import LOADING, was_interrupted
from trainer.distributed import shutdown
from trainer.errors import InvalidInput, TrainingFailed, unwrap_interruption
from trainer.monitoring.progress import CONSOLE

# Keras and TensorFlow try to import these for wrappers and plots that no command uses:
# 2.6 of the 6.6 CPU-seconds that importing the two libraries takes.
UNUSED = ("sklearn", "pandas", "matplotlib")


@contextlib.contextmanager
def suppress_native_stderr(what: str = LOADING) -> Iterator[None]:
    """Hides what native code writes to stderr, and shows it after an unexpected error.

    The first call of a process imports TensorFlow and Keras, and a command says so
    before. `what` names the phase on the progress line.

    Raises:
        InvalidInput: TensorFlow cannot be imported here.
        TrainingFailed: `ulimit -v` leaves less address space than TensorFlow needs.
    """
    _check_temporary()
    _check_addresses()
    sys.stderr.flush()
    with unnamed_file() as hidden, streams.keep_stderr() as kept, _hide_log():
        os.dup2(hidden.fileno(), 2)
        try:
            with _phase(what):
                _load()
                yield
        except (InvalidInput, TrainingFailed):
            raise
        except Exception as error:
            explained = system.is_out_of_memory(error)
            explained = explained or unwrap_interruption(error) is not error
            explained = explained or was_interrupted()
            if not explained:  # other errors the command explains in one line
                hidden.seek(0)
                os.write(kept, hidden.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)


@contextlib.contextmanager
def loading_libraries() -> Iterator[None]:
    """Context of the imports of a command: lines of native code are hidden.

    A signal ends a command at once; a script keeps its handlers.
    """
    with suppress_native_stderr(), _ending_commands():
        yield


@contextlib.contextmanager
def _hide_log() -> Iterator[None]:
    """Hides what TensorFlow logs below errors; in a notebook it logs to stdout."""

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    for logger in loggers:
        logger.addFilter(is_error)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_error)


@functools.cache
def _load() -> None:
    """Imports TensorFlow and Keras without the modules of UNUSED.

    Modules that are imported already stay, and all can be imported afterwards. Garbage
    collection is off during the import, and afterwards it skips the half million
    objects of the libraries: visiting them took 2.8 CPU-seconds.
    """
    absent = {name: None for name in UNUSED if name not in sys.modules}
    collecting = gc.isenabled()
    sys.modules.update(absent)
    gc.disable()
    try:
        with _ending_commands():
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]
        gc.freeze()
        if collecting:
            gc.enable()


def _phase(what: str) -> contextlib.AbstractContextManager[None]:
    """The phase of `what`; once TensorFlow is loaded, the surrounding one goes on."""
    loaded = "tensorflow" in sys.modules
    if loaded and what == LOADING:
        return contextlib.nullcontext()
    return CONSOLE.phase(what, announced=not loaded)


def _ending_commands() -> contextlib.AbstractContextManager[None]:
    """Context in which a signal ends a command at once; nothing for a script."""
    if (name := CONSOLE.command) is None:
        return contextlib.nullcontext()
    return shutdown.ending_at_once(
        "while TensorFlow was loading; nothing to save",
        lambda text: CONSOLE.say(f"{name}: {text}"),
    )


def _check_temporary() -> None:
    """Checks that there is a writable temporary folder, which TensorFlow needs."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise InvalidInput(
            "TensorFlow needs a folder for temporary files, but $TMPDIR, /tmp, "
            "/var/tmp and the working directory cannot be written;\n"
            "set TMPDIR to a writable folder, such as /dev/shm"
        ) from error


def unnamed_file() -> IO[bytes]:
    """Opens an empty file in memory: a container may have no folder for such files."""
    return open(os.memfd_create("hidden"), "w+b")


@functools.cache
def _check_addresses() -> None:
    """Checks the limit of address space: raises if too small, warns if low."""
    limit = system.address_limit()
    if problem := system.describe_address_limit(limit):
        if limit < system.LEAST_ADDRESSES:
            raise TrainingFailed(f"out of memory: {problem}")
        print(f"warning: memory may not suffice: {problem}", file=sys.stderr)
