"""Registry of platforms, in the order in which a worker looks for them.

A platform is one module of this package or of a folder in it, with an instance
`PLATFORM`, and one line below.
"""

import fnmatch
import importlib
from collections.abc import Sequence

from launch.command_line import UsageError
from launch.platforms.kubernetes.pod import ManifestPlatform
from launch.platforms.platform import Environment, Platform
from trainer.contract import ClusterSpec

_MODULES = (
    "vertex",  # before tfjob: it sets TF_CONFIG too
    "kubernetes.tfjob",
    "kubernetes.trainjob",  # before indexed_job: its pods are those of an Indexed Job
    "kubernetes.jobset",  # the same
    "kubernetes.indexed_job",
    "slurm",
)
PLATFORMS: tuple[Platform, ...] = tuple(
    importlib.import_module(f"launch.platforms.{name}").PLATFORM for name in _MODULES
)


def manifest_platforms() -> dict[str, ManifestPlatform]:
    """Maps the names of platforms that take Kubernetes manifests to them."""
    found = [one for one in PLATFORMS if isinstance(one, ManifestPlatform)]
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


def check_environment(pairs: Sequence[str]) -> None:
    """Checks the NAME=VALUE `pairs` that a job sets for its workers.

    A worker recognises its platform by variables: those of any other would mislead it.

    Raises:
      UsageError: a platform sets one of them itself.
    """
    own = [pattern for platform in PLATFORMS for pattern in platform.own_variables]
    for pair in pairs:
        name = pair.partition("=")[0]
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in own):
            raise UsageError(f"--env={pair}: {name} is set by the scheduler; rename it")


def detect_platform(environment: Environment) -> Platform:
    """Finds the first platform whose variable is set in `environment`.

    Raises:
      ValueError: none of them is.
    """
    for platform in PLATFORMS:
        if environment.get(platform.detection_variable):
            return platform
    names = ", ".join(platform.detection_variable for platform in PLATFORMS)
    raise ValueError(
        f"no scheduler found: none of {names} is set; on one machine use launch.local"
    )


def read_cluster(environment: Environment) -> ClusterSpec:
    """Reads the cluster of the process that has this environment.

    Raises:
      ValueError: in one line, what is missing or cannot be right.
    """
    platform = detect_platform(environment)
    try:
        return platform.read_cluster(environment)
    except ValueError as error:
        raise ValueError(f"{platform.name}: {error}") from error
