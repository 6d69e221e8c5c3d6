"""Runs commands in forks of a process without TensorFlow: python quick_mistakes.py.

Reads a list of command lines, as JSON, from stdin; writes for each a line with its exit
code, stderr, processor seconds and whether TensorFlow was imported.
"""

import importlib
import json
import os
import runpy
import sys
import tempfile


def run(words: list[str]) -> dict:
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as heavy:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            _enter(words, heavy.fileno())
        _, status, used = os.wait4(child, 0)
        said.seek(0)
        heavy.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "said": said.read().decode(),
            "secs": used.ru_utime + used.ru_stime,
            "heavy": heavy.read().decode(),
        }


def _enter(words: list[str], heavy: int) -> None:
    code = 1
    try:
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stderr.flush()
        names = {"tensorflow", "keras", "pandas", "tensorflow_datasets"}
        os.write(heavy, " ".join(names & {*sys.modules}).encode())
        os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    todo = json.load(sys.stdin)
    for name in sorted({words[0] for words in todo}):
        importlib.import_module(name)
        del sys.modules[name]
    for words in todo:
        print(json.dumps(run(words)), flush=True)
