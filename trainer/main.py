"""Trains a model: python -m trainer.main --strategy=mirrored."""

from typing import NoReturn

from trainer.cli import command, early_checks, flags, summary
from trainer.distributed import shutdown
from trainer.monitoring import native_output
from trainer.monitoring.progress import CONSOLE
from trainer.rundir import checks, layout


def main() -> None:
    """Checks the flags and the run directory, imports TensorFlow and trains."""
    config, run_config = flags.read_configs()
    request = shutdown.StopRequest(run_config.grace_secs)
    request.install()
    run = checks.select_run(config, run_config)
    if (finished := run.result()) is not None:
        if note := checks.describe_source_change(run, config):
            CONSOLE.say(note)
        CONSOLE.say("this run has finished already: nothing is trained")
        print(summary.format_result(run, finished))
        return
    early_checks.check_training(config, run_config, new=not run.exists)
    if not run.exists:  # exit code 2 would end a job whose network comes back
        early_checks.check_available(config, run_config)
    if not run_config.dry_run:
        layout.check_storage(run)
    with native_output.loading_libraries():
        from trainer.training import start
    result = start.train(run, config, run_config, request, flags_text=flags.flag_file())
    if result is not None:
        print(summary.format_result(run, result))


def run() -> NoReturn:
    """Runs the command with the arguments of this process."""
    command.run(
        flags.COMMAND, flags.SUMMARY, flags.define(), main, renamed=flags.RENAMED
    )


if __name__ == "__main__":
    run()
