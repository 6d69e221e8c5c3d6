"""What the bits of a run depend on besides its Config and data."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
import typing
from typing import Any

import tensorflow as tf

if typing.TYPE_CHECKING:
    from trainer.job import Job

PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets")
# What must be equal for a resumed run to be equal bit for bit.
DECIDES_BITS = ("python", "packages", "processor", "threads", "onednn", "devices")


def describe(threads: int) -> dict[str, Any]:
    """environment.json: versions, processor, devices, settings, commit of this code."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "devices": sorted({_kind(d) for d in tf.config.list_physical_devices()}),
        "platform": platform.platform(),
        "commit": _commit(),
    }


def changed(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """One line naming what changed so that bits may differ, or None."""
    found = [
        f"{name} {before.get(name)} -> {now[name]}"
        for name in DECIDES_BITS
        if before.get(name) != now[name]
    ]
    if not found:
        return None
    return (
        f"the environment changed ({'; '.join(found)}): rows and masks stay equal, "
        "bits may not"
    )


def place(job: "Job") -> dict[str, Any]:
    """What the bits of a checkpoint depend on: environment and replicas."""
    return {
        "strategy": job.run_config.strategy.value,
        "replicas": job.cluster.replicas,
        "workers": job.cluster.workers,
        "environment": {name: job.environment[name] for name in DECIDES_BITS},
    }


def _kind(device: tf.config.PhysicalDevice) -> str:
    details = tf.config.experimental.get_device_details(device)
    return details.get("device_name", device.device_type)


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [
        line.split(":")[1].strip() for line in lines if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """Commit of the code, '+' when it was changed since; None outside a repository."""
    here = pathlib.Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
