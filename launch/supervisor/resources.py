"""Divides the cores and GPUs of this machine among workers."""

import os
import pathlib
import re
import shutil
import subprocess

from launch.command_line import UsageError

DEVICES = pathlib.Path("/dev")
_NVIDIA_SMI_SECS = 20  # a machine with eight sleeping GPUs takes about ten


def divide_cores(
    workers: int, per_worker: int | None, *, flag: str = "cores_per_worker"
) -> list[list[int]]:
    """Divides the core numbers among workers, with neighbouring numbers together.

    Without `per_worker` all cores are divided evenly; if there are fewer cores than
    workers, they share cores. `flag` is the name of `per_worker` in messages.

    Raises:
      UsageError: `per_worker` cores for each are more than this process may use.
    """
    usable = _usable_cores()
    if per_worker is None:
        per_worker = len(usable) // workers
        if per_worker == 0:
            return [[usable[i % len(usable)]] for i in range(workers)]
    if workers * per_worker > len(usable):
        raise UsageError(
            f"--workers={workers} with --{flag}={per_worker} need "
            f"{workers * per_worker} cores, {len(usable)} are usable; lower one of them"
        )
    return [usable[i * per_worker : (i + 1) * per_worker] for i in range(workers)]


def divide_gpus(workers: int) -> list[list[str]]:
    """Divides the CUDA devices among workers; empty lists if there is no GPU.

    Raises:
      UsageError: there are GPUs, but fewer than workers.
    """
    visible = _visible_gpus()
    each = len(visible) // workers
    if visible and not each:
        raise UsageError(
            f"--workers={workers} but {len(visible)} GPUs; lower --workers, or set "
            "CUDA_VISIBLE_DEVICES= to train on CPUs"
        )
    return [visible[i * each : (i + 1) * each] for i in range(workers)]


def _usable_cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))  # macOS has no affinity


def _visible_gpus() -> list[str]:
    """Lists CUDA_VISIBLE_DEVICES if set, else every GPU of the machine."""
    count = _installed_gpus()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None or count == 0:  # the variable does not add GPUs
        return [str(number) for number in range(count)]
    names = [name.strip() for name in given.split(",")]
    # CUDA ignores what follows the first device that does not exist.
    ends = [i for i, name in enumerate(names) if not _exists(name, count)]
    return names[: ends[0]] if ends else names


def _exists(name: str, count: int) -> bool:
    """Whether CUDA would find a device; a UUID is taken for one."""
    if re.fullmatch(r"-?[0-9]+", name):
        return 0 <= int(name) < count
    return bool(name)


def _installed_gpus() -> int:
    """Counts the GPUs of this machine or container."""
    if devices := [p for p in DEVICES.glob("nvidia[0-9]*") if p.name[6:].isdecimal()]:
        return len(devices)
    if shutil.which("nvidia-smi") is None:
        return 0
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_NVIDIA_SMI_SECS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"nvidia-smi did not answer within {_NVIDIA_SMI_SECS} s; mend the driver, "
            "or hide nvidia-smi to train on CPUs"
        ) from error
    return len(listing.stdout.split()) if listing.returncode == 0 else 0
