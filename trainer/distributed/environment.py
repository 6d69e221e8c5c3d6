"""What the bits of a run depend on besides its Config and data."""

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
# What must be equal for a resumed run to be equal bit for bit.
DECIDES_BITS = ("python", "packages", "build", "cpu", "settings", "threads", "inter_op")
DECIDES_BITS += ("onednn", "devices")
# By it older records tell processors apart; its name says little of what it can do.
MARKETING_NAME = "processor"
# Beginnings of the names of instruction sets, among all that a processor is said to do.
INSTRUCTIONS = ("sse", "ssse", "avx", "fma", "f16c", "amx", "bf16", "asimd", "fphp")
INSTRUCTIONS += ("sve", "sme", "i8mm")
# Variables that choose kernels or number formats of oneDNN, CUDA, XLA or TensorFlow.
# oneDNN's instruction set is the best that the processor has and MAX_CPU_ISA allows.
SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS")
SETTINGS += ("ONEDNN_DEFAULT_FPMATH_MODE", "OMP_NUM_THREADS", "NVIDIA_TF32_OVERRIDE")
SETTINGS += ("XLA_FLAGS", "TF_XLA_FLAGS", "TF_CUDNN_USE_AUTOTUNE")
SETTINGS += ("TF_ENABLE_WINOGRAD_NONFUSED", "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT")


def describe(threads: int) -> dict[str, Any]:
    """environment.json: versions, processor, devices, settings, commit of this code."""
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
        "devices": sorted({_kind(d) for d in tf.config.list_physical_devices()}),
        "platform": platform.platform(),
        "commit": _commit(),
    }


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What changed so that bits may differ, or may have, in a line each; or None."""
    lines = []
    if found := changes(before, now):
        lines.append(
            f"the environment changed ({'; '.join(found)}): rows and masks stay equal, "
            "bits may not"
        )
    if missing := unknown(before):
        lines.append(
            f"this run began before {', '.join(missing)} were recorded: whether they "
            "changed cannot be told"
        )
    return "\n".join(lines) or None


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What decides bits and differs, of what `before` has, as 'cpu.caches: a -> b'."""
    names = [name for name in DECIDES_BITS if name in before]
    if "cpu" not in before and MARKETING_NAME in before:
        names.append(MARKETING_NAME)
    pair = ({name: kept.get(name) for name in names} for kept in (before, now))
    return [line.replace(" != ", " -> ") for line in differences(*pair)]


def unknown(before: Mapping[str, Any]) -> list[str]:
    """What decides bits and an older record does not have."""
    return [name for name in DECIDES_BITS if name not in before]


def reproducibility_key(
    strategy: str, cluster: Cluster, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """What the bits of a checkpoint depend on: environment and replicas."""
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
    """The instruction sets that arithmetic may use, sorted, with a blank between."""
    named = _cpuinfo()
    flags = named.get("flags", named.get("Features", "")).split()
    return " ".join(sorted({f for f in flags if f.startswith(INSTRUCTIONS)}))


def _cpuinfo() -> dict[str, str]:
    """What /proc/cpuinfo says of the first processor; {} where there is none."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _caches() -> str:
    """Sizes of the first core's caches: products of matrices are cut to fit them."""
    folder = pathlib.Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = (path.read_text().strip() for path in sorted(folder.glob("index*/size")))
    try:
        return " ".join(sizes)
    except OSError:
        return ""


def _settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of SETTINGS that are set; oneDNN's also by its older name, in any case."""
    found = {}
    for name in SETTINGS:
        older = name.replace("ONEDNN_", "DNNL_") if name.startswith("ONEDNN_") else name
        if value := variables.get(name) or variables.get(older):
            found[name] = value if name == older else value.upper()
    return found


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
