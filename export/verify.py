"""Verifies that exported files are as the owner of a key signed them.

Synopsis::

    python -m export.verify --public_key=key.pub   # all exports of runs/latest
    python -m export.verify --public_key=key.pub model_int8.tflite

The exit code is 2 if a byte of a file, of its manifest or of its programs was changed.
"""

from typing import NoReturn

from absl import flags

from export import sign
from export.signing import artifact_signing
from trainer.cli import command


def define(values: flags.FlagValues) -> flags.FlagValues:
    """Declares the flags on `values`; tests pass a fresh FlagValues."""
    where = {"flag_values": values, "module_name": "Signature"}
    flags.DEFINE_string("public_key", None, "PEM file of the owner's key.", **where)
    return sign.define_run(values)


def main(values: flags.FlagValues, words: list[str]) -> None:
    """Verifies and says of each path that nothing was changed."""
    key = sign.parse_key(values, "public_key")
    paths = sign.parse_paths(values, words)
    for path in artifact_signing.verify_artifacts(paths, key):
        print(f"{path}: as the owner of {key} signed it")


def run() -> NoReturn:
    """Runs the command with the words of this process."""
    values = define(flags.FlagValues())
    command.run(
        "export.verify",
        "Verifies the signatures of exported files.",
        values,
        lambda words: main(values, words),
        words=sign.WORDS,
    )


if __name__ == "__main__":
    run()
