"""Trains a model: python -m trainer.main --strategy=mirrored."""

from trainer import commandline, flags, quiet, runs, signals
from trainer.config import Config
from trainer.run_config import RunConfig

SUMMARY = "Trains a small image classifier; --run_dir resumes a run."


def main() -> None:
    """Checks what can be checked at once, then imports TensorFlow, trains."""
    config, run_config = flags.read()
    request = signals.StopRequest(run_config.grace_secs)
    request.install()
    run = admitted(config, run_config)
    if (finished := run.result()) is not None:
        print(runs.closing(run, finished))
        return
    if not run_config.dry_run:
        runs.check_storage(run)
    with quiet.start_up():
        from trainer import job
    job.train(run, config, run_config, request)


def admitted(config: Config, run_config: RunConfig) -> runs.Run:
    """The run that this training makes or goes on with; nothing is written.

    Raises:
        UsageError: it may not.
    """
    run = runs.Run(runs.new_path(config, run_config))
    runs.admit(run, config, run_config)
    return run


if __name__ == "__main__":
    commandline.run("trainer.main", SUMMARY, flags.define(), main)
