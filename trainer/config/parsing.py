"""Parses the texts of options: paths, sizes, step ranges, options of a network.

Every function takes the name of the option, for its messages, and the text.
"""

import ast
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from trainer.errors import InvalidConfig

MAX_SIDE = 4096  # pixels of a training image
IMAGENET = "imagenet"  # weights that Keras downloads, for `init_from`


def parse_path(name: str, text: str) -> pathlib.Path:
    """The path that an option, or a word called so, names; `~` is the home directory.

    Raises:
        InvalidConfig: it is empty, or there is no such home: a folder "~" helps nobody.
    """
    if not text.strip() or "\0" in text:
        raise InvalidConfig(f"`{name}` is empty; name a path, or leave it out")
    found = os.path.expanduser(text)
    if found.startswith("~"):
        raise InvalidConfig(
            f"{name}={text}: the home directory of {text.partition('/')[0]} is not "
            "known; write the whole path (a folder of that name: ./~)"
        )
    return pathlib.Path(found)


def home_folder(path: str, remedy: str) -> pathlib.Path:
    """The folder `path` of this toolkit, such as ~/.cache, in the user's home.

    Raises:
        InvalidConfig: this user has none, as in a container that sets a number alone;
            `remedy` says how to name a folder.
    """
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise InvalidConfig(
            f"{path} is in the home directory, and this user has none;\n{remedy}"
        )
    return pathlib.Path(found)


def parse_directory(name: str, text: str) -> str:
    """Parses a directory of this machine; returns an absolute path."""
    if "://" in text:
        raise InvalidConfig(f"{name}={text} must be a path of this machine")
    return os.path.abspath(parse_path(name, text))


def parse_data_directory(name: str, text: str) -> str:
    """Parses a directory, or the address of a bucket, which TFDS can read."""
    return text if "://" in text else parse_directory(name, text)


def parse_init_from(name: str, text: str) -> str:
    """Parses the word imagenet, or the path of a run or a file of weights."""
    return text if text == IMAGENET else parse_directory(name, text)


def parse_image_size(name: str, text: str) -> tuple[int, int]:
    """Parses height and width: one number for both, or HEIGHTxWIDTH."""
    match = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", text)
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise InvalidConfig(
            f"{name}={text} must be a side or HEIGHTxWIDTH of 1 to {MAX_SIDE} pixels, "
            "e.g. 96 or 96x128"
        )
    return height, width


def parse_step_range(name: str, text: str) -> tuple[int, int]:
    """Parses FIRST:LAST as two numbers."""
    match = re.fullmatch(r"([0-9]{1,12}):([0-9]{1,12})", text)
    if match is None:
        raise InvalidConfig(f"{name}={text} must be FIRST:LAST, e.g. 10:20")
    return int(match[1]), int(match[2])


def parse_kwargs(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE,NAME=VALUE as a dictionary; values are Python literals or words.

    A later text adds to those before it and overrides single names; an empty one drops
    what came before. Lists are written in brackets.

    >>> parse_kwargs("model_kwargs", ["width=0.5,pool=true", "width=2,sizes=[1,2]"])
    {'width': 2, 'pool': True, 'sizes': [1, 2]}
    >>> parse_kwargs("model_kwargs", ["width=0.5", "", "norm=batch"])
    {'norm': 'batch'}
    """
    found: dict[str, Any] = {}
    for text in texts:
        given = _parse_pairs(name, text)
        found = found | given if given else {}
    return found


def _parse_pairs(name: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in re.split(r",(?![^\[]*\])", text) if text.strip() else []:
        key, _, value = (each.strip() for each in part.partition("="))
        if not key.isidentifier() or not value or key in found:
            raise InvalidConfig(
                f"{name}={text} must be NAME=VALUE,NAME=VALUE with each name once"
            )
        found[key] = _parse_literal(value)
    return found


def _parse_literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, int | float | str | list) else text
