"""Runs a command of the toolkit: parses flags, shows help, sets the exit code.

Synopsis::

    values = flags.FlagValues()
    flags.DEFINE_integer("epochs", 3, "How long.", flag_values=values,
                         module_name="Schedule")  # the heading in --help
    if __name__ == "__main__":
        command.run("trainer.main", "Trains a model.", values, main)

The library names an option as `name=value` or in backquotes; messages show both as
flags.

absl's own ``--help`` exits with 1 and shows the flags of the main module only, and
wrong flags exit with 1; here ``--help`` exits with 0, and wrong usage exits with 2 and
at most two lines.
"""

import atexit
import contextlib
import errno
import functools
import os
import re
import signal
import sys
import textwrap
import threading
import traceback
import unicodedata
from collections.abc import Callable, Mapping
from typing import NoReturn

from absl import flags

from trainer import errors, storage, streams, system
from trainer.cli import hints, version
from trainer.cli.process_settings import configure_process
from trainer.contract import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_WRONG_USAGE,
    TF_CONFIG,
    raising_on_interrupt,
    was_interrupted,
)
from trainer.monitoring.printable import printable
from trainer.monitoring.progress import CONSOLE

# `name` or `name=value` in backquotes; name=value that is not part of a path or a list
_OPTION = re.compile(
    r"""`(\w+)(?:=([^`\s]+))?`|(?<![\w\-./=,:'"`])([a-z]\w*)=([^\s;,)]*[^\s;,):.])"""
)


def help_text(
    name: str, summary: str, values: flags.FlagValues, words: str = ""
) -> str:
    """Formats the flags of `values` under their headings, each with its default."""
    called = " ".join(filter(None, [name, words, "[--flag=value ...]"]))
    lines = [summary, "", f"usage: python -m {called}"]
    for heading, declared in values.flags_by_module_dict().items():
        lines += ["", f"{heading}:"]
        for flag in declared:
            lines += _describe(flag)
    lines += ["", "Everywhere:", "  --flagfile=FILE: flags from FILE, one per line"]
    lines += ["  --version: shows the versions of the toolkit and of TensorFlow"]
    return "\n".join(lines)


def _describe(flag: flags.Flag) -> list[str]:
    text, value = flag.help, ""
    if text.startswith("<") and ">: " in text:  # absl puts the choices of enums first
        choices, text = text.split(">: ", 1)
        value = f"={choices[1:]}"
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}{value}"
    if flag.default is not None:
        default = flag.default_as_str.strip("'")
        text = f"{text} (default: {default})"
    elif "Default: " not in text:
        text = f"{text} (default: not set)"
    wrapped = textwrap.wrap(text, 74)
    return [f"  {name}", *(f"      {line}" for line in wrapped)]


def parse(
    values: flags.FlagValues,
    argv: list[str],
    words: str = "",
    renamed: Mapping[str, str] | None = None,
) -> list[str]:
    """Parses `argv` (program name first) into `values`.

    `renamed` maps flags of earlier releases to their replacements.

    Returns:
        The arguments that are not flags, if the command accepts `words`.

    Raises:
        InvalidInput: a flag is unknown (the message names the nearest one), a value is
            wrong, there is an unexpected word, or an argument has bytes that are not
            UTF-8 or control characters, which flags.txt could not hold.
    """
    _check_characters(argv)
    values.set_gnu_getopt(bool(words))
    try:
        rest = values(argv)
    except (flags.Error, ValueError) as error:  # ValueError: --nodebug=3
        said = hints.explain(error, values, renamed or {})
        raise errors.InvalidInput(said) from error
    if len(rest) > 1 and not words:
        meant = hints.suggest_flag(rest[1], values)
        raise errors.InvalidInput(
            f"unexpected word {rest[1]!r}; "
            + (f"did you mean {meant}? " if meant else "")
            + "flags are written --name=value, see --help"
        )
    return rest[1:]


def _check_characters(argv: list[str]) -> None:
    for word in argv:
        if any("\ud800" <= char <= "\udfff" for char in word):
            raise errors.InvalidInput(
                f"{ascii(word)} is not UTF-8; rename what it names"
            )
        if not word.isprintable() and any(
            unicodedata.category(c) == "Cc" for c in word
        ):
            raise errors.InvalidInput(
                f"{word!r} holds a line break or another control character; rename "
                "what it names"
            )


