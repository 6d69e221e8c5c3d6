"""Exceptions of the toolkit.

Each exception that a caller may handle has a built-in base class: input that cannot be
used is a ValueError, a failure is a RuntimeError. Commands end with these exit codes:

    InvalidInput and its subclasses       2  nothing was written
    TrainingFailed (TrainingDiverged)     1  a restart would fail the same way
    Interrupted                           128 + signal, after a checkpoint
    PeerLost                              175  restart the whole group
"""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import TypeVar

from trainer.contract import EXIT_PEER_LOST

Picture = TypeVar("Picture")


class InvalidInput(ValueError):
    """A config, file, data set or directory that cannot be used.

    It is raised before anything is written. The message names options as `name=value`
    or in backquotes; commands show both as flags.
    """


class InvalidConfig(InvalidInput):
    """A config or an option whose values are out of range or contradict each other."""


class DataUnavailable(InvalidInput):
    """A data set that is not prepared and cannot be downloaded or written here.

    It is not a FileNotFoundError: an OSError means storage that may come back.
    """


class CorruptCheckpoint(ValueError):
    """A checkpoint that is incomplete, altered or not written by this toolkit."""


class NotFinite(ValueError):
    """Logits that contain NaN or infinity."""


class TrainingFailed(RuntimeError):
    """Work that failed, and would fail the same way again."""


class TrainingDiverged(TrainingFailed):
    """A training whose loss or weights are no longer finite."""


class Interrupted(BaseException):
    """Work that was stopped early on purpose.

    A signal may raise it anywhere: like KeyboardInterrupt it is no Exception, so that
    code that handles the errors of a library does not catch it.

    Attributes:
        code: the exit code of the process, see `trainer.contract`.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class PeerLost(Interrupted):
    """A worker or the storage that was lost: all workers must be started again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, EXIT_PEER_LOST)


@contextlib.contextmanager
def failing_on_value_errors(what: str = "") -> Iterator[None]:
    """Turns ValueErrors within the context into TrainingFailed, prefixed with `what`.

    InvalidInput is not changed: it is raised before the work begins.
    """
    try:
        yield
    except InvalidInput:
        raise
    except ValueError as error:
        raise TrainingFailed(f"{what}: {error}" if what else str(error)) from error


def attempt_drawing(
    draw: Callable[[], Picture], what: str, say: Callable[[str], None]
) -> Picture | None:
    """Calls `draw`; reports a failure through `say` and returns None.

    Neither a training nor a report ends because of a picture, also when memory runs
    out.
    """
    try:
        return draw()
    except Exception as error:  # noqa: BLE001  matplotlib raises all kinds
        reason = " ".join(str(error).split())[:200]
        say(f"{what} could not be drawn: {type(error).__name__}: {reason}")
        return None


def require_package(module: str, need: str, remedy: str) -> None:
    """Checks that an optional package is installed, without importing it.

    Args:
        module: what it is imported by.
        need: what needs which package, the beginning of a sentence.
        remedy: how to install it, and what works without.

    Raises:
        InvalidInput: it is not.
    """
    if importlib.util.find_spec(module) is None:
        raise InvalidInput(f"{need}, which is not installed;\n{remedy}")


def unwrap_interruption(error: BaseException) -> BaseException:
    """Returns the interruption that caused `error`, or `error` if there is none.

    A native module that is interrupted while it is imported raises ImportError.
    """
    cause = error.__cause__ or error.__context__
    interrupted = isinstance(cause, KeyboardInterrupt | Interrupted)
    return cause if isinstance(error, ImportError) and interrupted else error


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, at most 300 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


DIVERGENCE_REMEDY = "lower `learning_rate` or set clip_norm=1"
