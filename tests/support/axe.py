"""Deque's rules for accessibility, run in a page."""

import functools
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from tests.support.chromium import Tab

PACKAGE = "axe-core@4.14.1"


@functools.cache
def _load() -> str:
    """The program, which npm fetches."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is not installed; make test-web installs it")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, check=True)
        (archive,) = pathlib.Path(folder).glob("*.tgz")
        shutil.unpack_archive(archive, folder, filter="data")
        return (pathlib.Path(folder) / "package" / "axe.min.js").read_text()


def find_faults(tab: Tab) -> list[tuple[str, str]]:
    """Rules that the page in `tab` breaks, each with the first element that does."""
    tab.call("Page.setBypassCSP", enabled=True)
    tab.evaluate(_load())
    found = tab.evaluate("axe.run().then((done) => done.violations)")
    return [(one["id"], one["nodes"][0]["html"]) for one in found]
