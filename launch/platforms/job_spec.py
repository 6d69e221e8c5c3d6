"""Specification of a job for any scheduler: name, container and resources."""

import dataclasses
import re
from collections.abc import Sequence

from absl import flags

from launch.command_line import UsageError, require_utf8

MAX_WORKERS = 1_000
MAX_NAME_CHARS = 40  # pods append to it, and a host name has at most 63
COMMAND = ("python", "-m", "launch.worker", "--")

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUANTITIES = {
    "cpus": (
        re.compile(r"[1-9][0-9]*(\.[0-9]+)?|0?\.[0-9]+|[1-9][0-9]*m"),
        "4 or 500m",
    ),
    "memory": (re.compile(r"[1-9][0-9]*(\.[0-9]+)?[KMGT]i?"), "16Gi"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """A training job; resources are those of each worker."""

    name: str
    workers: int
    image: str | None
    environment: dict[str, str]
    gpus: int
    max_restarts: int | None = None


def escape_dollars(text: str) -> str:
    """Doubles every dollar, so that a platform's expansion restores `text`.

    Kubernetes replaces $(NAME) and makes $$ to $ in a container's command, arguments,
    environment and probes; Vertex AI does the same:
    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    https://cloud.google.com/vertex-ai/docs/reference/rest/v1/EnvVar

    >>> escape_dollars("pa$$x $(HOME)")
    'pa$$$$x $$(HOME)'
    """
    return text.replace("$", "$$")


def define(values: flags.FlagValues) -> None:
    """Declares the flags of all schedulers."""
    job = {"flag_values": values, "module_name": "Job"}
    flags.DEFINE_string("name", None, "Name of the job and of its run.", **job)
    flags.DEFINE_integer(
        "workers",
        2,
        "Processes, one per machine or pod.",
        lower_bound=1,
        upper_bound=MAX_WORKERS,
        **job,
    )
    container = {"flag_values": values, "module_name": "Container"}
    flags.DEFINE_string("image", None, "Container image, see Dockerfile.", **container)
    flags.DEFINE_multi_string(
        "env", [], "NAME=VALUE for every worker; may be repeated.", **container
    )
    flags.DEFINE_integer(
        "gpus",
        0,
        "GPUs of each worker.",
        lower_bound=0,
        upper_bound=16,
        flag_values=values,
        module_name="Resources",
    )


def define_restarts(values: flags.FlagValues) -> None:
    """Declares --max_restarts, for schedulers that count restarts."""
    flags.DEFINE_integer(
        "max_restarts",
        10,
        "How often the group may be started again.",
        lower_bound=0,
        upper_bound=1_000,
        flag_values=values,
        module_name="Job",
    )


def read_job(values: flags.FlagValues, *, needs_image: bool = True) -> TrainingJob:
    """Builds the job from parsed flags.

    Raises:
      UsageError: a flag is missing or has a wrong form.
    """
    for flag in values:
        value = values[flag].value
        for text in value if isinstance(value, list) else [value]:
            require_utf8(f"--{flag}={text}")
    if not values.name:
        raise UsageError("--name is missing; it names the job, and its run on a resume")
    if not _NAME.fullmatch(values.name) or len(values.name) > MAX_NAME_CHARS:
        raise UsageError(
            f"--name={values.name} must be lower-case letters, digits and hyphens, "
            f"from a letter on, at most {MAX_NAME_CHARS}"
        )
    if values.image is None and needs_image:
        raise UsageError("--image is missing; build one from the Dockerfile here")
    if values.image is not None and not re.fullmatch(r"[^\s\"']+", values.image):
        raise UsageError(f"--image={values.image!r} is not the name of an image")
    return TrainingJob(
        name=values.name,
        workers=values.workers,
        image=values.image,
        environment=_read_environment(values.env),
        gpus=values.gpus,
        max_restarts=values.max_restarts if "max_restarts" in values else None,
    )


def read_quantity(values: flags.FlagValues, name: str) -> str | None:
    """Reads the flag `name` (`cpus` or `memory`) in Kubernetes' form.

    Raises:
      UsageError: it has another form.
    """
    value = values[name].value
    form, example = _QUANTITIES[name]
    if value is not None and not form.fullmatch(value):
        raise UsageError(f"--{name}={value} is not a quantity such as {example}")
    return value


def split_fields(text: str, flag: str, form: str, patterns: Sequence[str]) -> list[str]:
    """Splits `text` at its colons and checks each part; `form` is for the error.

    Raises:
      UsageError: the number of parts or the form of one is wrong.
    """
    parts = text.split(":")
    if len(parts) != len(patterns) or not all(
        re.fullmatch(pattern, part)
        for pattern, part in zip(patterns, parts, strict=True)
    ):
        raise UsageError(f"--{flag}={text} is not of the form {form}")
    return parts


def _read_environment(pairs: Sequence[str]) -> dict[str, str]:
    environment: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            raise UsageError(f"--env={pair} is not NAME=VALUE")
        if name in environment:
            raise UsageError(f"--env={name} is given twice; leave one out")
        environment[name] = value
    return environment
