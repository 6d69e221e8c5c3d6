"""Command line of the trainer, as far as a launcher needs to know it.

>>> TrainerCommand.from_flags(["--epochs=3"], default_run_dir="runs/a").arguments
('--epochs=3', '--run_dir=runs/a', '--strategy=multi_worker')
"""

import dataclasses
import os
import re
import tempfile
from collections.abc import Sequence

from absl import flags

from launch.command_line import UsageError, require_utf8
from trainer import contract

MODULE = "trainer.main"
PREPARE_MODULE = "trainer.prepare"
DEFAULT_GRACE_SECS = 30

_NAMES = ("strategy", "run_dir", "runs_root", "resume", "dataset", "data_dir", "model")
_NAMES += ("threads",)
# Flags of the data: `trainer.prepare` takes them, too.
_DATA = ("dataset", "data_dir", "image_dir", "image_list", "image_size", "resize")
_DATA += ("channels", "test_fraction", "skip_unreadable")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerCommand:
    """The trainer's command line for a job of several workers.

    `arguments` are the given ones, with flags in place of flag files and completed by
    run_dir and strategy, as a restart has to be the same command. `grace_secs` is the
    time that the trainer may take to save and exit after a signal. A `dry_run` writes
    nothing.
    """

    arguments: tuple[str, ...]
    run_dir: str
    grace_secs: int
    prepare_arguments: tuple[str, ...]
    dry_run: bool = False

    @classmethod
    def from_flags(
        cls,
        arguments: Sequence[str],
        *,
        default_run_dir: str,
        threads: int | None = None,
    ) -> "TrainerCommand":
        """Completes `arguments`; the flags of each --flagfile take its place.

        `threads` is the number that the platform gives to a worker, if it is known: the
        trainer would use all cores that it sees, even those of a whole node.

        Raises:
          UsageError: another strategy, no run directory, no grace period, a flag file
            that cannot be read, or no UTF-8.
        """
        arguments = expand_flag_files(arguments)
        for argument in arguments:
            require_utf8(argument)
        given = _parse_known(arguments)
        run_dir = _choose_run_dir(given, default_run_dir)
        added = [f"--run_dir={run_dir}", "--strategy=multi_worker"]
        if threads is not None and given.threads is None:
            added.append(f"--threads={threads}")
        return cls(
            arguments=(*arguments, *(a for a in added if a not in arguments)),
            run_dir=run_dir,
            grace_secs=given.grace_secs,
            dry_run=given.dry_run,
            prepare_arguments=_data_arguments(given),
        )

    def arguments_after(self, restarts: int) -> tuple[str, ...]:
        """Returns a start's arguments; `--resume=never` is meant for the first one."""
        if restarts and _parse_known(self.arguments).resume == "never":
            return (*self.arguments, "--resume=auto")
        return self.arguments


def expand_flag_files(arguments: Sequence[str]) -> list[str]:
    """Puts the flags of each --flagfile in its place, in the order the trainer reads.

    What is kept for a later start or for another machine must not change when a file
    does.

    Raises:
      UsageError: a file cannot be read, is no text, or names another file in a form
        that the trainer refuses.
    """
    try:
        # Without force_gnu the value of `--epochs 3` would end the search: which flags
        # have values is not known here.
        found = flags.FlagValues().read_flags_from_files(arguments, force_gnu=True)
    except (flags.Error, ValueError) as error:  # ValueError: the file is not UTF-8
        cause = error.__context__
        if isinstance(cause, OSError):
            raise UsageError(
                f"--flagfile={cause.filename} cannot be read: {cause.strerror}"
            ) from error
        raise UsageError(f"the trainer's flags cannot be read: {error}") from error
    for word in found:
        if re.match(r"--?flagfile(=|$)", word):
            raise UsageError(
                f"{word!r} in a flag file is not followed; write --flagfile=FILE, at "
                "the beginning of its line"
            )
    return found


def find_data_arguments(arguments: Sequence[str]) -> tuple[str, ...]:
    """Finds the flags of the data among the trainer's: `trainer.prepare` takes them."""
    return _data_arguments(_parse_known(arguments))


def find_grace_secs(arguments: Sequence[str]) -> int:
    """Finds how long the trainer may take to save and exit after a signal."""
    return _parse_known(arguments).grace_secs


