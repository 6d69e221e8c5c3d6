"""Reads the cluster of a multi-worker job from TF_CONFIG."""

import os

from trainer import contract
from trainer.errors import InvalidInput


def read_task() -> contract.ClusterSpec:
    """The workers of this job and which of them this process is, as TF_CONFIG says.

    Raises:
        InvalidInput: TF_CONFIG is missing, or does not describe a worker.
    """
    text = os.environ.get(contract.TF_CONFIG)
    if text is None:
        raise InvalidInput(
            "strategy=multi_worker reads its cluster from TF_CONFIG, which is not "
            "set;\nstart it through python -m launch.local or launch.worker"
        )
    try:
        return contract.read_cluster(text, contract.TF_CONFIG, ["worker"])
    except ValueError as error:
        raise InvalidInput(
            f"TF_CONFIG does not describe a worker of a cluster: {error}; start it "
            "through python -m launch.local or launch.worker"
        ) from error
