"""The cluster of a multi-worker job, from TF_CONFIG."""

import os
import socket
import time

from trainer import contract
from trainer.errors import InvalidInput, PeerLost

RESOLVE_SECS = 30.0  # for a name service that learns of pods while they start
_RETRY_SECS = 0.5


def read_task() -> contract.ClusterSpec:
    """Reads TF_CONFIG: the workers of this job and the index of this process.

    Raises:
        InvalidInput: TF_CONFIG is missing, or does not describe a worker.
    """
    text = os.environ.get(contract.TF_CONFIG)
    if text is None:
        raise InvalidInput(
            "strategy=multi_worker reads its cluster from TF_CONFIG, which is not "
            "set;\nstart the workers with launch.local or launch.worker"
        )
    try:
        return contract.read_cluster(text, contract.TF_CONFIG, ["worker"])
    except ValueError as error:
        raise InvalidInput(
            f"TF_CONFIG does not describe a worker of a cluster: {error}; start "
            "the workers with launch.local or launch.worker"
        ) from error


def wait_for_names(cluster: contract.ClusterSpec) -> None:
    """Waits until the name of each worker, also of this one, has an address.

    TensorFlow waits for ever for a name without, and no signal ends it.

    Raises:
        PeerLost: a name has no address after RESOLVE_SECS.
    """
    deadline = time.monotonic() + RESOLVE_SECS
    for index, address in enumerate(cluster.workers):
        host = address.rpartition(":")[0].strip("[]")
        while (fault := _find_fault(host)) is not None:
            if time.monotonic() > deadline:
                raise PeerLost(
                    f"worker {index} of TF_CONFIG, {address}, has no address: {fault}; "
                    "correct the name, or wait until the name service knows it"
                )
            time.sleep(_RETRY_SECS)


def _find_fault(host: str) -> str | None:
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return error.strerror or str(error)
    return None
