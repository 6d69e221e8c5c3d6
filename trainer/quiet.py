"""Keeps TensorFlow's start-up lines off the terminal unless something fails.

They are written by C++ to descriptor 2, one of them at every log level, before Python
could filter: so the descriptor itself is sent to a file, which is replayed on failure.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import IO

from trainer.commandline import UsageError


@contextlib.contextmanager
def start_up() -> Iterator[None]:
    """Hides what is written to descriptor 2 inside; an unexpected error shows it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    sys.stderr.flush()
    kept = os.dup(2)
    with unnamed_file() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except UsageError:
            raise
        except Exception:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def unnamed_file() -> IO[bytes]:
    """An empty file in memory: containers may have no folder for temporary files."""
    return open(os.memfd_create("hidden"), "w+b")
