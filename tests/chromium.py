"""A headless Chromium, driven over its DevTools protocol: open a page, look, drag, list what was requested."""

import base64
import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

# SwiftShader draws WebGL without a GPU. Names lead nowhere: what is not on this machine cannot be loaded by accident.
_FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--remote-debugging-port=0",
]  # fmt: skip
_PATIENCE = 60.0  # seconds, for anything: busy machines are slow, and a browser that hangs must end the test


def find() -> str:
    """Chromium's path. Without one the test skips; in CI, which installs it, it fails."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None and os.environ.get("CI"):
        pytest.fail("no chromium on the path, though .ci/run installs it")
    if path is None:
        pytest.skip("no chromium on the path: apt-get install chromium")
    return path


class Chromium:
    """A browser with one page. Frames of websockets, the page's or its workers', are kept with their times."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        from websockets.sync.client import connect

        command = [find(), *_FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.events: list[dict[str, Any]] = []
        self.sent = 0
        try:
            address = self._address(folder / "DevToolsActivePort")
            self.socket = connect(address, max_size=None, close_timeout=0.1)  # it will be dead when this is closed
        except BaseException:
            self._end()
            raise
        target = self.call("Target.createTarget", "", url="about:blank")["targetId"]
        self.page = self.call("Target.attachToTarget", "", targetId=target, flatten=True)["sessionId"]
        # A page's workers have their own sessions; they wait until we listen.
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        for domain in ("Page", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def open(self, url: str) -> None:
        """Begin to load a page."""
        self.call("Page.navigate", url=url)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command, to the page unless told otherwise, and its answer."""
        number = self._send(method, self.page if session is None else session, parameters)
        end = time.monotonic() + _PATIENCE
        while (answer := self._hear(end)).get("id") != number:
            pass
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def wait(self, condition: Callable[[], Any], why: str) -> None:
        """Listen until ``condition`` holds."""
        end = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < end, f"waited {_PATIENCE:g} s for {why}"
            self.listen(0.05)

    def listen(self, seconds: float) -> None:
        """Take in events for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self._hear(end)
            except TimeoutError:
                return

    def screenshot(self) -> np.ndarray:
        """What the page shows, (H, W, 3) uint8."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        with Pillow.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"))

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """The left button down at one point, up at another."""
        button = {"button": "left", "buttons": 1, "clickCount": 1}
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of one kind so far."""
        return [event["params"] for event in self.events if event["method"] == method]

    def frames(self, direction: str) -> list[tuple[float, bytes]]:
        """Times, on the browser's clock, and contents of websocket frames "Sent" or "Received"."""
        found = self.of(f"Network.webSocketFrame{direction}")
        return [(frame["timestamp"], base64.b64decode(frame["response"]["payloadData"])) for frame in found]

    def close(self) -> None:
        """End the browser."""
        self._end()
        self.socket.close()

    def _end(self) -> None:
        self.process.kill()  # it has nothing to save, and takes its time when asked
        self.process.wait(_PATIENCE)

    def _address(self, file: Path) -> str:
        end = time.monotonic() + _PATIENCE
        while not file.exists() or len(lines := file.read_text().splitlines()) < 2:
            assert self.process.poll() is None, f"chromium ended with {self.process.returncode}"
            assert time.monotonic() < end, "chromium did not start"
            time.sleep(0.02)
        return f"ws://127.0.0.1:{lines[0]}{lines[1]}"

    def _send(self, method: str, session: str, parameters: dict[str, Any]) -> int:
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        return self.sent

    def _hear(self, end: float) -> dict[str, Any]:
        message = json.loads(self.socket.recv(timeout=max(0.0, end - time.monotonic())))
        if "method" in message:
            self.events.append(message)
            if message["method"] == "Target.attachedToTarget" and message["params"]["waitingForDebugger"]:
                session = message["params"]["sessionId"]
                self._send("Network.enable", session, {})
                self._send("Runtime.runIfWaitingForDebugger", session, {})
        return message
