"""Trains a model: python -m trainer.main --strategy=mirrored."""

from trainer import commandline, flags, quiet, runs, signals
from trainer.commandline import UsageError

SUMMARY = "Trains a small image classifier; --run_dir resumes a run."


def main() -> None:
    """Checks what can be checked at once, then imports TensorFlow, trains."""
    config, run_config = flags.read()
    request = signals.StopRequest(run_config.grace_secs)
    request.install()
    run = runs.Run(runs.new_path(config, run_config))
    runs.admit(run, config, run_config)
    if (finished := run.result()) is not None:
        print(runs.closing(run, finished))
        return
    with quiet.start_up():
        from trainer import job
    try:
        job.train(run, config, run_config, request)
    except ValueError as error:
        raise UsageError(str(error)) from error


if __name__ == "__main__":
    commandline.run("trainer.main", SUMMARY, flags.define(), main)
