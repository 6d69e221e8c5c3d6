"""The one command to type after an export."""

import pathlib
import shlex

from export.artifact.artifact import Artifact
from export.examples import lite_programs, program_folder, serving_programs


def describe(made: Artifact) -> str:
    """Formats the next step as one line, such as "next: python .../classify.py"."""
    path = made.path
    match made.manifest["format"]:
        case "tflite":
            program = program_folder.beside(path) / lite_programs.FIRST
            words = ["python", program, "photo.jpg"]
        case "saved_model":
            program = path / program_folder.INSIDE / serving_programs.FIRST
            words = ["sh", program, "photo.jpg"]
        case "onnx":
            words = ["python", "-m", "eval.predict", f"--model={path}", "photo.jpg"]
        case "web":
            words = ["python", "-m", "http.server", "--directory", path]
        case _:
            return _describe_source(path)
    return f"next: {_quote(words)}"


def _describe_source(path: pathlib.Path) -> str:
    """The next step with C source."""
    if (path / "Makefile").exists():
        build, program = _quote(["make", "-C", path, "classify"]), path / "classify"
        return f"next: {build} && {_quote([program, 'photo.ppm'])}"
    return f"next: {_quote(['less', path / 'README.md'])}"


def _quote(words: list[str | pathlib.Path]) -> str:
    return shlex.join(map(str, words))
