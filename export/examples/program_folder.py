"""The folder of programs beside an exported file, or inside an exported folder."""

import pathlib
from collections.abc import Mapping

from eval.formats import manifest as manifests
from trainer import files
from trainer.errors import InvalidInput

INSIDE = "examples"  # in an exported folder


def beside(file: pathlib.Path) -> pathlib.Path:
    """The folder beside `file`: model_int8.examples of model_int8.tflite."""
    return file.with_suffix(".examples")


def check_replaceable(file: pathlib.Path) -> None:
    """Checks that the folder beside `file` can be written.

    Raises:
        InvalidInput: a file or a link has its name.
    """
    folder = beside(file)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InvalidInput(
            f"{folder} is a link or no folder; the programs that use {file.name} are"
            " written there: move it away"
        )


def write_programs(folder: pathlib.Path, programs: Mapping[str, str]) -> dict[str, str]:
    """Writes `programs`, text by name, into a new `folder`; returns their hashes."""
    folder.mkdir()
    for name, text in programs.items():
        files.write_bytes(folder / name, text.encode())
    return {name: manifests.file_sha256(folder / name) for name in sorted(programs)}
