"""A measurement in a process of its own, which a model file may end.

It writes lines of JSON: `turn` before it turns to another file, what it found last.
"""

import json
import os
import pathlib
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from eval.predictors import sandbox
from trainer.errors import TrainingFailed
from trainer.monitoring import native_output

SILENT_SECS = 600  # one file's turn takes less
_ROOT = pathlib.Path(__file__).parents[2]
_TURN = "turn"


class Ended(TrainingFailed):
    """The process failed; `at` is the file whose turn it was, "" before the first."""

    def __init__(self, message: str, at: str) -> None:
        super().__init__(message)
        self.at = at


def turn(path: str) -> None:
    """Says, in such a process, which file is next: it is to blame for an end."""
    print(json.dumps({_TURN: path}), flush=True)


def run(
    module: str,
    *arguments: str,
    turned: Callable[[], object] = lambda: None,
    secs: float = SILENT_SECS,
) -> dict[str, Any]:
    """What `module`, run with `arguments`, finds; `turned` hears of each turn.

    Raises:
        Ended: it was killed, failed, said nothing for `secs` or found nothing.
    """
    at, last = "", b""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    with (
        native_output.unnamed_file() as errors,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors,
        ) as process,
    ):  # fmt: skip
        try:
            for last in _lines(process, secs):
                if (path := _turn(last)) is not None:
                    at = path
                    turned()
            code = process.wait()
        except TimeoutError:
            raise Ended(f"{module} took more than {secs:g} s{_of(at)}", at) from None
        finally:
            process.kill()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines()
    if code:
        raise Ended(f"{module} {_how(code, said, _of(at))}", at)
    try:
        return json.loads(last)
    except ValueError as error:  # a model that writes to stdout
        raise Ended(f"{module} found nothing{_of(at)}", at) from error


def _lines(process: subprocess.Popen, secs: float) -> Iterator[bytes]:
    """Whole lines of its stdout; raises TimeoutError after `secs` without a byte."""
    descriptor, rest = process.stdout.fileno(), b""
    while select.select([descriptor], [], [], secs)[0]:
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    raise TimeoutError


def _turn(line: bytes) -> str | None:
    """The file of a line of `turn`; None of any other, also of a model's own words."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found[_TURN] if isinstance(found, dict) and found.keys() == {_TURN} else None


def _how(code: int, said: list[str], where: str) -> str:
    """How a process with `code` ended."""
    if code > 0:
        return f"failed{where}: {said[-1][:200] if said else f'exit code {code}'}"
    name = sandbox.signal_name(-code)
    killed = ": out of memory, or somebody's kill" if name == "SIGKILL" else ""
    return f"was ended by {name}{where}{killed}"


def _of(at: str) -> str:
    return f" at {pathlib.Path(at).name:.100}" if at else ""
