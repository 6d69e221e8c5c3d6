"""Commands as forks of a process that has imported TensorFlow already.

A new interpreter spends four CPU-seconds on imports, and a training of seconds little
more on all the rest. A fork is a process, too: with descriptors, signals and an exit
code of its own. But it has the seed of Python's hashes in common with its siblings, so
of runs that have to be equal bit for bit one is begun by a new interpreter.
"""

import contextlib
import functools
import multiprocessing
import os
import pathlib
import random
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import forkserver

ROOT = pathlib.Path(__file__).parents[2]


@functools.cache
def _context() -> multiprocessing.context.ForkServerContext:
    """Starts the server, once a process; whatever it imports, it has no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.preloaded"])
    with contextlib.chdir(ROOT):
        forkserver.ensure_running()
    return context


def run(
    module: str, *words: str, timeout: float, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess:
    """Runs `python -m module words` in a fork and returns what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        printed = [pathlib.Path(folder, name) for name in ("stdout", "stderr")]
        given = (module, words, printed, dict(os.environ if env is None else env))
        process = _context().Process(target=_enter, args=given)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([module, *words], timeout)
        out, err = (path.read_text() for path in printed)
    return subprocess.CompletedProcess([module, *words], process.exitcode, out, err)


def _enter(
    module: str, words: tuple, printed: list[pathlib.Path], environment: dict[str, str]
) -> None:
    """Makes this fork a process that runs the command."""
    for number, path in enumerate(printed, start=1):
        with path.open("wb") as stream:
            os.dup2(stream.fileno(), number)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()
    tempfile.tempdir = None  # of the process that was forked, not of TMPDIR
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
