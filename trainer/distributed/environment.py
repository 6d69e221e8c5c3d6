"""The environment of a run: what its bits depend on besides config and data."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainer import system
from trainer.config.serialization import differences
from trainer.distributed.strategy import Cluster

PACKAGES = ("tensorflow", "keras", "numpy", "tensorflow-datasets")
# Fields that must stay equal for a resumed run to be bit-identical.
DECIDES_BITS = ("python", "packages", "build", "cpu", "settings", "threads", "inter_op")
DECIDES_BITS += ("onednn", "devices")
# Older records have only this name of the processor, which does not determine the
# instruction sets.
MARKETING_NAME = "processor"
# Prefixes of the instruction sets for arithmetic, among the CPU flags of /proc/cpuinfo.
INSTRUCTIONS = ("sse", "ssse", "avx", "fma", "f16c", "amx", "bf16", "asimd", "fphp")
INSTRUCTIONS += ("sve", "sme", "i8mm")
# Variables that select kernels or number formats of oneDNN, CUDA, XLA or TensorFlow.
# oneDNN uses the best instruction set of the processor that MAX_CPU_ISA allows.
SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS")
SETTINGS += ("ONEDNN_DEFAULT_FPMATH_MODE", "OMP_NUM_THREADS", "NVIDIA_TF32_OVERRIDE")
SETTINGS += ("XLA_FLAGS", "TF_XLA_FLAGS", "TF_CUDNN_USE_AUTOTUNE")
SETTINGS += ("TF_ENABLE_WINOGRAD_NONFUSED", "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT")


def describe(threads: int) -> dict[str, Any]:
    """Collects environment.json: versions, processor, devices, settings and commit."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "build": {
            "tensorflow": tf.version.GIT_VERSION,
            "compiler": tf.version.COMPILER_VERSION,
        },
        "processor": _processor(),
        "cpu": {"instructions": _instructions(), "caches": _caches()},
        "settings": _settings(os.environ),
        "cores": system.cores(),
        "threads": threads,
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        # Without the GPUs that logical_devices hides.
        "devices": sorted({_kind(d) for d in tf.config.get_visible_devices()}),
        "platform": platform.platform(),
        "commit": _commit(),
    }


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Describes changes that may change the bits of a run, a line each; None: none."""
    lines = []
    if found := find_changes(before, now):
        lines.append(
            f"the environment changed ({'; '.join(found)}): rows and masks stay equal, "
            "bits may not"
        )
    if missing := find_unrecorded(before):
        lines.append(
            f"this run began before {', '.join(missing)} were recorded: whether they "
            "changed is unknown"
        )
    return "\n".join(lines) or None


def find_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists changed fields that decide bits, as 'cpu.caches: a -> b'.

    Fields that `before` does not have are left out.
    """
    names = [name for name in DECIDES_BITS if name in before]
    if "cpu" not in before and MARKETING_NAME in before:
        names.append(MARKETING_NAME)
    pair = ({name: kept.get(name) for name in names} for kept in (before, now))
    return [line.replace(" != ", " -> ") for line in differences(*pair)]


def find_unrecorded(before: Mapping[str, Any]) -> list[str]:
    """Lists the fields that decide bits and are missing in an older record."""
    return [name for name in DECIDES_BITS if name not in before]


def reproducibility_key(
    strategy: str, cluster: Cluster, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """Collects what the bits of a checkpoint depend on: environment and replicas."""
    return {
        "strategy": strategy,
        "replicas": cluster.replicas,
        "workers": cluster.workers,
        "environment": {name: environment[name] for name in DECIDES_BITS},
    }


def _kind(device: tf.config.PhysicalDevice) -> str:
    details = tf.config.experimental.get_device_details(device)
    return details.get("device_name", device.device_type)


def _processor() -> str:
    return _cpuinfo().get("model name", platform.processor() or platform.machine())


def _instructions() -> str:
    """The instruction sets for arithmetic, sorted, separated by spaces."""
    named = _cpuinfo()
    flags = named.get("flags", named.get("Features", "")).split()
    return " ".join(sorted({f for f in flags if f.startswith(INSTRUCTIONS)}))


def _cpuinfo() -> dict[str, str]:
    """Reads the fields of the first processor in /proc/cpuinfo; {} if it is missing."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _caches() -> str:
    """Cache sizes of the first core: oneDNN splits matrix products to fit them."""
    folder = pathlib.Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = (path.read_text().strip() for path in sorted(folder.glob("index*/size")))
    try:
        return " ".join(sizes)
    except OSError:
        return ""


def _settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Reads the SETTINGS that are set, those of oneDNN also by their older names."""
    found = {}
    for name in SETTINGS:
        older = name.replace("ONEDNN_", "DNNL_") if name.startswith("ONEDNN_") else name
        if value := variables.get(name) or variables.get(older):
            found[name] = value if name == older else value.upper()
    return found


def _commit() -> str | None:
    """Commit of the code, with '+' if files were changed; None outside a repository."""
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
