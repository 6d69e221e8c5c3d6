"""Lists the commands of a package: python -m trainer."""

import sys
from collections.abc import Mapping
from typing import NoReturn

from trainer import streams
from trainer.contract import EXIT_WRONG_USAGE


def show(package: str, commands: Mapping[str, str]) -> NoReturn:
    """Prints the `commands` of `package`, each with what it does, and exits.

    Words other than --help are meant for one of them: the message names it.
    """
    words = sys.argv[1:]
    if words and words[0] not in ("--help", "-help", "-h"):
        first = words[0].removeprefix(f"{package}.")
        name = first if first in commands else next(iter(commands))
        rest = " ".join(words[1:] if first in commands else words)
        print(
            f"{package}: name a command of this package, such as "
            f"python -m {package}.{name} {rest}".rstrip(),
            file=sys.stderr,
        )
        sys.exit(EXIT_WRONG_USAGE)
    width = max(map(len, commands))
    with streams.tolerate_lost_streams():
        print("Commands, each with its own --help:\n")
        for name, does in commands.items():
            print(f"  python -m {package}.{name:{width}}  {does}")
    sys.exit(0)
