"""Checks the trainer's flags before anything of a job or a study exists."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from launch import trainer_command
from launch.command_line import HELP_FLAGS, UsageError
from launch.supervisor import exit_policy
from launch.supervisor.process_identity import die_with_parent
from trainer.contract import TF_CONFIG, is_progress_line, shell_code

PATIENCE_SECS = 0.5  # before a line says what is waited for
CHECK_MODULE = "trainer.cli.check"
LISTS_MODULE = "trainer.cli.flag_lists"
# Flags that the study sets, and those that would make its trials no trials.
_OWN = {
    "run_dir": "each trial has its own in the study's directory",
    "runs_root": "each trial has its own directory in the study's",
    "resume": "the study resumes its trials",
    "dry_run": "leave it out",
    "pause_at": "the pruner pauses trials",
    "test": "trials are never tested; --finish tests the winner",
}
# Those of them that flags.txt of any run has: a study's own come later and count.
_IN_FLAGS_TXT = {"runs_root", "test"}


def find_refusal(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> int | None:
    """Asks the trainer whether a job may start; returns its exit code, None if it may.

    The trainer itself has shown its message or its help.

    Args:
      arguments: the trainer's flags.
      environment: with TF_CONFIG.
    """
    command = [sys.executable, "-m", CHECK_MODULE, *arguments]
    # Its messages are passed on at its end: Ctrl-C stops both, and one line says so.
    with subprocess.Popen(
        command,
        env=dict(environment),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(),
    ) as child:
        try:
            said = _communicate(child)
        except BaseException:
            child.kill()
            raise
    for line in said.splitlines():
        if not is_progress_line(line):
            print(line, file=sys.stderr)
    code = shell_code(child.returncode)
    return code if code or _asks_help(arguments) else None


def _communicate(child: subprocess.Popen[str]) -> str:
    """Waits for the end of the check; returns what it has written to stderr."""
    try:
        return child.communicate(timeout=PATIENCE_SECS)[1]
    except subprocess.TimeoutExpired:
        waited = "checking the trainer's flags (0:01 so far)"
        print(waited, file=sys.stderr, flush=True)
        return child.communicate()[1]


def _asks_help(arguments: Sequence[str]) -> bool:
    return bool(HELP_FLAGS.intersection(arguments))


def read_trainer_flags(arguments: Sequence[str]) -> list[str]:
    """Reads the flags of all trials; those of a flag file take its place.

    Raises:
      UsageError: they set a flag that is the study's, or a strategy of several workers,
        or a file cannot be read.
    """
    _check_own(arguments, _OWN)
    found = trainer_command.expand_flag_files(arguments)
    _check_own(found, {k: v for k, v in _OWN.items() if k not in _IN_FLAGS_TXT})
    return found


def _check_own(arguments: Sequence[str], names: Mapping[str, str]) -> None:
    for argument in arguments:
        name = argument.partition("=")[0].lstrip("-")
        dashed = argument.startswith("-")
        for own, why in names.items():
            if dashed and name in (own, f"no{own}"):
                raise UsageError(f"--{name} after `--` is not possible: {why}")
        if argument in ("--strategy=multi_worker", "multi_worker"):
            raise UsageError(
                "--strategy=multi_worker after `--`: a trial is one process; take "
                "mirrored or leave it out"
            )


def check_configurations(
    trainer_flags: Sequence[str], configurations: Sequence[Sequence[str]]
) -> int:
    """Asks the trainer about configurations, in one process; returns its seed.

    Args:
      trainer_flags: the flags of all trials.
      configurations: the further arguments of each.

    Raises:
      UsageError: the trainer refuses one; the message is the trainer's.
    """
    lists = [[*trainer_flags]]
    lists += [[*trainer_flags, *each] for each in configurations]
    answers = _ask(lists)
    _require_good(trainer_flags, answers[0])
    for words, answer in zip(lists[1:], answers[1:], strict=True):
        if answer["code"]:
            tried = " ".join(words[len(trainer_flags) :])
            raise UsageError(f"with {tried[:200]}: {answer['message'][:400]}")
    has_files = any("image_dir" in w or "image_list" in w for w in trainer_flags)
    if not answers[0]["validation_fraction"] and not has_files:
        raise UsageError(
            "--validation_fraction=0 after `--` leaves no rows to choose by; take e.g. "
            "0.1, and --all_rows with --finish for the last training"
        )
    return answers[0]["seed"]


def check_recorded_flags(trainer_flags: Sequence[str]) -> None:
    """Checks the flags of a study that goes on: its trials would fail one by one.

    Another release may refuse what an earlier one took, and study.json of an earlier
    one may name a flag file that has gone or changed.

    Raises:
      UsageError: the trainer refuses them; the message is the trainer's.
    """
    _require_good(trainer_flags, _ask([trainer_flags])[0])


def _require_good(trainer_flags: Sequence[str], answer: dict) -> None:
    if answer["code"]:
        raise UsageError(f"the flags after `--`: {answer['message']}")
    trainer_command.find_grace_secs(trainer_flags)  # which each trial asks for


def _ask(lists: Sequence[Sequence[str]]) -> list[dict]:
    text = "".join(json.dumps(list(words)) + "\n" for words in lists)
    done = subprocess.run(
        [sys.executable, "-m", LISTS_MODULE],
        input=text,
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
        preexec_fn=die_with_parent(),
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise UsageError(f"the trainer's flags cannot be checked: {lines[-1][:300]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def prepare_data(
    trainer_flags: Sequence[str], prepare: Sequence[str], say: Callable[[str], None]
) -> int:
    """Prepares the data set of all trials, once; returns the exit code."""
    arguments = trainer_command.find_data_arguments(trainer_flags)
    return _run([*prepare, *arguments], "the data set is prepared", say)


def try_step(
    arguments: Sequence[str], train: Sequence[str], say: Callable[[str], None]
) -> int:
    """Runs one step of a trial that writes nothing; returns its exit code."""
    text = "one step of a trial is tried, which writes nothing"
    return _run([*train, *arguments, "--dry_run"], text, say)


def _run(command: Sequence[str], text: str, say: Callable[[str], None]) -> int:
    """Runs a command of the trainer; shows its message only if it fails."""
    with _Reminder(text, say):
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
            check=False,
            preexec_fn=die_with_parent(),
        )
    if done.returncode:
        for line in done.stderr.strip().splitlines()[-2:]:
            print(line, file=sys.stderr)
    if done.returncode < 0:
        ended = exit_policy.name_signal(-done.returncode)
        print(
            f"{text}: ended by {ended}, perhaps because memory ran out;\n"
            "give the command again, or lower --global_batch",
            file=sys.stderr,
        )
    return shell_code(done.returncode)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != TF_CONFIG}


class _Reminder:
    """Says every five seconds what takes so long, within the context."""

    def __init__(self, text: str, say: Callable[[str], None]) -> None:
        self._text, self._say = text, say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._remind, daemon=True)

    def __enter__(self) -> None:
        self._say(self._text)
        self._thread.start()

    def __exit__(self, *unused: object) -> None:
        self._ended.set()
        self._thread.join()

    def _remind(self) -> None:
        start = time.monotonic()
        while not self._ended.wait(5):
            self._say(f"{self._text} ({time.monotonic() - start:.0f} s so far)")


def check_directory(path: str) -> None:
    """Checks that the study's directory can be created or holds a study.

    Raises:
      UsageError: it cannot, or it is not empty and holds no study.
    """
    trainer_command.check_run_dir(path, flag="study_dir")
    try:
        names = os.listdir(path) if os.path.isdir(path) else []
    except OSError as error:
        raise UsageError(
            f"--study_dir={path} cannot be read ({error.strerror}); name another one"
        ) from error
    others = [name for name in names if not name.startswith(".")]
    if others and "study.json" not in others:
        raise UsageError(
            f"--study_dir={path} is not empty and holds no study; name another one"
        )
