"""Translates errors of TensorFlow and the system for whoever trains."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from trainer import system
from trainer.distributed.collectives import PEER_LOST
from trainer.distributed.heartbeat import Heartbeat
from trainer.distributed.strategy import Cluster
from trainer.errors import (
    DIVERGENCE_REMEDY,
    NotFinite,
    PeerLost,
    TrainingDiverged,
    TrainingFailed,
)
from trainer.storage import as_failure


@contextlib.contextmanager
def translate_errors(
    run_dir: pathlib.Path,
    cluster: Cluster,
    heartbeat: Heartbeat,
    *,
    step: Callable[[], int],
    memory_remedy: Callable[[], str],
) -> Iterator[None]:
    """Says in one line what errors of TensorFlow and the system inside mean.

    Args:
        run_dir: where the run is.
        cluster: the workers, of which one may be lost.
        heartbeat: what is seen of the others.
        step: gives the number of steps done.
        memory_remedy: gives what to change where memory does not suffice.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError, OSError) as error:
        if not isinstance(error, OSError) or system.is_out_of_memory(error):
            message = system.explain_out_of_memory(error, memory_remedy())
            raise TrainingFailed(message) from error
        raise as_failure(f"{run_dir} cannot be used", error) from error
    except PEER_LOST as error:
        if cluster.workers == 1:
            raise
        raise PeerLost(
            f"worker {cluster.worker} lost a peer after step {step()}: "
            f"{heartbeat.describe_missing_peers()};\nrestart the whole group"
        ) from error
    except NotFinite as error:
        raise TrainingDiverged(
            f"after step {step()} {error}; see {run_dir / 'checkpoints'};\n"
            f"{DIVERGENCE_REMEDY}"
        ) from error
