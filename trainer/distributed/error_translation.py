"""Translates errors of TensorFlow and the operating system to those of the toolkit."""

import contextlib
import pathlib
import re
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

# TensorFlow's messages have three forms.
_NOT_DETERMINISTIC = re.compile(
    r"(?:eterministic GPU implementation of"
    r"|Determinism is not yet supported (?:in GPU implementation of|for)) ([\w-]+)"
)


@contextlib.contextmanager
def translate_errors(
    run_dir: pathlib.Path,
    cluster: Cluster,
    heartbeat: Heartbeat,
    *,
    step: Callable[[], int],
    memory_remedy: Callable[[], str],
) -> Iterator[None]:
    """Translates errors raised within the context to short messages with a remedy.

    Args:
        run_dir: the run directory.
        cluster: the workers, one of which may be lost.
        heartbeat: the heartbeats of the other workers.
        step: returns the number of steps done.
        memory_remedy: returns what to change if memory does not suffice.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError, OSError) as error:
        if not isinstance(error, OSError) or system.is_out_of_memory(error):
            message = system.explain_out_of_memory(error, memory_remedy())
            raise TrainingFailed(message) from error
        raise as_failure(f"{run_dir} cannot be used", error) from error
    except tf.errors.UnimplementedError as error:
        if not (found := _NOT_DETERMINISTIC.search(error.message)):
            raise
        raise TrainingFailed(_explain_kernel(found[1])) from error
    except PEER_LOST as error:
        if cluster.workers == 1:
            raise
        raise _peer_lost(cluster.worker, f"step {step()}", heartbeat) from error
    except NotFinite as error:
        raise TrainingDiverged(
            f"after step {step()} {error}; see {run_dir / 'checkpoints'};\n"
            f"{DIVERGENCE_REMEDY}"
        ) from error


@contextlib.contextmanager
def translate_lost_peers(
    worker: int, workers: int, heartbeat: Heartbeat
) -> Iterator[None]:
    """Translates the loss of a peer while the network is built, before any step.

    Variables are sent from the chief to all workers when they are made.
    """
    try:
        yield
    except PEER_LOST as error:
        if workers == 1:
            raise
        raise _peer_lost(worker, "the start", heartbeat) from error


def _peer_lost(worker: int, when: str, heartbeat: Heartbeat) -> PeerLost:
    return PeerLost(
        f"worker {worker} lost a peer after {when}: "
        f"{heartbeat.describe_missing_peers()};\nrestart the whole group"
    )


def _explain_kernel(operator: str) -> str:
    return (
        f"TensorFlow has no deterministic GPU kernel of {operator}, which this network "
        "needs;\ndeterministic=False trains without the promise of equal bits, "
        "CUDA_VISIBLE_DEVICES= on the CPU"
    )
