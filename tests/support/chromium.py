"""A headless Chromium, driven by the DevTools protocol over two pipes.

Pipes need no library for websockets and no port. The protocol is described at
https://chromedevtools.github.io/devtools-protocol.
"""

import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--use-fake-device-for-media-stream",  # a webcam that shows a clock
    "--use-fake-ui-for-media-stream",  # and that every page may use
    "--remote-debugging-pipe",
)
_REDIRECT = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'  # where Chromium looks for them
_ANSWER_SECS = 120


def find_browser() -> str | None:
    """The path of an installed browser."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """A running browser; a context manager.

    Attributes:
        events: messages of the browser that are no answers, oldest first.
    """

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        commands, self._commands = os.pipe()
        self._messages, messages = os.pipe()
        words = [find_browser(), *_FLAGS, f"--user-data-dir={self._profile}"]
        self._process = subprocess.Popen(
            ["bash", "-c", _REDIRECT, "_", str(commands), str(messages), *words],
            pass_fds=(commands, messages),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(messages)
        self._received, self._count, self.events = b"", 0, []

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.call("Browser.close")
        except (OSError, EOFError, TimeoutError):
            self._process.kill()
        self._process.wait(30)
        os.close(self._commands)
        os.close(self._messages)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, session: str | None = None, **values: object) -> dict:
        """Calls a method of the protocol and returns its result."""
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

    def wait_for(self, method: str, session: str) -> dict:
        """Waits for an event that has not been waited for, and returns its values."""
        while True:
            for at, event in enumerate(self.events):
                if (event["method"], event.get("sessionId")) == (method, session):
                    return self.events.pop(at)["params"]
            self.events.append(self._receive())

    def _receive(self) -> dict:
        deadline = time.monotonic() + _ANSWER_SECS
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

    def open(self, url: str, width: int = 1000, *, dark: bool = False) -> "Tab":
        """Opens `url` in a new tab, `width` pixels wide, and waits until it is read."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        tab = Tab(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            tab.call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.call("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1}
        tab.call("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        tab.call("Emulation.setScrollbarsHidden", hidden=True)
        tab.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired", tab.session)
        return tab


class Tab:
    """A tab of a browser."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self.browser, self.session = browser, session

    def call(self, method: str, **values: object) -> dict:
        """Calls a method of the protocol for this tab."""
        return self.browser.call(method, self.session, **values)

    def evaluate(self, program: str) -> object:
        """Runs JavaScript, waits for its promise, and returns what JSON can hold."""
        done = self.call(
            "Runtime.evaluate",
            expression=program,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in done:
            said = done["exceptionDetails"]
            raise RuntimeError(said.get("exception", said).get("description", said))
        return done["result"].get("value")

    def wait_until(self, condition: str, seconds: float = 60) -> object:
        """Waits until a JavaScript expression is true, and returns its value."""
        deadline = time.monotonic() + seconds
        while not (found := self.evaluate(condition)):
            if time.monotonic() > deadline:
                state = self.evaluate("document.body.innerText")
                raise TimeoutError(f"{condition} is not true:\n{state}")
            time.sleep(0.02)
        return found

    def text(self, name: str) -> str:
        """The text of the element with the id `name`."""
        return self.evaluate(f"document.getElementById({json.dumps(name)}).innerText")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Presses a key."""
        words = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        down = words | ({"text": text} if text else {})
        self.call("Input.dispatchKeyEvent", type="keyDown", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", **words)

    def choose_file(self, selector: str, path: pathlib.Path) -> None:
        """Chooses a file in an input of type file."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        found = self.call("DOM.querySelector", nodeId=root, selector=selector)
        node = found["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def requests(self) -> list[str]:
        """The addresses that this tab has asked for."""
        sent = self._seen("Network.requestWillBeSent")
        return [found["request"]["url"] for found in sent]

    def faults(self) -> list[str]:
        """Exceptions, warnings and errors of this tab, such as refused requests."""
        found = [
            str(event["exceptionDetails"])
            for event in self._seen("Runtime.exceptionThrown")
        ]
        entries = [event["entry"] for event in self._seen("Log.entryAdded")]
        return found + [one["text"] for one in entries if one["level"] != "info"]

    def _seen(self, name: str) -> list[dict]:
        self.evaluate("0")  # what happened before has arrived then
        events = self.browser.events
        own = [event for event in events if event.get("sessionId") == self.session]
        return [event["params"] for event in own if event["method"] == name]

    def screenshot(self, path: pathlib.Path, *, whole: bool = True) -> None:
        """Writes what the tab shows as PNG."""
        words = {"captureBeyondViewport": whole, "format": "png"}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            words["clip"] = size | {"scale": 1}
        content = self.call("Page.captureScreenshot", **words)["data"]
        path.write_bytes(base64.b64decode(content))
