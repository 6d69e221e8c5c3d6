"""Blame: what an error of TensorFlow or the system means for whoever trains."""

import contextlib
import typing
from collections.abc import Iterator

import tensorflow as tf

from trainer import system
from trainer.contract import EXIT_PEER_LOST
from trainer.distributed import collectives
from trainer.errors import DIVERGENCE_REMEDY, Interrupted, NotFinite, TrainingFailed
from trainer.storage import as_failure
from trainer.training.estimate import ResourceEstimate

if typing.TYPE_CHECKING:
    from trainer.training.session import TrainingSession


@contextlib.contextmanager
def translate_errors(job: "TrainingSession") -> Iterator[None]:
    """Says in one line what errors of TensorFlow and the system inside mean."""
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise TrainingFailed(_memory(job, error)) from error
    except OSError as error:
        if system.lacking(error):
            raise TrainingFailed(_memory(job, error)) from error
        raise as_failure(f"{job.run.path} cannot be used", error) from error
    except collectives.PEER_LOST as error:
        if job.cluster.workers == 1:
            raise
        raise Interrupted(
            f"worker {job.cluster.worker} lost a peer after step {job.state.step}: "
            f"{job.heartbeat.missing()};\nrestart the whole group",
            EXIT_PEER_LOST,
        ) from error
    except NotFinite as error:
        raise TrainingFailed(
            f"after step {job.state.step} {error}; see {job.run.checkpoints};\n"
            f"{DIVERGENCE_REMEDY}"
        ) from error


def _memory(job: "TrainingSession", error: Exception) -> str:
    """What was lacking, and the flag that matters most."""
    forecast = ResourceEstimate.of(job.trainer.body, job.config, job.cluster, job.data)
    return system.explanation(error, forecast.remedy(job.config, job.cluster))
