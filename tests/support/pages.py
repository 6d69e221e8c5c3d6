"""The page of export.web in a headless browser."""

import contextlib
import functools
import os
import pathlib
import threading
from collections.abc import Iterator

import pytest

from export.browser import litert_js, page_server
from tests.support import chromium
from tests.support.chromium import Tab

READY = "document.getElementById('state').textContent.startsWith('Ready')"
# LiteRT.js looks for a GPU, which it does not use here, and Chromium warns of none.
NO_GPU = "No available adapters."


def _find_lack() -> str:
    """What tests in a browser lack here; make test-web provides it."""
    if os.environ.get("TEST_WEB"):
        return ""
    if chromium.find_browser() is None:
        return "no Chromium; make test-web installs it"
    archives = [litert_js.cache_folder() / one.archive for one in litert_js.PACKAGES]
    cached = all(path.exists() for path in archives)
    return "" if cached else "no LiteRT.js; make test-web fetches it"


NEEDS_BROWSER = pytest.mark.skipif(bool(_find_lack()), reason=_find_lack())


@functools.cache
def runtime() -> dict[str, bytes]:
    """The files of LiteRT.js."""
    return litert_js.load_runtime()


@contextlib.contextmanager
def served(folder: pathlib.Path) -> Iterator[str]:
    """Serves `folder` in the context; yields its address."""
    with page_server.create_server(folder, page_server.bind(0)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host, port = server.server_address
        try:
            yield f"http://{host}:{port}/"
        finally:
            server.shutdown()
            thread.join()


def wait_until_ready(tab: Tab) -> Tab:
    """Waits until the network of a page can classify."""
    tab.wait_until(f"{READY} || document.getElementById('state').className == 'wrong'")
    assert tab.text("state").startswith("Ready"), tab.text("state")
    return tab


def faults(tab: Tab) -> list[str]:
    """What went wrong in a tab, such as refused requests."""
    return [text for text in tab.faults() if text != NO_GPU]
