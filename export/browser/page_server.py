"""Serves the folder of a page to browsers of this machine."""

import functools
import http.server
import os
import pathlib
import socket
import sys
import webbrowser

from trainer.errors import InvalidInput
from trainer.monitoring.progress import CONSOLE
from trainer.storage import reason

_HOST = "127.0.0.1"


class PageHandler(http.server.SimpleHTTPRequestHandler):
    """Sends the files of a page, with their types whatever this system knows."""

    protocol_version = "HTTP/1.1"
    extensions_map = {
        "": "application/octet-stream",
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".svg": "image/svg+xml",
        ".txt": "text/plain; charset=utf-8",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        """Adds that a page which was exported again is loaded again."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Writes nothing."""


def bind(port: int) -> socket.socket:
    """Binds a port of this machine; 0: any free one.

    Raises:
        InvalidInput: the port is out of range or taken.
    """
    if not 0 <= port <= 65535:
        raise InvalidInput(f"port={port} must be within 0 to 65535")
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((_HOST, port))
    except OSError as error:
        bound.close()
        told = f"port={port} cannot be used: {reason(error)}; name another with `port`"
        raise InvalidInput(told) from error
    return bound


def create_server(
    folder: pathlib.Path, bound: socket.socket
) -> http.server.ThreadingHTTPServer:
    """Creates the server of `folder` on a socket of `bind`, which it then owns."""
    handler = functools.partial(PageHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(
        bound.getsockname(), handler, bind_and_activate=False
    )
    server.socket.close()
    server.socket, server.server_address = bound, bound.getsockname()
    server.server_activate()
    return server


def serve(folder: pathlib.Path, bound: socket.socket) -> None:
    """Serves `folder` until Ctrl-C, and shows it if this machine has a screen."""
    with create_server(folder, bound) as server:
        url = f"http://{_HOST}:{server.server_address[1]}/"
        print(f"{url} (Ctrl-C ends)", flush=True)
        # Elsewhere webbrowser would start a browser in the terminal, and wait for it.
        if sys.platform == "darwin" or _has_screen():
            webbrowser.open(url)
        try:
            with CONSOLE.paused():
                server.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)


def _has_screen() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
