"""TrainJobStatus: tells Kubeflow Trainer how far a TrainJob is.

The controller puts an address, a certificate and a token into the pods' environment
(https://github.com/kubeflow/trainer, KEP-2779); where they are absent nothing is sent.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import ssl
import threading
import urllib.request
from collections.abc import Callable

from trainer.training.state import TrainState
from trainer.training.step import METRICS, StepOutput
from trainer.training.timetable import Timetable

URL = "KUBEFLOW_TRAINER_SERVER_URL"
CA_CERT = "KUBEFLOW_TRAINER_SERVER_CA_CERT"  # a file
TOKEN = "KUBEFLOW_TRAINER_SERVER_TOKEN"  # a file whose content is renewed
EVERY_SECS = 10.0  # the controller asks for at least five
TIMEOUT_SECS = 5.0


def in_trainjob() -> bool:
    """Whether this process runs in a TrainJob that wants to be told."""
    return URL in os.environ


@dataclasses.dataclass
class TrainJobStatus:
    """An action: sends progress from a thread; a failure never reaches training."""

    plan: Timetable
    now: Callable[[], float]
    started: float
    first_step: int
    _sent_at: float = float("-inf")
    _sender: threading.Thread | None = None

    def __call__(self, state: TrainState, outcome: StepOutput) -> None:
        """Sends if it is time and the one before is through."""
        last = state.step == self.plan.total_steps
        busy = self._sender is not None and self._sender.is_alive()
        if not last and (busy or self.now() - self._sent_at < EVERY_SECS):
            return
        self._sent_at = self.now()
        status = self.status(state, outcome)
        self._sender = threading.Thread(target=_send, args=(status,), daemon=not last)
        self._sender.start()

    def status(self, state: TrainState, outcome: StepOutput) -> dict:
        """What is sent: percentage, seconds left, and the means of the last call."""
        done = max(1, state.step - self.first_step)
        left = self.plan.total_steps - state.step
        means = zip(METRICS, outcome.metrics.mean(axis=0), strict=True)
        return {
            "trainerStatus": {
                "progressPercentage": 100 * state.step // self.plan.total_steps,
                "estimatedRemainingSeconds": round(
                    (self.now() - self.started) / done * left
                ),
                "metrics": [{"name": n, "value": f"{v:.6g}"} for n, v in means],
                "lastUpdatedTime": datetime.datetime.now(datetime.UTC).isoformat(),
            }
        }


def _send(status: dict) -> None:
    try:
        headers = {"Content-Type": "application/json"}
        if token := os.environ.get(TOKEN):
            bearer = pathlib.Path(token).read_text().strip()
            headers["Authorization"] = f"Bearer {bearer}"
        certificate = os.environ.get(CA_CERT)
        context = ssl.create_default_context(cafile=certificate)
        url = os.environ[URL]
        request = urllib.request.Request(url, json.dumps(status).encode(), headers)
        secure = context if url.startswith("https") else None
        urllib.request.urlopen(request, timeout=TIMEOUT_SECS, context=secure).close()
    except (OSError, ValueError):
        pass  # the controller's view is late; training goes on
