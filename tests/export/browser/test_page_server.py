"""The page is served to this machine, with the types that browsers ask for."""

import http.client
import threading

import pytest

from export.browser import page_server
from trainer.errors import InvalidInput


@pytest.fixture
def client(tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    for name in ("index.html", "a.js", "a.css", "a.wasm", "a.json", "a.bin", "a.svg"):
        (folder / name).write_text(name)
    with page_server.create_server(folder, page_server.bind(0)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield http.client.HTTPConnection(*server.server_address, timeout=10)
        server.shutdown()
        thread.join()


def fetch(client, path) -> tuple[int, str, bytes]:
    client.request("GET", path)
    answer = client.getresponse()
    return answer.status, answer.headers["Content-Type"], answer.read()


def test_files_have_the_types_that_browsers_ask_for(client):
    assert fetch(client, "/") == (200, "text/html; charset=utf-8", b"index.html")
    assert fetch(client, "/a.js")[1] == "text/javascript; charset=utf-8"
    assert fetch(client, "/a.css")[1] == "text/css; charset=utf-8"
    assert fetch(client, "/a.wasm")[1] == "application/wasm"
    assert fetch(client, "/a.json")[1] == "application/json"
    assert fetch(client, "/a.svg")[1] == "image/svg+xml"
    assert fetch(client, "/a.bin")[1] == "application/octet-stream"


def test_nothing_outside_is_served(client):
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/nothing"):
        assert fetch(client, path)[0] == 404


def test_it_listens_to_this_machine_alone():
    with page_server.bind(0) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_or_none_is_told():
    with page_server.bind(0) as bound:
        bound.listen()
        with pytest.raises(InvalidInput, match="name another with `port`"):
            page_server.bind(bound.getsockname()[1])
    with pytest.raises(InvalidInput, match="port=-1 must be within 0 to 65535"):
        page_server.bind(-1)
