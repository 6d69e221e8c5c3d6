"""Paths given on the command line."""

import os
import pathlib

from trainer import errors


def parse_path(flag: str, text: str) -> pathlib.Path:
    """The path that a flag, or a word called so, names; `~` is the home directory.

    Raises:
        UsageError: it is empty, or there is no such home: a folder "~" helps nobody.
    """
    if not text.strip() or "\0" in text:
        raise errors.UsageError(
            f"--{flag}={text.strip()} is empty; name a path, or leave it out"
        )
    found = os.path.expanduser(text)
    if found.startswith("~"):
        raise errors.UsageError(
            f"--{flag}={text}: the home directory of {text.partition('/')[0]} is not "
            "known; write the whole path (a folder of that name: ./~)"
        )
    return pathlib.Path(found)
