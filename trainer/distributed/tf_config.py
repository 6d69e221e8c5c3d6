"""The cluster of a multi-worker job, from TF_CONFIG."""

import os

from trainer import contract
from trainer.errors import InvalidInput


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
