"""Runs trainer.main in the container or step of a scheduler."""

import os
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence

from absl import flags

from launch import command_line, flag_checks, rendezvous, trainer_command
from launch.platforms import platform_registry
from trainer.contract import EXIT_PEER_LOST, Interrupts, stop_signals

_TITLES = [platform.title for platform in platform_registry.PLATFORMS]
_DESCRIPTION = (
    f"Works out TF_CONFIG from the environment of {', '.join(_TITLES[:-1])} or "
    f"{_TITLES[-1]}, waits until all workers reach each other, then becomes the "
    "trainer: exit codes and signals are the trainer's. Exits 175 when a peer does not "
    "come, 2 when the environment does not fit."
)
USAGE = f"""launch.worker: runs trainer.main inside a scheduler's container or step.

    python -m launch.worker [flags] -- TRAINER FLAGS

{textwrap.fill(_DESCRIPTION, 88)}
"""

Exec = Callable[[str, list[str], dict[str, str]], object]  # as os.execve


def define(values: flags.FlagValues) -> None:
    """Declares this command's flags."""
    flags.DEFINE_integer(
        "peers_secs",
        600,
        "Longest wait for the other workers, in seconds; images are pulled meanwhile.",
        lower_bound=1,
        flag_values=values,
        module_name="Cluster",
    )
    flags.DEFINE_bool(
        "print_config",
        False,
        "Print TF_CONFIG and exit, without waiting or training.",
        flag_values=values,
        module_name="Cluster",
    )


def main(
    arguments: Sequence[str] | None = None,
    environment: dict[str, str] | None = None,
    execute: Exec = os.execve,
) -> int:
    """Replaces this process by the trainer; returns only if that fails."""
    environment = dict(os.environ if environment is None else environment)

    def exec_trainer(values: flags.FlagValues, trainer_flags: list[str]) -> int:
        return _exec_trainer(values, trainer_flags, environment, execute)

    return command_line.run(USAGE, define, exec_trainer, arguments)


def _exec_trainer(
    values: flags.FlagValues,
    trainer_flags: list[str],
    environment: dict[str, str],
    execute: Exec,
) -> int:
    if command_line.HELP_FLAGS.intersection(trainer_flags):
        return flag_checks.find_refusal(trainer_flags, environment) or 0
    trainer_command.check_restartable(trainer_flags)
    try:
        cluster = platform_registry.read_cluster(environment)
    except ValueError as error:
        raise command_line.UsageError(str(error)) from error
    environment["TF_CONFIG"] = cluster.to_json()
    if values.print_config:
        print(environment["TF_CONFIG"])
        return 0
    arguments = trainer_command.TrainerCommand.from_flags(
        trainer_flags, default_run_dir=""
    ).arguments
    _end_on_signals()
    if (code := flag_checks.find_refusal(arguments, environment)) is not None:
        return code
    try:
        rendezvous.wait_for_peers(cluster, limit_secs=values.peers_secs)
    except rendezvous.PeersError as error:
        print(f"launch.worker: {error}", file=sys.stderr)
        return EXIT_PEER_LOST
    command = [sys.executable, "-m", trainer_command.MODULE, *arguments]
    execute(sys.executable, command, environment)
    return EXIT_PEER_LOST


def _end_on_signals() -> None:
    """Makes signals end the process, as Linux ignores them in a first process."""
    for number in stop_signals():
        signal.signal(number, Interrupts("launch.worker").end)


if __name__ == "__main__":
    sys.exit(main())
