"""What README and docs/ tell to type and to open is there."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.support.commands import ROOT, run_command

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FLAG = re.compile(r"^\s+--(?:\[no\])?(\w+)", re.MULTILINE)
COMMAND = re.compile(r"python -m ((?:trainer|eval|export|launch)\.\w+)([^|`\n]*)")


def commands(page: pathlib.Path) -> list[tuple[str, list[str]]]:
    """Lists the commands in a page's blocks: the module and its words."""
    found = []
    for block in BLOCK.findall(page.read_text()):
        for module, words in COMMAND.findall(block.replace("\\\n", " ")):
            found.append((module, shlex.split(words, comments=True)))
    return found


def anchors(page: pathlib.Path) -> set[str]:
    """Lists the anchors of a page's headings, as GitHub forms them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_a_file_and_a_heading(page):
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text()
    named = set(LINK.findall(index))
    assert {page.name for page in PAGES[1:]} <= named | {"index.md"}


def flags_by_command() -> dict[str, set[str]]:
    """The flags that every command in the pages offers, from its --help."""
    modules = {module for page in PAGES for module, _ in commands(page)}
    return {
        module: set(FLAG.findall(run_command(module, "--help", check=True).stdout))
        for module in modules
    }


def test_every_flag_in_a_command_exists():
    known = flags_by_command()
    assert len(known) >= 10
    for page in PAGES:
        for module, words in commands(page):
            own, _, after = " ".join(words).partition(" -- ")
            of_study = re.search(r"--(array|study)\b", own)
            other = "launch.sweep" if of_study else "trainer.main"
            for name, text in ((module, own), (other, after)):
                typed = re.findall(r"--(\w+)", text)
                missing = [
                    flag
                    for flag in typed
                    if not {flag, flag.removeprefix("no")} & known[name]
                    and flag not in ("flagfile", "help")
                ]
                assert not missing, (page.name, name, missing)


@pytest.mark.slow
def test_the_tutorial_can_be_typed(tmp_path, data_dir):
    """Every command in its order, in one empty folder."""
    paths = {"PYTHONPATH": str(ROOT), "TFDS_DATA_DIR": str(data_dir)}
    typed = commands(ROOT / "docs" / "tutorial.md")
    assert len(typed) >= 8
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for module, words in typed:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=tmp_path,
            env={**os.environ, **paths},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/first/report/report.html").is_file()
    assert (tmp_path / "runs/first/export/model_int8.tflite.json").is_file()
    assert (tmp_path / "runs/int8/report.html").is_file()
