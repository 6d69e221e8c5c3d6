"""Command line of all commands of this package.

Own flags, `--`, the trainer's flags. absl's own parser exits 1 on `--help` and on a bad
flag and shows the main module's flags only, so each command declares its flags on a
FlagValues of its own, under headings that stand in for module names.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from absl import flags

from trainer import streams
from trainer.contract import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WRONG_USAGE,
    raising_on_interrupt,
    was_interrupted,
)

PACKAGE = "launch"
HELP_FLAGS = {"--help", "-help", "-h", "-?", "--helpfull", "--helpshort"}
_WIDTH = 88

Command = Callable[[flags.FlagValues, list[str]], int]


class UsageError(Exception):
    """A wrong flag or environment; the message says what, got, limit and remedy."""


def run(
    usage: str,
    define: Callable[[flags.FlagValues], None],
    command: Command,
    arguments: Sequence[str] | None = None,
    *,
    prints: bool = True,
) -> int:
    """Parses `arguments` (None: sys.argv), runs `command`, returns its exit code.

    Args:
      usage: what --help starts with; its first line starts with `name: `. No
        docstring, `python -OO` has none.
      define: declares the command's flags.
      command: called with the parsed flags and what stands after `--`.
      prints: whether stdout is what the command is for; if not, its loss changes no
        exit code.
    """
    name = usage.partition(":")[0]
    with streams.tolerate_lost_streams() as out:
        words = list(sys.argv[1:] if arguments is None else arguments)
        prints = prints or bool(HELP_FLAGS.intersection(_split(words)[0]))
        if prints:  # a manifest is UTF-8, whatever the terminal takes
            streams.use_utf8(out)
        code = _run_command(usage, define, command, words)
        out.flush()
        if out.lost and not out.left:
            print(f"{name}: stdout took no more: {out.lost}", file=sys.stderr)
            code = code or (EXIT_FAILED if prints else 0)
    return code


def _run_command(
    usage: str,
    define: Callable[[flags.FlagValues], None],
    command: Command,
    words: list[str],
) -> int:
    own, after = _split(words)
    values = flags.FlagValues()
    define(values)
    name = usage.partition(":")[0]
    try:
        with raising_on_interrupt(name):
            return _carry_out(usage, values, command, own, after)
    except KeyboardInterrupt:
        return _report_interrupt(name)
    except (UsageError, flags.Error) as error:
        if was_interrupted():  # which ended the child process that was asked, too
            return _report_interrupt(name)
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_WRONG_USAGE
    except Exception:
        if not was_interrupted():
            raise
        return _report_interrupt(name)


def _carry_out(
    usage: str,
    values: flags.FlagValues,
    command: Command,
    own: list[str],
    after: list[str],
) -> int:
    if HELP_FLAGS.intersection(own):
        print(_format_help(usage, values))
        return 0
    _parse(values, own)
    if "--" in after:
        raise UsageError(
            "a second `--` stands among the trainer's flags; leave it out, "
            "one alone ends this command's flags"
        )
    return command(values, after)


def _report_interrupt(name: str) -> int:
    print(f"{name}: stopped by SIGINT", file=sys.stderr)
    return EXIT_INTERRUPTED


def show_commands(commands: Mapping[str, str]) -> NoReturn:
    """Prints the commands of this package, each with what it does, and exits."""
    words = sys.argv[1:]
    if words and words[0] not in HELP_FLAGS:
        print(
            f"{PACKAGE}: name a command of this package: {', '.join(commands)}; "
            f"python -m {PACKAGE}.NAME --help shows its flags",
            file=sys.stderr,
        )
        sys.exit(EXIT_WRONG_USAGE)
    width = max(map(len, commands))
    with streams.tolerate_lost_streams():
        print("Commands, each with its own --help:\n")
        for name, does in commands.items():
            print(f"  python -m {PACKAGE}.{name:{width}}  {does}")
    sys.exit(0)


def require_utf8(argument: str) -> None:
    """Raises UsageError if `argument`, which will be printed, is not UTF-8."""
    if any("\ud800" <= char <= "\udfff" for char in argument):
        raise UsageError(f"{ascii(argument)} is not UTF-8; write it as UTF-8 text")


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parse(values: flags.FlagValues, own: list[str]) -> None:
    """Parses in place; absl adds "Did you mean" to the name of an unknown flag."""
    try:
        rest = values(["", *own])[1:]
    except flags.UnrecognizedFlagError as error:
        raise UsageError(
            f"{error}; the trainer's flags come after a `--` that stands alone"
        ) from error
    except ValueError as error:  # of --nodebug=3
        raise UsageError(str(error)) from error
    if rest:
        raise UsageError(
            f"{rest[0]!r} is not a flag of this command; "
            "the trainer's flags come after a `--` that stands alone"
        )
    for name in values:  # absl lets NaN pass every bound
        value = values[name].value
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name}={value} must be a finite number")


def _format_help(usage: str, values: flags.FlagValues) -> str:
    lines = [usage.strip()]
    for heading, members in values.flags_by_module_dict().items():
        lines += ["", f"{heading}:"]
        for flag in members:
            name = f"[no]{flag.name}" if flag.boolean else flag.name
            default = (
                "" if flag.default is None else f" (default: {_format_default(flag)})"
            )
            lines += [f"  --{name}", *_wrap(f"{flag.help}{default}")]
    lines += ["", "Everywhere:", "  --flagfile", *_wrap("Flags, one per line.")]
    return "\n".join(lines)


def _format_default(flag: flags.Flag) -> str:
    return (flag.default_as_str or "").strip("'") or "none"


def _wrap(text: str, indent: str = " " * 6) -> list[str]:
    """Wraps to lines of _WIDTH; importing textwrap takes a third of the start-up."""
    lines = [indent]
    for word in text.split():
        if len(lines[-1]) + len(word) >= _WIDTH and lines[-1].strip():
            lines.append(indent)
        lines[-1] += word if lines[-1] == indent else f" {word}"
    return lines
