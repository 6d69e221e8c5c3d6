"""Signs exported files with a key, so that a changed byte is noticed.

Synopsis::

    openssl ecparam -name prime256v1 -genkey -noout -out key.pem
    openssl ec -in key.pem -pubout -out key.pub
    python -m export.sign --private_key=key.pem   # all exports of runs/latest
    python -m export.sign --private_key=key.pem model_int8.tflite

Beside each file it writes NAME.sig, and NAME.cdx.json, a CycloneDX list of what the
model was made with, which is signed as well.
"""

import pathlib
from typing import NoReturn

from absl import flags

from export.artifact.export_options import FOLDER
from export.signing import artifact_signing
from trainer.cli import command
from trainer.config import parsing
from trainer.errors import InvalidInput
from trainer.rundir import layout

WORDS = "[PATH ...]"


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    where = {"flag_values": values, "module_name": "Signature"}
    flags.DEFINE_string(
        "private_key", None, "PEM file of an elliptic curve, without password.", **where
    )
    return define_run(values)


def define_run(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the run whose exports are meant where no PATH is given."""
    where = {"flag_values": values, "module_name": "Signature"}
    flags.DEFINE_string("run_dir", None, "The run. Default: runs/latest.", **where)
    flags.DEFINE_bool("debug", False, "Shows the traceback of an error.", **where)
    return values


def parse_paths(values: flags.FlagValues, words: list[str]) -> list[pathlib.Path]:
    """The exported files that `words` name, or all those of the run.

    Raises:
        InvalidInput: both are given, or there is no such run.
    """
    if not words:
        run = layout.open_run(values.run_dir)
        return artifact_signing.find_artifacts(run.path / FOLDER)
    if values.run_dir is not None:
        raise InvalidInput(
            f"run_dir={values.run_dir} and {words[0]} name two things; give one"
        )
    return [parsing.parse_path("path", word) for word in words]


def parse_key(values: flags.FlagValues, name: str) -> pathlib.Path:
    """The path of the key called `name`.

    Raises:
        InvalidInput: it is not given.
    """
    if values[name].value is None:
        raise InvalidInput(f"name the key with {name}=FILE; see python -m export.sign")
    return parsing.parse_path(name, values[name].value)


def main(values: flags.FlagValues, words: list[str]) -> None:
    """Signs and prints where the signatures are."""
    key = parse_key(values, "private_key")
    for path in artifact_signing.sign_artifacts(parse_paths(values, words), key):
        print(path)


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = define(flags.FlagValues())
    command.run(
        "export.sign",
        "Signs exported files, and lists what they were made with.",
        values,
        lambda words: main(values, words),
        words=WORDS,
    )


if __name__ == "__main__":
    run()
