"""What a scheduler's environment variables say, or a ValueError that names them."""

import re
from collections.abc import Mapping

Environment = Mapping[str, str]


def text(environment: Environment, name: str) -> str:
    """The variable `name`.

    Raises:
      ValueError: it is missing or empty.
    """
    value = environment.get(name, "")
    if not value:
        raise ValueError(f"{name} is not set")
    return value


def integer(environment: Environment, name: str, *, highest: int | None = None) -> int:
    """The variable `name` as a whole number from 0 to `highest`.

    Raises:
      ValueError: it is missing or something else.
    """
    value = text(environment, name)
    if not re.fullmatch(r"[0-9]{1,10}", value):
        raise ValueError(f"{name}={value!r} is not a whole number from 0")
    if highest is not None and int(value) > highest:
        raise ValueError(f"{name}={value} is more than {highest}")
    return int(value)
