"""Resumption: what a job takes over from its run directory, the same on all workers."""

import typing

import numpy as np

from trainer.config.enums import Resume
from trainer.config.serialization import differences
from trainer.contract import EXIT_PEER_LOST
from trainer.distributed import collectives, environment
from trainer.errors import Interrupted, UsageError
from trainer.rundir import checkpoints

if typing.TYPE_CHECKING:
    from trainer.training.session import TrainingSession


def check_data(job: "TrainingSession") -> None:
    """Raises UsageError unless the run was trained on the job's data."""
    theirs = job.run.recorded().get("data", {})
    if not isinstance(theirs, dict):
        raise UsageError(
            f"{job.run.path / 'config.json'} is damaged: its data is {theirs!r:.80}, "
            "no object; restore it, or name another --run_dir"
        )
    if found := differences(theirs, job.data.recorded()):
        named = "; ".join(found)[:500]
        raise UsageError(
            f"{job.run.path} was trained on other data (its != yours: {named});\n"
            "give its own --data_dir, or another --run_dir"
        )


def restore_latest(job: "TrainingSession") -> bool:
    """Takes over the newest good checkpoint, if there is one.

    The chief chooses; its choice is told to the other workers.

    Raises:
        UsageError: it is of other data, or --resume=must and there is none.
        Stopped: with 175, not all workers restored the same.
    """
    job.heartbeat.beat("restore", job.state.step)
    if job.cluster.chief:
        _choose(job)
    if job.cluster.workers > 1:
        _verify_agreement(job)
    return job.state.step > 0


def _choose(job: "TrainingSession") -> None:
    if not job.run.exists:
        return
    check_data(job)
    if note := _changed(job):
        job.progress.say(note)
    checkpoint = checkpoints.load_latest(
        job.run.checkpoints,
        skipped=job.progress.say,
        expected={"config": job.config.to_json(), "data": job.data.recorded()},
    )
    if checkpoint is not None:
        try:
            job.state.load(checkpoint.arrays, checkpoint.facts)
        except ValueError as error:
            raise UsageError(
                f"{checkpoint.path} is not of this run: {error}; move it away"
            ) from error
        job.progress.say(f"resumed {job.run.path} after step {checkpoint.step}")
    elif job.run_config.resume is Resume.MUST:
        raise UsageError(
            f"--resume=must, but {job.run.path} has no good checkpoint; leave "
            "--resume out to start it again"
        )


def _changed(job: "TrainingSession") -> str | None:
    try:
        before = job.run.environment()
    except UsageError as error:
        return f"{error}; whether the machine changed cannot be told"
    return environment.changed(before, job.environment)


def _verify_agreement(job: "TrainingSession") -> None:
    """Lets the others restore what the chief did, and compares what came of it."""
    step = int(collectives.gather(job.cluster, [job.state.step])[0, 0])
    if step != job.state.step:
        _restore_step(job, step)
    weights = collectives.digest(job.state.facts()["weights_sha256"])
    held = collectives.gather(job.cluster, [job.state.step, weights])
    for worker, theirs in enumerate(held):
        if (theirs != held[0]).any():
            raise Interrupted(
                f"worker {worker} restored {_named(theirs)}, worker 0 "
                f"{_named(held[0])}, both from {job.run.checkpoints};\nlet all see "
                "the same files and restart the whole group",
                EXIT_PEER_LOST,
            )


def _restore_step(job: "TrainingSession", step: int) -> None:
    """Restores the checkpoint of `step`; where it cannot be read all hear of it."""
    path = checkpoints.folder_of(job.run.checkpoints, step)
    try:
        checkpoint = checkpoints.load(path)
        job.state.load(checkpoint.arrays, checkpoint.facts)
    except (ValueError, FileNotFoundError) as error:  # Damaged is a ValueError
        job.progress.say(f"worker {job.cluster.worker} cannot restore {path}: {error}")


def _named(held: np.ndarray) -> str:
    weights = int(held[1]).to_bytes(collectives.HASH_BYTES, "big").hex()
    return f"step {held[0]} (weights {weights[:12]})"
