"""Blame: what an error of TensorFlow or the system means for whoever trains."""

import contextlib
import typing
from collections.abc import Iterator

import tensorflow as tf

from trainer.actions import REMEDY
from trainer.commandline import Failure, Stopped, lost
from trainer.evaluation import NotFinite
from trainer.heartbeat import LOST

if typing.TYPE_CHECKING:
    from trainer.job import Job

# What the survivors' collectives raise when a worker is gone.
PEER_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


@contextlib.contextmanager
def explaining(job: "Job") -> Iterator[None]:
    """Says in one line what errors of TensorFlow and the system inside mean."""
    try:
        yield
    except OSError as error:
        raise lost(f"{job.run.path} cannot be used", error) from error
    except PEER_LOST as error:
        if job.cluster.workers == 1:
            raise
        raise Stopped(
            f"worker {job.cluster.worker} lost a peer after step {job.state.step}: "
            f"{job.heartbeat.missing()};\nrestart the whole group",
            LOST,
        ) from error
    except NotFinite as error:
        raise Failure(
            f"after step {job.state.step} {error}; see {job.run.checkpoints};\n{REMEDY}"
        ) from error
    except tf.errors.ResourceExhaustedError as error:
        raise Failure(
            f"out of memory with --global_batch={job.config.global_batch} on "
            f"{job.cluster.replicas} replica(s); lower --global_batch or "
            "--model_width, or use --precision=mixed_bfloat16"
        ) from error
