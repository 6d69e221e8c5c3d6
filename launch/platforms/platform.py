"""Platform: how a worker reads its cluster from a scheduler.

A platform is a class in a module of its own and one line of `platform_registry`. It
reads the environment variables that the scheduler injects and says who the workers are;
those that start with LAUNCH_ were written into the manifest by the platform itself.

TensorFlow's own resolvers cannot be used: SLURM's needs nvidia-smi and sorts node10
before node2, Kubernetes' cannot know the task's index.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from trainer.contract import MAX_HOST_CHARS, ClusterSpec

MAX_HOSTS = 65_536  # SLURM's own limit for one node list

Environment = Mapping[str, str]


class Platform(Protocol):
    """A scheduler that starts the workers of a job.

    Attributes:
      name: its name in errors; also the kind of its manifests, if it has any.
      title: its name in the help of launch.worker.
      detection_variable: an environment variable that marks its workers.
      own_variables: variables that it sets, which no job may set; LSB_* stands for all
        that begin so.
    """

    name: str
    title: str
    detection_variable: str
    own_variables: tuple[str, ...]

    def read_cluster(self, environment: Environment) -> ClusterSpec:
        """Reads the workers of the job and the index of this process.

        Raises:
          ValueError: a variable of `environment` is wrong; the message has one line.
        """


def read_text(environment: Environment, name: str) -> str:
    """Reads the variable `name`.

    Raises:
      ValueError: it is missing or empty.
    """
    value = environment.get(name, "")
    if not value:
        raise ValueError(f"{name} is not set")
    return value


def read_integer(
    environment: Environment, name: str, *, highest: int | None = None
) -> int:
    """Reads the variable `name` as a whole number from 0 to `highest`.

    Raises:
      ValueError: it is missing or something else.
    """
    value = read_text(environment, name)
    if not re.fullmatch(r"[0-9]{1,10}", value):
        raise ValueError(f"{name}={value!r} is not a whole number from 0")
    if highest is not None and int(value) > highest:
        raise ValueError(f"{name}={value} is more than {highest}")
    return int(value)


def number_addresses(
    before: str, after: str, *, count: int, port: int
) -> tuple[str, ...]:
    """Builds `<before><index><after>:<port>` for the indices from 0 to `count` - 1.

    Raises:
      ValueError: such a host name is too long.
    """
    if len(before) + len(after) > MAX_HOST_CHARS:  # before it is multiplied
        raise ValueError(f"a host name is longer than {MAX_HOST_CHARS}")
    return tuple(f"{before}{index}{after}:{port}" for index in range(count))
