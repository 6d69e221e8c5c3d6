"""Every text arrives as it was typed, whatever a platform expands on its way."""

import json
import os
import random
import subprocess

import pytest
import yaml

from launch import kubernetes, vertex
from tests.support.launch_jobs import put, script
from tests.support.manifests import VERTEX, arrived, expand

PLATFORM = {"HOME": "/root", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
TEXTS = [
    "pa$$x",
    "$(HOME)",
    "$$(HOME)",
    "$HOME",
    "${HOME}",
    "$",
    "$$$",
    "a$",
    "$(",
    "$)",
]
TEXTS += ["$(A0)", "$(A0", "`id`", "it's", 'a "b"', "a b", "\\$HOME", "#", "%x", "a\nb"]
TEXTS += [
    "",
    "é",
    "*",
    "~",
    "$(date)",
    "!x",
    "{}",
    "a=b=c",
    "--",
    "$(KUBERNETES_SERVICE)",
]


def texts():
    dice = random.Random(0)
    drawn = [
        "".join(dice.choices("$()AB01{x ", k=dice.randrange(9))) for _ in range(200)
    ]
    return [*TEXTS, *drawn]


def words():
    """Flags of a launcher, and the trainer's flags after them."""
    environment = [f"--env=A{i}={text}" for i, text in enumerate(texts())]
    trainer = [f"--teacher={text}" for text in texts()]
    return environment, trainer


def assert_as_typed(arguments, environment):
    assert arguments[: len(texts())] == words()[1]
    for i, text in enumerate(texts()):
        assert environment[f"A{i}"] == text


def test_the_expander_is_that_of_kubernetes():
    """Cases of expand_test.go."""
    variables = {"VAR_A": "A", "VAR_EMPTY": ""}
    for given, expected in {
        "$(VAR_A)": "A",
        "___$(VAR_A)___": "___A___",
        "$(VAR_EMPTY)": "",
        "$$(VAR_A)": "$(VAR_A)",
        "$$$(VAR_A)": "$A",
        "$$$$(VAR_A)": "$$(VAR_A)",
        "$VAR_A": "$VAR_A",
        "$(VAR_DNE)": "$(VAR_DNE)",
        "$(VAR_A": "$(VAR_A",
        "$": "$",
        "foo$": "foo$",
        "$$": "$",
        "${VAR_A}": "${VAR_A}",
        "$(VAR_A)$": "A$",
    }.items():
        assert expand(given, variables) == expected, given


@pytest.mark.parametrize("kind", ["job", "jobset", "trainjob", "tfjob"])
def test_in_kubernetes(kind, capsys):
    environment, trainer = words()
    common = [f"--kind={kind}", "--name=a", "--image=i$(HOME)", "--volume=runs:/runs"]
    assert kubernetes.main([*common, *environment, "--", *trainer]) == 0
    container = _container(list(yaml.safe_load_all(capsys.readouterr().out)))
    assert_as_typed(*arrived(container, PLATFORM))
    assert container["image"] == "i$(HOME)"  # nobody expands an image's name
    probe = container["livenessProbe"]["exec"]["command"]
    assert [expand(word, PLATFORM) for word in probe] == probe


def _container(value):
    """The first container in nested manifests."""
    if isinstance(value, dict) and "containers" in value:
        return value["containers"][0]
    inner = value.values() if isinstance(value, dict) else value
    found = (_container(item) for item in inner if isinstance(item, dict | list))
    return next((one for one in found if one), None)


def test_in_vertex(capsys):
    environment, trainer = words()
    assert vertex.main([*VERTEX, *environment, "--", *trainer]) == 0
    for pool in json.loads(capsys.readouterr().out)["jobSpec"]["workerPoolSpecs"]:
        assert_as_typed(*arrived(pool["containerSpec"], PLATFORM))


def test_in_slurm(tmp_path):
    """The script is run by bash; srun is a program that tells what it was given."""
    environment, trainer = words()
    put(
        tmp_path / "srun",
        '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift\nprintf \'%s\\0\' "$@" '
        f"> {tmp_path}/arguments; env -0 > {tmp_path}/environment\n",
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    text = script("--image=i$HOME", *environment, trainer=trainer)
    command = ["bash", "-c", text]
    subprocess.run(command, env={**PLATFORM, "PATH": path}, check=True, timeout=20)
    arguments = (tmp_path / "arguments").read_text().split("\0")
    variables = (tmp_path / "environment").read_text().split("\0")
    assert_as_typed(arguments, dict(v.split("=", 1) for v in variables if "=" in v))
