"""The trainer's flags, read from words."""

from absl import flags as absl_flags

from trainer.cli import command, flags


def read(*words: str):
    values = flags.define(absl_flags.FlagValues())
    command.parse(values, ["trainer.main", *words])
    return flags.read(values)
