"""The trainer's flags, read from words."""

from absl import flags as absl_flags

from trainer import errors
from trainer.cli import command, flags


def read(*words: str):
    """The configs of a command line; errors name flags, as the command tells them."""
    values = flags.define(absl_flags.FlagValues())
    command.parse(values, ["trainer.main", *words], renamed=flags.RENAMED)
    try:
        return flags.read_configs(values)
    except errors.InvalidInput as error:
        text = command.translate_options(str(error), values)
        raise type(error)(text) from error
