"""Agreement: what the workers of a job must have in common, or none of them trains.

Each worker computes its part of every step from its own config, data and code. If one
of them differs the sum is a mixture that no run of one process would give, and no error
of TensorFlow says so.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import typing
from typing import Any

import tensorflow as tf

from trainer.config.schema import Config, RunConfig
from trainer.config.serialization import to_plain
from trainer.distributed import tf_config
from trainer.distributed.collectives import PEER_LOST, digest, gather
from trainer.distributed.environment import PACKAGES
from trainer.errors import UsageError

if typing.TYPE_CHECKING:
    from trainer.training.session import TrainingSession

# Of a machine, not of the job. Processors and threads may differ too: they change how a
# worker adds, not what.
OWN = {"data_dir", "teacher", "run_dir", "runs_root", "threads", "grace_secs"}
OWN |= {"hang_secs", "debug"}
VARIABLES = ("TF_ENABLE_ONEDNN_OPTS", "NVIDIA_TF32_OVERRIDE", "XLA_FLAGS")
VARIABLES += ("TF_XLA_FLAGS",)


def facts(config: Config, run_config: RunConfig) -> dict[str, Any]:
    """What the workers compare before they make a cluster, as plain JSON."""
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
    """Of the source files of this package."""
    found, here = hashlib.sha256(), pathlib.Path(__file__).parents[1]
    for path in sorted(here.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(here)} {len(content)}\n".encode() + content)
    return found.hexdigest()


def check_data(job: "TrainingSession") -> None:
    """Compares the data of all workers; each of them has to call it.

    Raises:
        UsageError: on all workers, one of them holds other data.
    """
    if job.cluster.workers == 1:
        return
    own = data_digests(job.data)
    told = gather(job.cluster, list(own.values()))
    for worker, theirs in enumerate(told):
        odd = [n for n, same in zip(own, theirs == told[0], strict=True) if not same]
        if odd:
            with contextlib.suppress(*PEER_LOST):
                gather(job.cluster, [0])  # who is here has been told
            raise UsageError(
                f"worker {worker} holds other data than worker 0 ({', '.join(odd)} of "
                f"{job.data.name} differ);\ngive all workers the same data set, see "
                "--data_dir"
            )


def data_digests(held) -> dict[str, int]:
    """Hashes of the parts of `held` data, by name; they fit an int64."""
    recorded = held.recorded()
    parts = {
        "name": recorded["name"],
        "image_shape": recorded["image_shape"],
        "labels": recorded["labels"],
        **{f"sha256.{split}": sha for split, sha in recorded["sha256"].items()},
        "training rows": hashlib.sha256(held.learnt.tobytes()).hexdigest(),
    }
    texts = {name: json.dumps(value).encode() for name, value in parts.items()}
    return {name: digest(hashlib.sha256(t).hexdigest()) for name, t in texts.items()}
