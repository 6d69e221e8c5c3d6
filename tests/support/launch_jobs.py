"""Jobs for schedulers: manifests, what platforms make of them, stand-in trainers."""

import pathlib
import shutil

from tests.support.commands import ROOT


def install_trainer(folder: pathlib.Path, main: str) -> None:
    """A package `trainer` in `folder` whose main module is the text `main`."""
    package = folder / "trainer"
    package.mkdir()
    for name in ("__init__", "check"):
        (package / f"{name}.py").touch()
    for name in ("contract", "streams"):
        shutil.copy(ROOT / "trainer" / f"{name}.py", package)
    (package / "main.py").write_text(main)


def expand(text: str, variables: dict[str, str]) -> str:
    """Kubernetes' `Expand`, third_party/forked/golang/expansion/expand.go."""
    out, at = [], 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            out.append(text[at])
            at += 1
        elif text[at + 1] == "$":
            out.append("$")
            at += 2
        elif text[at + 1] == "(" and ")" in text[at + 2 :]:
            end = text.index(")", at + 2)
            name = text[at + 2 : end]
            out.append(variables.get(name, f"$({name})"))
            at = end + 1
        else:
            out.append(text[at : at + 2])
            at += 2
    return "".join(out)


def arrived(container: dict, platform: dict[str, str]) -> tuple[list, dict]:
    """Arguments and environment that a container's process gets.

    Variables are expanded in their order, each with those before it.
    """
    variables = dict(platform)
    for variable in container["env"]:
        if "value" in variable:
            value = expand(variable["value"], variables)
            variables[variable["name"]] = value
    return [expand(word, variables) for word in container["args"]], variables
