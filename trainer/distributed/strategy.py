"""Cluster: the tf.distribute strategy, its replicas and workers."""

import contextlib
import dataclasses
import os
import re
import typing
from collections.abc import Sequence

import tensorflow as tf

from trainer import contract, system
from trainer.config.enums import Strategy
from trainer.config.run_config import RunConfig
from trainer.distributed.tf_config import read_task, wait_for_names
from trainer.errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Replicas that share one global batch.

    Attributes:
        strategy: the strategy; variables are created in its scope.
        replicas: number of replicas of all workers.
        local_devices: devices of this process, one for each replica.
        worker, workers: this process's index, and how many processes there are.
    """

    strategy: tf.distribute.Strategy
    replicas: int
    local_devices: tuple[str, ...]
    worker: int
    workers: int

    @property
    def chief(self) -> bool:
        """Whether this process writes files and reports."""
        return self.worker == 0


def set_threads(threads: int | None) -> int:
    """Sets the size of TensorFlow's thread pools unless they run; returns the size.

    Raises:
        InvalidInput: TensorFlow already runs with another number of threads.
    """
    count = threads or system.threads()
    # float32 means float32: TensorFloat-32 keeps 10 of its 23 bits on some GPUs.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        # With one thread, two workers waited for each other in their first step.
        tf.config.threading.set_inter_op_parallelism_threads(max(2, count))
    except RuntimeError as error:  # a script used TensorFlow before
        found = tf.config.threading.get_intra_op_parallelism_threads()
        if threads is not None:
            raise InvalidInput(
                f"threads={threads} cannot be set: TensorFlow has started with "
                f"{found or 'all'} in this process; leave `threads` out, or train "
                "before TensorFlow is used"
            ) from error
        return found or system.cores()
    return count


def count_visible_gpus(value: str | None) -> int:
    """Counts the GPUs in CUDA_VISIBLE_DEVICES before the first invalid name.

    >>> [count_visible_gpus(v) for v in (None, "", "-1", "NoDevFiles", "0,-1,2")]
    [0, 0, 0, 0, 1]
    """
    count = 0
    for name in (value or "").split(","):
        if not re.fullmatch(r"\d+|(GPU|MIG)-\S+", name.strip()):
            break
        count += 1
    return count


def check_gpus(value: str | None, seen: int) -> None:
    """Checks that TensorFlow sees all GPUs that CUDA_VISIBLE_DEVICES names.

    Args:
        value: the value of CUDA_VISIBLE_DEVICES, None if it is not set.
        seen: number of GPUs that TensorFlow sees.

    Raises:
        InvalidInput: TensorFlow sees fewer.
    """
    if (asked := count_visible_gpus(value)) > seen:
        raise InvalidInput(
            f"CUDA_VISIBLE_DEVICES={value} asks for {asked} GPU(s), TensorFlow sees "
            f"{seen}; name GPUs that exist (nvidia-smi -L), or set it to an empty text "
            "for the CPU"
        )


def connect(config: RunConfig) -> Cluster:
    """Creates the devices and the strategy.

    Raises:
        InvalidInput: the strategy does not fit the devices, or GPUs are not there.
    """
    if config.logical_devices is None:
        seen = len(tf.config.list_physical_devices("GPU"))
        check_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"), seen)
    if config.strategy is Strategy.MULTI_WORKER:
        return _multi_worker(config)  # before any device is made
    gpus = tf.config.list_physical_devices("GPU")
    if config.logical_devices is not None:
        _split_cpu(config.logical_devices)
        gpus = []
    grow_memory(gpus)
    kind = "GPU" if gpus else "CPU"
    devices = [d.name for d in tf.config.list_logical_devices(kind)]
    match config.strategy:
        case Strategy.ONE_DEVICE:
            return _cluster(tf.distribute.OneDeviceStrategy(devices[0]))
        case Strategy.MIRRORED:
            if not gpus and config.logical_devices is None:
                devices = devices[:1]
            return _cluster(tf.distribute.MirroredStrategy(devices))
        case _:
            typing.assert_never(config.strategy)


def grow_memory(gpus: Sequence[tf.config.PhysicalDevice]) -> None:
    """Makes TensorFlow take memory of `gpus` as it needs it, not nearly all at once."""
    with contextlib.suppress(RuntimeError):  # a script uses the GPUs already
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)


def _split_cpu(count: int) -> None:
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    try:
        tf.config.set_visible_devices([], "GPU")
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], parts
        )
    except RuntimeError as error:  # a script used TensorFlow before
        found = len(tf.config.list_logical_devices("CPU"))
        if found != count:
            raise InvalidInput(
                f"logical_devices={count} cannot be set: TensorFlow has started with "
                f"{found} in this process; train before TensorFlow is used"
            ) from error


def _cluster(strategy: tf.distribute.Strategy) -> Cluster:
    return Cluster(
        strategy=strategy,
        replicas=strategy.num_replicas_in_sync,
        local_devices=tuple(strategy.extended.worker_devices),
        worker=0,
        workers=1,
    )


def worker_index(config: RunConfig) -> tuple[int, int]:
    """Reads TF_CONFIG: the index of this process, and how many processes there are.

    Raises:
        InvalidInput: TF_CONFIG does not describe a worker.
    """
    if config.strategy is not Strategy.MULTI_WORKER:
        return 0, 1
    described = read_task()
    return described.index, len(described.workers)


def _multi_worker(config: RunConfig) -> Cluster:
    described = read_task()
    wait_for_names(described)
    # TensorFlow reads the variable itself: only the fields that were checked stay.
    os.environ[contract.TF_CONFIG] = described.to_json()
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Cluster(
        strategy=strategy,
        replicas=strategy.num_replicas_in_sync,
        local_devices=tuple(strategy.extended.worker_devices),
        worker=described.index,
        workers=len(described.workers),
    )
