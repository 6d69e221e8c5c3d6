"""A headless Chromium, driven by the DevTools protocol over two pipes.

Pipes need no library for websockets and no port. The protocol is described at
https://chromedevtools.github.io/devtools-protocol.
"""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
)
_REDIRECT = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'  # where Chromium looks for them
_ANSWER_SECS = 120


def find_browser() -> str | None:
    """The path of an installed browser."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """A running browser; a context manager.

    Args:
        flags: more words of its command line.
        answer_secs: how long an answer may take.

    Attributes:
        events: messages of the browser that are no answers, oldest first.
    """

    def __init__(
        self, flags: Sequence[str] = (), *, answer_secs: float = _ANSWER_SECS
    ) -> None:
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        self._answer_secs = answer_secs
        commands, self._commands = os.pipe()
        self._messages, messages = os.pipe()
        # Chromium's own sandbox refuses to run as root.
        own = ["--no-sandbox"] if os.geteuid() == 0 else []
        words = [find_browser(), *_FLAGS, *own, *flags]
        words.append(f"--user-data-dir={self._profile}")
        self._process = subprocess.Popen(
            ["bash", "-c", _REDIRECT, "_", str(commands), str(messages), *words],
            pass_fds=(commands, messages),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(messages)
        self._received, self._count = b"", 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.call("Browser.close")
            self._process.wait(30)
        except (OSError, EOFError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._messages)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(
        self, method: str, session: str | None = None, **values: object
    ) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result.

        Raises:
            RuntimeError: the browser refuses it.
            OSError, EOFError, TimeoutError: the browser has ended, or does not answer.
        """
        self._count += 1
        message = {"id": self._count, "method": method, "params": values}
        message |= {"sessionId": session} if session else {}
        content = memoryview(json.dumps(message).encode() + b"\0")
        while content:  # a pipe may take a part
            content = content[os.write(self._commands, content) :]
        while (answer := self._receive()).get("id") != self._count:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def wait_for(self, method: str, session: str) -> dict[str, Any]:
        """Waits for an event that has not been waited for, and returns its values."""
        while True:
            for at, event in enumerate(self.events):
                if (event["method"], event.get("sessionId")) == (method, session):
                    return self.events.pop(at)["params"]
            self.events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + self._answer_secs
        while b"\0" not in self._received:
            left = deadline - time.monotonic()
            if not select.select([self._messages], [], [], max(left, 0))[0]:
                raise TimeoutError("the browser does not answer")
            content = os.read(self._messages, 1 << 20)
            if not content:
                raise EOFError("the browser has ended")
            self._received += content
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def version(self) -> str:
        """Name and version, such as "HeadlessChrome/150.0.1.2"."""
        return self.call("Browser.getVersion")["product"]

    def attach(self) -> str:
        """Opens an empty tab and returns its session."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        session = attached["sessionId"]
        for domain in ("Page", "Runtime"):
            self.call(f"{domain}.enable", session)
        return session

    def load(self, session: str, url: str) -> None:
        """Opens `url` in the tab and waits until it is read."""
        self.call("Page.navigate", session, url=url)
        self.wait_for("Page.loadEventFired", session)

    def evaluate(self, session: str, program: str) -> Any:
        """Runs JavaScript, waits for its promise, and returns what JSON can hold.

        Raises:
            RuntimeError: the program throws.
        """
        done = self.call(
            "Runtime.evaluate",
            session,
            expression=program,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in done:
            said = done["exceptionDetails"]
            raise RuntimeError(said.get("exception", said).get("description", said))
        return done["result"].get("value")
