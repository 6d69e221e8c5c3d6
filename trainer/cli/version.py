"""Versions of the toolkit and of what it runs on, without importing it."""

import importlib.metadata
import pathlib
import platform
import tomllib

PROJECT = "honest-trainer"
_SOURCE = pathlib.Path(__file__).parents[2] / "pyproject.toml"


def describe() -> str:
    """Formats the versions as one line."""
    found = {"TensorFlow": _find("tensorflow"), "Keras": _find("keras")}
    found["Python"] = platform.python_version()
    others = ", ".join(f"{name} {number}" for name, number in found.items())
    return f"{PROJECT} {_own()} ({others})"


def _own() -> str:
    """The version of the toolkit: of the installed package, or of its source."""
    if _SOURCE.is_file():
        return tomllib.loads(_SOURCE.read_text())["project"]["version"]
    return _find(PROJECT)


def _find(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
