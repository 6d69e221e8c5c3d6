"""Checks many lists of flags of trainer.main in one process, without TensorFlow.

Synopsis::

    echo '["--dataset=digits", "--epochs=0"]' | python -m trainer.cli.flag_lists

Each line of stdin is a JSON list of arguments, each line of stdout the answer:
{"code": 0, "seed": 0, "validation_fraction": 0.1} or
{"code": 2, "message": "--epochs=0 must be above 0"}.
`launch.sweep` starts it by name: a process for each list would take seconds each.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from trainer.cli import command, flags
from trainer.contract import EXIT_WRONG_USAGE
from trainer.errors import InvalidInput


def check_list(values: absl_flags.FlagValues, words: Sequence[str]) -> dict[str, Any]:
    """Checks one list of arguments as trainer.main does before it imports TensorFlow.

    Args:
        values: the trainer's flags; what an earlier list set is forgotten.
        words: the arguments.
    """
    values.unparse_flags()
    for name in values:
        values[name].unparse()
    try:
        command.parse(values, ["", *words], renamed=flags.RENAMED)
        config, _ = flags.read_configs(values)
    except InvalidInput as error:
        text = command.translate_options(str(error), values)
        message = " ".join(text.split())
        return {"code": EXIT_WRONG_USAGE, "message": message}
    return {
        "code": 0,
        "seed": config.seed,
        "validation_fraction": config.data.validation_fraction,
    }


def main() -> None:
    """Answers each line of stdin."""
    values = flags.define(absl_flags.FlagValues())
    for line in sys.stdin:
        print(json.dumps(check_list(values, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