def _data_arguments(given: flags.FlagValues) -> tuple[str, ...]:
    shared = {name: given[name].value for name in _DATA}
    return tuple(
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in shared.items()
        if value not in (None, False)
    )


def _choose_run_dir(given: flags.FlagValues, default: str) -> str:
    """Returns the run's directory.

    Raises:
      UsageError: there is none, or another strategy is asked for.
    """
    if given.strategy not in (None, "multi_worker"):
        raise UsageError(
            f"--strategy={given.strategy}: a job of several workers is "
            "multi_worker; leave the flag out"
        )
    run_dir = given.run_dir if given.run_dir is not None else default
    if not run_dir:
        raise UsageError(
            "--run_dir is missing or empty after `--`; name the run's directory, "
            "one for all workers and restarts"
        )
    return run_dir


def for_scheduler(
    arguments: Sequence[str], *, default_run_dir: str, threads: int | None = None
) -> TrainerCommand:
    """Completes a command that is printed, and repeated unchanged at a restart.

    Raises:
      UsageError: see TrainerCommand.from_flags; also --resume=never.
    """
    check_restartable(arguments)
    return TrainerCommand.from_flags(
        arguments, default_run_dir=default_run_dir, threads=threads
    )


def check_restartable(arguments: Sequence[str]) -> None:
    """Raises UsageError if the same command would refuse to resume its own run."""
    if _parse_known(arguments).resume == "never":
        raise UsageError(
            "--resume=never: when the job is started again with the same flags, its "
            "own run would be refused; leave it out, a new --run_dir starts a new run"
        )


def local_run_dir(arguments: Sequence[str], *, time: str) -> str:
    """Builds the trainer's name for a run: <runs_root>/<time>-<model>-<dataset>."""
    given = _parse_known(arguments)
    files = [name for name in ("image_dir", "image_list") if given[name].value]
    dataset = given.dataset or "".join(files) or "cifar10"
    name = contract.name_run(time, given.model or "cnn", dataset)
    return f"{given.runs_root or 'runs'}/{name}"


def _parse_known(arguments: Sequence[str]) -> flags.FlagValues:
    """Parses the flags named above; all others are ignored."""
    values = flags.FlagValues()
    for name in dict.fromkeys((*_NAMES, *_DATA)):
        if name != "skip_unreadable":
            flags.DEFINE_string(name, None, "", flag_values=values)
    flags.DEFINE_bool("skip_unreadable", False, "", flag_values=values)
    flags.DEFINE_integer(
        "grace_secs", DEFAULT_GRACE_SECS, "", lower_bound=1, flag_values=values
    )
    flags.DEFINE_bool("dry_run", False, "", flag_values=values)
    values.set_gnu_getopt(True)  # `--epochs 3` must not end the parse
    try:
        values(["", *expand_flag_files(arguments)], known_only=True)
    except ValueError as error:  # of --nodry_run=3
        raise UsageError(f"the trainer's flags cannot be read: {error}") from error
    return values


def absolute_run_dir(text: str, *, flag: str = "run_dir") -> str:
    """Resolves `text` to the run directory that the trainer would use.

    `flag` is the name of the directory's flag in messages.

    Raises:
      UsageError: it is in the home directory of an unknown user.
    """
    found = os.path.expanduser(text)
    if found.startswith("~"):
        raise UsageError(
            f"--{flag}={text}: the home directory of {text.partition('/')[0]} is not "
            "known; write the full path"
        )
    return os.path.abspath(found)


def check_run_dir(path: str, *, flag: str = "run_dir") -> None:
    """Checks that the absolute `path` can be created, and leaves nothing behind.

    Permissions are not sufficient: root may write to /proc but cannot create anything
    there. An existing directory is checked by the trainer. `flag` is the name of the
    directory's flag in messages.

    Raises:
      UsageError: it cannot be created.
    """
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    try:
        with tempfile.TemporaryDirectory(prefix=".launch-", dir=above) as probe:
            os.makedirs(os.path.join(probe, os.path.relpath(path, above)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"--{flag}={path} cannot be created ({reason}); name a directory inside "
            "one that you may write to"
        ) from error
    if os.path.lexists(path):
        raise UsageError(f"--{flag}={path} is not a directory; name another one")
