"""Reports the progress of a TrainJob to Kubeflow Trainer.

The controller passes an address, a certificate and a token in environment variables of
the pods (https://github.com/kubeflow/trainer, KEP-2779); without them nothing is sent.
"""

import datetime
import json
import os
import pathlib
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

URL = "KUBEFLOW_TRAINER_SERVER_URL"
CA_CERT = "KUBEFLOW_TRAINER_SERVER_CA_CERT"  # a file
TOKEN = "KUBEFLOW_TRAINER_SERVER_TOKEN"  # a file; its content is renewed
EVERY_SECS = 10.0  # the controller asks for at least 5 s between messages
TIMEOUT_SECS = 5.0


def in_trainjob() -> bool:
    """Whether this process runs in a TrainJob that accepts progress reports."""
    return URL in os.environ


class StatusSender:
    """Sends the progress of a training from a thread; a failure never stops training.

    Args:
        total_steps: number of steps of the training.
        first_step: the step that this process began with.
        now: a clock that returns monotonic seconds.
    """

    def __init__(
        self, total_steps: int, first_step: int, now: Callable[[], float]
    ) -> None:
        self._total, self._first, self._now = total_steps, first_step, now
        self._started = now()
        self._sent_at = float("-inf")
        self._sender: threading.Thread | None = None

    def send(self, step: int, metrics: Mapping[str, float]) -> None:
        """Sends the progress if it is due and the previous message has been sent."""
        last = step == self._total
        busy = self._sender is not None and self._sender.is_alive()
        if not last and (busy or self._now() - self._sent_at < EVERY_SECS):
            return
        self._sent_at = self._now()
        status = self.status(step, metrics)
        self._sender = threading.Thread(target=_send, args=(status,), daemon=not last)
        self._sender.start()

    def status(self, step: int, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Builds the message: percentage, seconds left, and metrics."""
        done, left = max(1, step - self._first), self._total - step
        remaining = (self._now() - self._started) / done * left
        return {
            "trainerStatus": {
                "progressPercentage": 100 * step // self._total,
                "estimatedRemainingSeconds": round(remaining),
                "metrics": [
                    {"name": name, "value": f"{value:.6g}"}
                    for name, value in metrics.items()
                ],
                "lastUpdatedTime": datetime.datetime.now(datetime.UTC).isoformat(),
            }
        }


def _send(status: dict[str, Any]) -> None:
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
        pass  # the controller sees older progress; training goes on
