"""Snippets of a report that use the model, to be copied into a terminal or program."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from typing import Any

_LITERT = """\
import numpy as np
from ai_edge_litert.interpreter import Interpreter

path = {path}
model = Interpreter(path)
model.allocate_tensors()
source, sink = model.get_input_details()[0], model.get_output_details()[0]
image = np.zeros(source["shape"], source["dtype"])  # pixels of an image, 0 to 255
model.set_tensor(source["index"], image)
model.invoke()
print(model.get_tensor(sink["index"])[0])  # a number for each class"""
_LABELS = """

import zipfile  # the names of the classes are in the file
print(zipfile.ZipFile(path).read("labels.txt").decode().splitlines())"""
_PYTHON = """\
import trainer

model = trainer.load({path})
probabilities = model.predict_files(["photo.jpg"])
probabilities = model.predict(images)  # uint8 [N, {height}, {width}, {channels}]"""


@dataclasses.dataclass(frozen=True)
class Snippet:
    """Lines to copy.

    Attributes:
        title: what they do.
        code: the lines.
    """

    title: str
    code: str


def list_snippets(report: Mapping[str, Any]) -> list[Snippet]:
    """Lists the ways to use the evaluated model, the simplest first.

    The path of a run is taken to be runs/<name>.
    """
    model = report["model"]
    if model["kind"] != "checkpoint":
        return _list_file_snippets(model)
    run = f"runs/{model['name']}"
    where = shlex.quote(f"--run_dir={run}")
    found = [
        Snippet(
            "Classify image files", f"python -m eval.predict {where} photo.jpg folder/"
        ),
        Snippet(
            "In Python",
            _PYTHON.format(path=json.dumps(run), **report["data"]["preprocessing"]),
        ),
    ]
    files = [e["file"] for e in report["exports"] if e["file"].endswith(".tflite")]
    if files:
        best = next((name for name in files if "int8" in name), files[0])
        path = f"{run}/export/{best}"
        found.append(
            Snippet(
                "On a device, with LiteRT alone",
                _LITERT.format(path=json.dumps(path)) + _LABELS,
            )
        )
    else:
        lines = f"python -m export.tflite --quantize {where}"
        found.append(Snippet("Export a file for a device", lines))
    lines = f"python -m export.web --serve {where}"
    return [*found, Snippet("Try it in a browser", lines)]


def _list_file_snippets(model: Mapping[str, Any]) -> list[Snippet]:
    where = shlex.quote(f"--model={model['path']}")
    found = [
        Snippet("Classify image files", f"python -m eval.predict {where} photo.jpg")
    ]
    if model["kind"] == "tflite":
        code = _LITERT.format(path=json.dumps(model["path"]))
        found.append(Snippet("In Python, with LiteRT alone", code))
    return found