def run(
    name: str,
    summary: str,
    values: flags.FlagValues,
    main: Callable[..., int | None],
    words: str = "",
    renamed: Mapping[str, str] | None = None,
) -> NoReturn:
    """Parses sys.argv, calls `main`, exits with its code or that of the error.

    If stdout cannot be written, the exit code of finished work does not change.

    `words` is the usage text of further arguments, which are passed to `main`; a
    command without it accepts flags only.
    """
    configure_process()
    CONSOLE.translate = functools.partial(translate_options, values=values)
    with (
        streams.tolerate_lost_streams(before=CONSOLE.make_room) as out,
        CONSOLE.watched(name),
    ):
        asked = any(word in ("--help", "-help", "-h") for word in sys.argv[1:])
        try:
            with raising_on_interrupt(name, streams.stderr_descriptor):
                if asked or "--version" in sys.argv[1:]:
                    told = help_text(name, summary, values, words)
                    print(told if asked else version.describe())
                    code = 0
                else:
                    found = parse(values, sys.argv, words, renamed)
                    code = (main(found) if words else main()) or 0
        except (KeyboardInterrupt, errors.Interrupted, Exception) as error:  # noqa: BLE001
            code, message = _verdict(error, values)
            _explain(name, message, values)
        out.flush()
        if out.lost and not out.left:
            print(f"{name}: stdout cannot be written: {out.lost}", file=sys.stderr)
            code = code or (EXIT_FAILED if asked else 0)
    leave_process(code)


def leave_process(code: int) -> NoReturn:
    """Ends the process of a command without waiting for TensorFlow's destructors.

    They and the collection of a million objects take seconds, and have nothing to save:
    a command has closed its files. Threads that are no daemons end first, and what was
    registered with atexit is run, as Python does. A worker of several takes leave of
    its peers in the destructors.
    """
    leaves_now = "tensorflow" in sys.modules and TF_CONFIG not in os.environ
    with contextlib.suppress(ValueError):  # the main thread alone may set handlers
        # A thread that does not end may be waited for: Ctrl-C ends that, too.
        at_once = (lambda *_: os._exit(code)) if leaves_now else signal.SIG_IGN
        signal.signal(signal.SIGINT, at_once)
    if not leaves_now:
        sys.exit(code)
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(code)


def translate_options(message: str, values: flags.FlagValues) -> str:
    """Names the options in a message of the library as flags of a command.

    `epochs=3` becomes --epochs=3, "`epochs`" --epochs, `debug=False` --nodebug. Names
    that are not flags of the command, and parts of paths or lists, are not changed.
    Where the message tells a command of the trainer, its directory is a flag, too.
    """
    everywhere = ("flagfile", "run_dir")[: 1 + ("trainer.main" in message)]

    def translate(match: re.Match[str]) -> str:
        name, value = match[1] or match[3], match[2] or match[4]
        known = name if name in values else name.removeprefix("no")
        boolean = known in values and values[known].boolean
        if known not in (*values, *everywhere) or (name != known and not boolean):
            return match[0]
        if boolean and value in ("True", "False"):
            return f"--{name}" if value == "True" else f"--no{name}"
        return f"--{name}" if value is None else f"--{name}={value}"

    return _OPTION.sub(translate, message)


def _verdict(error: BaseException, values: flags.FlagValues) -> tuple[int, str]:
    """Returns the exit code and the message of an error, without a traceback."""
    error = errors.unwrap_interruption(error)
    if isinstance(error, KeyboardInterrupt) or was_interrupted():
        return EXIT_INTERRUPTED, "stopped by SIGINT"
    if isinstance(error, errors.Interrupted):
        return error.code, translate_options(str(error), values)
    if not isinstance(error, errors.TrainingFailed) and system.is_out_of_memory(error):
        return EXIT_FAILED, system.explain_out_of_memory(error)
    if isinstance(error, errors.InvalidInput):
        return EXIT_WRONG_USAGE, translate_options(str(error), values)
    if isinstance(error, errors.TrainingFailed):
        return EXIT_FAILED, translate_options(str(error), values)
    if isinstance(error, ImportError):
        told = f"a package cannot be imported: {errors.first_line(error)}"
        return EXIT_FAILED, f"{told};\ninstall it again (--debug shows which)"
    known = isinstance(error, OSError) and error.errno in storage.TABLE
    if known and error.errno != errno.ENOENT:  # a missing file is no lost storage
        return _verdict(storage.as_failure("failed", error), values)
    named = f"{type(error).__name__}: {errors.first_line(error)}"
    return EXIT_FAILED, f"{named} (--debug shows where)"


def _explain(name: str, message: str, values: flags.FlagValues) -> None:
    asked = any(word in ("--debug", "--debug=true") for word in sys.argv)
    if asked or (values.is_parsed() and "debug" in values and values["debug"].value):
        traceback.print_exc()
    CONSOLE.close()
    print(f"{name}: {printable(message)}", file=sys.stderr)
