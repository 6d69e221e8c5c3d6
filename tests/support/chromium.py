"""Tabs of a headless Chromium as a person uses them: keys and files."""

import json
import pathlib
import time

from export.browser import chromium

find_browser = chromium.find_browser
_FLAGS = (
    "--use-fake-device-for-media-stream",  # a webcam that shows a clock
    "--use-fake-ui-for-media-stream",  # and that every page may use
)


class Chromium(chromium.Chromium):
    """A running browser; a context manager."""

    def __init__(self) -> None:
        super().__init__(_FLAGS)

    def open(self, url: str, width: int = 1000, *, dark: bool = False) -> "Tab":
        """Opens `url` in a new tab, `width` pixels wide, and waits until it is read."""
        tab = Tab(self, self.attach())
        for domain in ("Network", "Log", "Accessibility"):
            tab.call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.call("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1}
        tab.call("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        tab.call("Emulation.setScrollbarsHidden", hidden=True)
        self.load(tab.session, url)
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
        return self.browser.evaluate(self.session, program)

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
