"""What the workers of one test session make once and then share."""

import fcntl
import pathlib
import shutil
from collections.abc import Callable

from tests.support import commands


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
