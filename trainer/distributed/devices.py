"""Describes the devices that a training runs on."""

import collections
import importlib.metadata
from collections.abc import Sequence

from trainer import system
from trainer.distributed.strategy import Cluster

Gpu = tuple[str, int]  # name, bytes of memory


def describe_devices(cluster: Cluster, threads: int) -> list[str]:
    """Describes the devices of this process, and a GPU that cannot be used."""
    return describe(cluster.local_devices, system.visible_gpus(), threads)


def describe(used: Sequence[str], gpus: Sequence[Gpu], threads: int) -> list[str]:
    """Describes the devices called `used`, where `gpus` are visible."""
    count = sum("GPU" in name for name in used)
    if count:
        return [_describe_gpus(count, gpus)]
    split = f" in {len(used)} logical devices" if len(used) > 1 else ""
    line = f"device: CPU{split}, {threads} threads"
    if not gpus:
        return [f"{line} (no NVIDIA GPU is visible; for one: {_install()})"]
    if split:  # the CPU was asked for
        return [line]
    return [
        line,
        f"warning: there is an NVIDIA GPU ({gpus[0][0]}) that TensorFlow cannot use; "
        f"install the CUDA libraries that it is built for: {_install()}",
    ]


def _install() -> str:
    """The command that installs TensorFlow's CUDA libraries."""
    version = importlib.metadata.version("tensorflow")
    return f"pip install 'tensorflow[and-cuda]=={version}'"


def _describe_gpus(count: int, gpus: Sequence[Gpu]) -> str:
    """Names the first `count` GPUs and their memory, equal ones together."""
    kinds = collections.Counter(gpus[:count])
    named = [
        f"{f'{number} x ' if number > 1 else ''}{name}, {size / system.GIB:.1f} GiB"
        for (name, size), number in kinds.items()
    ]
    unused = len(gpus) - count
    rest = f" ({unused} more for strategy=mirrored)" if unused > 0 else ""
    return f"device: {'; '.join(named) or f'{count} GPU(s)'}{rest}"
