"""What the workers of one test session make once and then share."""

import dataclasses
import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable

from tests.support import commands


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A finished run that nobody may change, and what its training said and imported.

    Attributes:
        modules: names of all modules that the process had at its end.
    """

    path: pathlib.Path
    stdout: str
    stderr: str
    modules: frozenset[str]


# Read by an interpreter when it begins.
LISTS_MODULES = """
import atexit, pathlib, sys
place = pathlib.Path(__file__).with_name("modules")
atexit.register(lambda: place.write_text(" ".join(list(sys.modules))))
"""


class SessionCache:
    """What the workers of one test session make once, in the folder `root`.

    Attributes:
        current: this session's.
    """

    current: "SessionCache"

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def get_or_build(
        self, name: str, make: Callable[[pathlib.Path], object]
    ) -> pathlib.Path:
        """The path `name`, which the first worker to ask has `make` write.

        Nobody may change what lies there.
        """
        path, done = self.root / name, self.root / f"{name}.done"
        with (self.root / f"{name}.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(path, ignore_errors=True)  # of a maker that failed
                make(path)
                done.touch()
        return path

    def digits(self) -> pathlib.Path:
        """A TFDS folder that holds the digits."""

        def make(path: pathlib.Path) -> None:
            words = ["--dataset=digits", f"--data_dir={path}"]
            commands.run_command("trainer.prepare", *words, check=True)

        return self.get_or_build("tfds", make)

    def tiny_run(self) -> TrainedRun:
        """A run with the flags commands.TINY, by an interpreter that began anew."""

        def make(path: pathlib.Path) -> None:
            path.mkdir()
            (path / "sitecustomize.py").write_text(LISTS_MODULES)
            env = {**os.environ, "PYTHONPATH": str(path)}
            done = commands.run_trainer(
                self.digits(), path / "run", fresh=True, check=True, env=env
            )
            (path / "stdout").write_text(done.stdout)
            (path / "stderr").write_text(done.stderr)

        path = self.get_or_build("tiny_run", make)
        kept = [(path / name).read_text() for name in ("stdout", "stderr", "modules")]
        return TrainedRun(path / "run", *kept[:2], frozenset(kept[2].split()))
