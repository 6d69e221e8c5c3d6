"""A stand-in for TensorFlow Serving's REST interface, to which programs are put.

https://www.tensorflow.org/tfx/serving/api_rest: predict in row format. A string is
{"b64": ...}; with several outputs each prediction is an object.
"""

import base64
import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

Signatures = dict[str, Callable[[list[Any]], dict[str, list[Any]]]]


def decode_strings(value: Any) -> Any:
    """`value` with bytes in place of {"b64": ...}, and of objects of one input."""
    if isinstance(value, list):
        return [decode_strings(one) for one in value]
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            return base64.b64decode(value["b64"], validate=True)
        (inner,) = value.values()
        return decode_strings(inner)
    return value


@contextlib.contextmanager
def served(model: str, signatures: Signatures) -> Iterator[str]:
    """Serves `signatures` of `model` in the context; yields HOST:PORT."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            code, answer = self.predict(self.rfile.read(length))
            content = json.dumps(answer, ensure_ascii=False).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def predict(self, content: bytes) -> tuple[int, dict]:
            if self.path != f"/v1/models/{model}:predict":
                return 404, {"error": f"no model at {self.path}"}
            try:
                body = json.loads(content)
                given = decode_strings(body["instances"])
                outputs = signatures[body["signature_name"]](given)
            except Exception as error:  # noqa: BLE001  a server survives its requests
                return 400, {"error": str(error)}
            rows = zip(*outputs.values(), strict=True)
            return 200, {
                "predictions": [dict(zip(outputs, row, strict=True)) for row in rows]
            }

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.shutdown()
            thread.join()
