"""Programs that ask TensorFlow Serving for the class of a picture, over REST."""

import json
import urllib.parse

import numpy as np

from export.examples.program_facts import ProgramFacts
from export.examples.source_templates import (
    fill_template,
    format_comment,
    format_labels,
)

FIRST = "classify.sh"  # the program that a command names as the next step
REQUEST = "request.json"


def format_programs(
    name: str, facts: ProgramFacts, image: np.ndarray
) -> dict[str, str]:
    """Formats the programs and a request: their text by their names.

    Args:
        name: of the model in the server.
        facts: what it takes and answers.
        image: uint8 [H, W, C] for the request.
    """
    safe = urllib.parse.quote(name, safe="")
    values = {
        "origin": format_comment(facts.origin, "#"),
        "name": safe,
        "labels": format_labels(facts.labels, "python"),
        **facts.threshold_values(),
    }
    request = {"signature_name": "serving_default", "instances": [image.tolist()]}
    texts = {
        file: fill_template(file, **values) for file in (FIRST, "classify_rest.py")
    }
    return texts | {REQUEST: json.dumps(request, separators=(",", ":")) + "\n"}
