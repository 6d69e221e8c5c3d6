"""Limits of flags: what a value has to be, said in one sentence."""

import math


def require(condition: bool, message: str) -> None:
    """Raises ValueError(message) unless `condition`."""
    if not condition:
        raise ValueError(message)


def positive(**values: float | None) -> None:
    """Raises ValueError unless every flag's value is None or finite and above 0."""
    for name, value in values.items():
        good = value is None or 0 < value < math.inf
        require(good, f"--{name}={value} must be a finite number above 0")
