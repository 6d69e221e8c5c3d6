"""What each worker may use of this machine: cores and GPUs, none of them twice."""

import os
import shutil
import subprocess

from launch.commandline import UsageError

_NVIDIA_SMI_SECS = 20  # a machine with eight sleeping GPUs takes about ten


def cores(workers: int, per_worker: int | None) -> list[list[int]]:
    """The core numbers of each worker, neighbours together.

    Without `per_worker` all cores are divided evenly; with fewer cores than workers
    they share.

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
            f"--workers={workers} with --cores_per_worker={per_worker} need "
            f"{workers * per_worker} cores, {len(usable)} are usable; lower one of them"
        )
    return [usable[i * per_worker : (i + 1) * per_worker] for i in range(workers)]


def gpus(workers: int) -> list[list[str]]:
    """The CUDA device names of each worker; empty lists where there is no GPU.

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
    """CUDA_VISIBLE_DEVICES if set, else every GPU of the machine."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        # CUDA ignores what follows the first device that does not exist.
        ends = [i for i, name in enumerate(names) if name in ("", "-1")]
        return names[: ends[0]] if ends else names
    if shutil.which("nvidia-smi") is None:
        return []
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
            "or name the GPUs in CUDA_VISIBLE_DEVICES (empty: none)"
        ) from error
    return listing.stdout.split() if listing.returncode == 0 else []
