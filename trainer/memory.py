"""Memory that is free for this process."""

import contextlib
import math
import pathlib

import psutil


def free_bytes() -> int:
    """What the machine has left, or what its container may have if that is less."""
    return min(psutil.virtual_memory().available, _container_limit())


def _container_limit() -> float:
    """As cgroup v2 or v1 says; inf without a limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # ValueError: "max"
            return int(pathlib.Path("/sys/fs/cgroup", name).read_text())
    return math.inf
