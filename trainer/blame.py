"""Blame: what an error of TensorFlow or the system means for whoever trains."""

import contextlib
import typing
from collections.abc import Iterator

import tensorflow as tf

from trainer import memory
from trainer.actions import REMEDY
from trainer.commandline import Failure, Stopped, lost
from trainer.evaluation import NotFinite
from trainer.forecast import Forecast
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
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise Failure(_memory(job, error)) from error
    except OSError as error:
        if memory.lacking(error):
            raise Failure(_memory(job, error)) from error
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


def _memory(job: "Job", error: Exception) -> str:
    """What was lacking, and the flag that matters most."""
    forecast = Forecast.of(job.trainer.body, job.config, job.cluster, job.data)
    return memory.explanation(error, forecast.remedy(job.config, job.cluster))
