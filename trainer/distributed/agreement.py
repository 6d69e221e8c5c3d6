"""Checks that all workers of a job have the same config, data and code.

Each worker computes its part of every step from its own config, data and code. If one
of them differs, the summed gradients are wrong, and TensorFlow reports no error.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.config.run_config import RunConfig
from trainer.config.schema import Config
from trainer.config.serialization import to_plain
from trainer.distributed import tf_config
from trainer.distributed.collectives import PEER_LOST, digest, gather
from trainer.distributed.environment import PACKAGES
from trainer.distributed.strategy import Cluster
from trainer.errors import InvalidInput

# Fields that may differ between machines. Processors and threads may differ too: they
# change the order in which a worker adds numbers, not the numbers.
OWN = {
    "data_dir",
    "image_dir",
    "image_list",
    "teacher",
    "model_file",
    "init_from",
    "run_dir",
    "runs_root",
    "threads",
    "grace_secs",
}
OWN |= {"hang_secs", "debug"}
VARIABLES = ("TF_ENABLE_ONEDNN_OPTS", "NVIDIA_TF32_OVERRIDE", "XLA_FLAGS")
VARIABLES += ("TF_XLA_FLAGS",)


def facts(config: Config, run_config: RunConfig) -> dict[str, Any]:
    """Collects what the workers compare before they form a cluster, as plain JSON."""
    run = to_plain(dataclasses.asdict(run_config))
    return {
        "cluster": list(tf_config.read_task().workers),
        "config": config.to_json(),
        "run": {name: value for name, value in run.items() if name not in OWN},
        "code": code_sha256()[:12],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "variables": {name: os.environ.get(name) for name in VARIABLES},
        "gpus": len(tf.config.list_physical_devices("GPU")),
    }


def code_sha256() -> str:
    """Computes the SHA-256 of the source files of this package."""
    found, here = hashlib.sha256(), pathlib.Path(__file__).parents[1]
    for path in sorted(here.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(here)} {len(content)}\n".encode() + content)
    return found.hexdigest()


def check_data(cluster: Cluster, data: dict[str, Any], rows: np.ndarray) -> None:
    """Checks that all workers hold the same data; every worker has to call it.

    Args:
        cluster: the workers.
        data: the description of this worker's data, see `Dataset.recorded`.
        rows: int [N], the rows to train on.

    Raises:
        InvalidInput: a worker holds other data; it is raised on all workers.
    """
    if cluster.workers == 1:
        return
    own = data_digests(data, rows)
    gathered = gather(cluster, list(own.values()))
    for worker, theirs in enumerate(gathered):
        same = zip(own, theirs == gathered[0], strict=True)
        if odd := [name for name, equal in same if not equal]:
            with contextlib.suppress(*PEER_LOST):
                gather(cluster, [0])  # leave only when all workers know of it
            raise InvalidInput(
                f"worker {worker} holds other data than worker 0 ({', '.join(odd)} of "
                f"{data['name']} differ);\ngive all workers the same data set, see "
                "`data_dir` and `image_dir`"
            )


def check_architecture(cluster: Cluster, architecture: str | None) -> None:
    """Checks that all workers have built the same network; every worker has to call it.

    `architecture` is this worker's; None: it could not build one.

    Raises:
        InvalidInput: a worker has another one; it is raised on all workers.
    """
    if cluster.workers == 1:
        return
    sha256 = hashlib.sha256((architecture or "").encode()).hexdigest()
    own = [int(architecture is not None), digest(sha256)]
    gathered = gather(cluster, own)
    for worker, theirs in enumerate(gathered):
        if (theirs == gathered[0]).all() and theirs[0]:
            continue
        with contextlib.suppress(*PEER_LOST):
            gather(cluster, [0])  # leave only when all workers know of it
        what = "has built another network than worker 0"
        raise InvalidInput(
            f"worker {worker} {what if theirs[0] else 'cannot build the network'};\n"
            "give all workers the same files and packages"
        )


def data_digests(data: dict[str, Any], rows: np.ndarray) -> dict[str, int]:
    """Computes hashes of the parts of a data set, by name; each fits an int64."""
    parts = {
        "name": data["name"],
        "image_shape": data["image_shape"],
        "labels": data["labels"],
        **{f"sha256.{split}": sha for split, sha in data["sha256"].items()},
        "training rows": hashlib.sha256(rows.tobytes()).hexdigest(),
    }
    texts = {name: json.dumps(value).encode() for name, value in parts.items()}
    return {name: digest(hashlib.sha256(t).hexdigest()) for name, t in texts.items()}
