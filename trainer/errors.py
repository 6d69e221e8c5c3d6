"""Exceptions of the toolkit; commands turn them into exit codes."""

from absl import app

UsageError = app.UsageError  # wrong usage, config or input: nothing was written


class InvalidConfig(ValueError):
    """A config, an option or an input that is wrong: exit code 2, nothing was written.

    The message names options as `name=value` or in backquotes; commands make flags of
    both.
    """


class TrainingFailed(Exception):
    """The work failed, and a restart would fail the same way: exit code 1."""


class Interrupted(BaseException):
    """The work ended early on purpose; `code` is one of `contract`'s exit codes.

    A signal may raise it anywhere: like KeyboardInterrupt it is no Exception, so that
    whoever handles the errors of a library lets it through.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def unwrapped(error: BaseException) -> BaseException:
    """The interruption behind `error`, if a native module was just being imported."""
    behind = error.__cause__ or error.__context__
    interrupted = isinstance(behind, KeyboardInterrupt | Interrupted)
    return behind if isinstance(error, ImportError) and interrupted else error


def first_line(error: Exception) -> str:
    """What a library's error says, without the pages that may follow."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


class CorruptCheckpoint(ValueError):
    """A checkpoint that is incomplete, altered or not one of ours."""


class NotFinite(ValueError):
    """Logits hold NaN or an infinity."""


DIVERGENCE_REMEDY = "lower --learning_rate or set --clip_norm=1"
