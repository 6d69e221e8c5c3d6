"""Runs a measurement in a separate process, which a model file may end.

The process prints lines of JSON: `announce_turn` before each file, and the result last.
"""

import json
import os
import pathlib
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from eval.predictors import sandbox
from trainer.errors import TrainingFailed
from trainer.monitoring import native_output

TIMEOUT_SECS = 600  # without a line; one turn of a file takes less
_ROOT = pathlib.Path(__file__).parents[2]
_TURN = "turn"


class ChildFailed(TrainingFailed):
    """A process that ended without a measurement.

    Attributes:
        path: the file that was measured, "" before the first.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


def announce_turn(path: str) -> None:
    """Prints, in the process, the next file, which is blamed if the process ends."""
    print(json.dumps({_TURN: path}), flush=True)


def run_module(
    module: str,
    *arguments: str,
    on_turn: Callable[[], object] = lambda: None,
    timeout_secs: float = TIMEOUT_SECS,
) -> dict[str, Any]:
    """Runs `module` with `arguments` and returns what it has measured.

    Args:
        on_turn: is called at each turn.

    Raises:
        ChildFailed: the process was killed, failed, printed nothing for `timeout_secs`,
            or printed no result.
    """
    path, line = "", b""
    with native_output.unnamed_file() as stderr:
        with _start([sys.executable, "-m", module, *arguments], stderr) as process:
            try:
                for line in _lines(process, timeout_secs):
                    if (turn := _parse_turn(line)) is not None:
                        path = turn
                        on_turn()
                code = process.wait()
            except TimeoutError:
                message = f"{module} took more than {timeout_secs:g} s{_at(path)}"
                raise ChildFailed(message, path) from None
            finally:
                process.kill()
        stderr.seek(0)
        errors = stderr.read().decode(errors="replace").strip().splitlines()
    if code:
        raise ChildFailed(f"{module} {_describe_end(code, errors, path)}", path)
    try:
        return json.loads(line)
    except ValueError as error:  # a model that writes to stdout
        raise ChildFailed(f"{module} found nothing{_at(path)}", path) from error


def _start(words: Sequence[str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        words, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=stderr
    )


def _lines(process: subprocess.Popen[bytes], timeout_secs: float) -> Iterator[bytes]:
    """Yields complete lines of its stdout.

    Raises:
        TimeoutError: no byte came for `timeout_secs`.
    """
    descriptor, rest = process.stdout.fileno(), b""
    while select.select([descriptor], [], [], timeout_secs)[0]:
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    raise TimeoutError


def _parse_turn(line: bytes) -> str | None:
    """Parses the file that a line announces; None for any other line."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value[_TURN] if isinstance(value, dict) and value.keys() == {_TURN} else None


def _describe_end(code: int, errors: Sequence[str], path: str) -> str:
    """Describes how a process with exit `code` ended."""
    if code > 0:
        reason = errors[-1][:200] if errors else f"exit code {code}"
        return f"failed{_at(path)}: {reason}"
    name = sandbox.signal_name(-code)
    killed = ": out of memory, or killed by a user" if name == "SIGKILL" else ""
    return f"was ended by {name}{_at(path)}{killed}"


def _at(path: str) -> str:
    return f" at {pathlib.Path(path).name:.100}" if path else ""
