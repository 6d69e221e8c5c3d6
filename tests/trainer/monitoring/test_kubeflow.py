"""TrainJob status: sent to a real server, silent elsewhere, harmless when refused."""

import http.server
import json
import threading

import numpy as np
import pytest

from trainer.monitoring import kubeflow
from trainer.training.callbacks import KubeflowCallback
from trainer.training.state import TrainState
from trainer.training.step import StepOutput

OUTCOME = StepOutput(np.array([[0.5, 0.75, 1.0]]), np.zeros((1, 4), np.int32))


@pytest.fixture
def server():
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            received.append((self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    made = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}/status", received
    made.shutdown()


def callback(times) -> KubeflowCallback:
    clock = iter([0.0, *times])
    return KubeflowCallback(kubeflow.StatusSender(200, 0, lambda: next(clock)))


def test_progress_reaches_the_server_with_the_token(server, tmp_path, monkeypatch):
    url, received = server
    token = tmp_path / "token"
    token.write_text("secret\n")
    monkeypatch.setenv(kubeflow.URL, url)
    monkeypatch.setenv(kubeflow.TOKEN, str(token))
    assert kubeflow.in_trainjob()
    report = callback([20.0] * 3)
    report(TrainState(None, None, step=50), OUTCOME)
    report.sender._sender.join()
    (authorization, body) = received[0]
    status = body["trainerStatus"]
    assert authorization == "Bearer secret"
    assert status["progressPercentage"] == 25
    assert status["estimatedRemainingSeconds"] == 60
    assert {"name": "loss", "value": "0.5"} in status["metrics"]


def test_it_is_sent_seldom_but_always_at_the_end(server, monkeypatch):
    url, received = server
    monkeypatch.setenv(kubeflow.URL, url)
    report = callback([float(n) for n in range(100)])
    for step in (1, 2, 3, 200):
        report(TrainState(None, None, step=step), OUTCOME)
        report.sender._sender.join()
    sent = [body["trainerStatus"]["progressPercentage"] for _, body in received]
    assert sent == [0, 100]


def test_a_server_that_is_gone_disturbs_nobody(monkeypatch):
    monkeypatch.setenv(kubeflow.URL, "http://127.0.0.1:9/status")
    asked = []
    monkeypatch.setattr(
        threading, "excepthook", lambda error: asked.append(error.exc_value)
    )
    report = callback([0.0] * 3)
    report(TrainState(None, None, step=1), OUTCOME)
    report.sender._sender.join()
    assert asked == []  # what a thread raises is seen nowhere else


def test_it_is_off_without_its_environment(monkeypatch):
    monkeypatch.delenv(kubeflow.URL, raising=False)
    assert not kubeflow.in_trainjob()
