"""Sandbox for model files: a damaged file cannot end a command without a message.

LiteRT does not check tensors and indices of a file, and a damaged one can end the
process or take gigabytes of memory. So a `.tflite` is first loaded and run on three
images in a separate process with limits of memory and time, which takes 0.3 s for a
file of 100 KB. A SavedModel is a program: the whole command runs in a second process,
and the first one reports how it ended.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np

from trainer.contract import EXIT_WRONG_USAGE
from trainer.errors import InvalidInput, first_line

MEMORY_BYTES = (
    1 << 30
)  # limit, plus FACTOR times the file, plus the runtime's own memory
FACTOR = 8
SECS = 60
PATIENCE_SECS = 4  # before a message
_ROOT = pathlib.Path(__file__).parents[2]
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_TRUSTED: set[str] = set()  # SHA-256 of files that passed or that this process wrote


def mark_trusted(content: bytes) -> None:
    """Marks a file that this process wrote itself as safe to open."""
    _TRUSTED.add(hashlib.sha256(content).hexdigest())


def check_file(
    path: pathlib.Path, content: bytes, resolver: int, *, memory: int = MEMORY_BYTES
) -> None:
    """Loads `content`, a `.tflite` file, in another process and runs three images.

    `resolver` is LiteRT's number of the kernels to run it with.

    Raises:
        InvalidInput: that process was killed, took too much memory or too long, or the
            model cannot be loaded or run.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest in _TRUSTED:
        return
    if not content:
        raise InvalidInput(f"{path} is damaged or no .tflite model: it is empty")
    limit = memory + FACTOR * len(content)
    if reason := _reason_to_reject(path, content, int(resolver), limit):
        raise InvalidInput(f"{path} {reason}")
    _TRUSTED.add(digest)


def _reason_to_reject(
    path: pathlib.Path, content: bytes, resolver: int, limit: int
) -> str | None:
    """Runs the model in another process; returns why it cannot be used, or None."""
    child = subprocess.Popen(
        [sys.executable, "-m", "eval.predictors.sandbox", str(limit), str(resolver)],
        cwd=_ROOT,
        env=os.environ | _ONE_THREAD,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with child:
        try:
            output, messages = _communicate(child, path, content)
        except subprocess.TimeoutExpired:
            child.kill()
            return f"is damaged or too slow: it took more than {SECS} s for 3 images"
        except BaseException:
            child.kill()
            raise
    limits = f"(limit of memory: {limit:,} bytes)"
    if b"bad_alloc" in messages or child.returncode == _EXIT_OUT_OF_MEMORY:
        return f"is damaged or too large: it took more than {limit:,} bytes of memory"
    if child.returncode < 0:
        name = signal_name(-child.returncode)
        return f"is damaged: it ended the process that tried it with {name} {limits}"
    if child.returncode:
        raise OSError(f"the process that tries {path} failed: {messages[-200:]!r}")
    reason = json.loads(output)
    return (
        reason
        and f"is damaged or no .tflite model that LiteRT can run: {reason} {limits}"
    )


def _communicate(
    child: subprocess.Popen, path: pathlib.Path, content: bytes
) -> tuple[bytes, bytes]:
    try:
        return child.communicate(content, timeout=PATIENCE_SECS)
    except subprocess.TimeoutExpired:
        print(f"trying {path} in a process of its own", file=sys.stderr)
        return child.communicate(timeout=SECS - PATIENCE_SECS)


def signal_name(number: int) -> str:
    """Converts a signal's number to its name, 11 to 'SIGSEGV'."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


_EXIT_OUT_OF_MEMORY = 77  # exit code of the child


def _child(limit: int, resolver: int) -> NoReturn:
    """Runs the model from stdin; writes the reason of a failure as JSON to stdout."""
    from ai_edge_litert import interpreter as litert

    content = sys.stdin.buffer.read()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    used = pages * resource.getpagesize() + len(content)
    resource.setrlimit(resource.RLIMIT_AS, (used + limit,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (SECS,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        _run_three_images(litert, content, resolver)
        reason = None
    except MemoryError:
        os._exit(_EXIT_OUT_OF_MEMORY)
    except Exception as error:  # noqa: BLE001  a damaged file may raise anything
        reason = first_line(error)
    os.write(1, json.dumps(reason).encode())
    os._exit(0)  # run no destructors of the model


def _run_three_images(litert: types.ModuleType, content: bytes, resolver: int) -> None:
    own = litert.Interpreter(
        model_content=content,
        num_threads=1,
        experimental_op_resolver_type=litert.OpResolverType(resolver),
    )
    own.allocate_tensors()
    ins, outs = own.get_input_details(), own.get_output_details()
    own._get_ops_details()
    if any(np.dtype(detail["dtype"]).kind not in "biuf" for detail in ins):
        return  # the input is not numeric: opening the file reports that
    for pixels in (0, 255, np.random.default_rng(0)):
        for detail in ins:
            shape = tuple(detail["shape"])
            fixed = isinstance(pixels, int)
            drawn = pixels if fixed else pixels.integers(256, size=shape)
            values = np.full(shape, drawn).astype(detail["dtype"])
            own.set_tensor(detail["index"], values)
        own.invoke()
        for detail in outs:
            own.get_tensor(detail["index"])


# Signals that end a process which runs a damaged or malicious file.
_CRASHES = {"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGKILL", "SIGSYS"}
_FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}


def run_supervised(
    command: str, work: Callable[[], NoReturn], names: Sequence[str]
) -> NoReturn:
    """Runs `work`, in a second process if it opens the model files `names`.

    This process ends as the second one did: with its exit code, or by a signal that was
    sent to it. If the second one crashed, a message names the files, and the exit code
    is 2. Call it before threads are started: a fork would lose them.
    """
    if not names:
        work()
    watched = _FORWARDED | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    parent, child = os.getpid(), os.fork()
    if child == 0:
        end_with_parent(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        work()
    status = _wait(child, watched)
    if os.WIFEXITED(status):  # it has said why: a last Ctrl-C says nothing
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if not os.WIFSIGNALED(status):
        sys.exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    if signal_name(number) in _CRASHES:
        print(
            f"{command}: {' or '.join(names)} ended the process that used it with "
            f"{signal_name(number)}; it is damaged, or too large for this machine",
            file=sys.stderr,
        )
        sys.exit(EXIT_WRONG_USAGE)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def end_with_parent(parent: int) -> None:
    """Makes this process end when its parent is killed; only Linux supports that."""
    set_parent_death_signal = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _wait(child: int, watched: set[signal.Signals]) -> int:
    """Waits for `child`, forwards signals to it, returns its status.

    A terminal signals both processes. Its SIGINT is forwarded all the same: it may have
    come before the fork, and a command takes two for one.
    """
    while True:
        heard = signal.sigwaitinfo(watched)
        if heard.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status
        elif heard.si_code <= 0 or heard.si_signo == signal.SIGINT:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, heard.si_signo)


if __name__ == "__main__":
    _child(int(sys.argv[1]), int(sys.argv[2]))
