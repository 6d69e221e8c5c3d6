"""Resumption: what a job takes over from its run directory, the same on all workers."""

import typing

import numpy as np
import tensorflow as tf

from trainer import checkpoints, environment
from trainer.choices import Resume
from trainer.cluster import Cluster
from trainer.commandline import Stopped, UsageError
from trainer.heartbeat import LOST
from trainer.nested import differences

if typing.TYPE_CHECKING:
    from trainer.job import Job

HASH_BYTES = 7  # of a hash that workers compare: they fit an int64


def digest(sha256: str) -> int:
    """The part of a hash that workers compare."""
    return int.from_bytes(bytes.fromhex(sha256)[:HASH_BYTES], "big")


def check_data(job: "Job") -> None:
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


def restore(job: "Job") -> bool:
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
        _agree(job)
    return job.state.step > 0


def _choose(job: "Job") -> None:
    if not job.run.exists:
        return
    check_data(job)
    if note := _changed(job):
        job.progress.say(note)
    checkpoint = checkpoints.newest(
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


def _changed(job: "Job") -> str | None:
    try:
        before = job.run.environment()
    except UsageError as error:
        return f"{error}; whether the machine changed cannot be told"
    return environment.changed(before, job.environment)


def _agree(job: "Job") -> None:
    """Lets the others restore what the chief did, and compares what came of it."""
    step = int(gather(job.cluster, [job.state.step])[0, 0])
    if step != job.state.step:
        _follow(job, step)
    weights = digest(job.state.facts()["weights_sha256"])
    held = gather(job.cluster, [job.state.step, weights])
    for worker, theirs in enumerate(held):
        if (theirs != held[0]).any():
            raise Stopped(
                f"worker {worker} restored {_named(theirs)}, worker 0 "
                f"{_named(held[0])}, both from {job.run.checkpoints};\nlet all see "
                "the same files and restart the whole group",
                LOST,
            )


def _follow(job: "Job", step: int) -> None:
    """Restores the checkpoint of `step`; where it cannot be read all hear of it."""
    path = checkpoints.folder(job.run.checkpoints, step)
    try:
        checkpoint = checkpoints.read(path)
        job.state.load(checkpoint.arrays, checkpoint.facts)
    except (ValueError, FileNotFoundError) as error:  # Damaged is a ValueError
        job.progress.say(f"worker {job.cluster.worker} cannot restore {path}: {error}")


def _named(held: np.ndarray) -> str:
    weights = int(held[1]).to_bytes(HASH_BYTES, "big").hex()
    return f"step {held[0]} (weights {weights[:12]})"


def gather(cluster: Cluster, numbers: list[int]) -> np.ndarray:
    """What every worker gave, int64 [workers, n]; each of them has to call it."""

    def tell(own: tf.Tensor) -> tf.Tensor:
        return tf.distribute.get_replica_context().all_gather(own[None], axis=0)

    @tf.function(autograph=False)
    def exchange(own: tf.Tensor) -> tf.Tensor:
        told = cluster.strategy.run(tell, args=(own,))
        return cluster.strategy.experimental_local_results(told)[0]

    told = exchange(tf.constant(numbers, tf.int64)).numpy()
    return told[:: cluster.replicas // cluster.workers]
