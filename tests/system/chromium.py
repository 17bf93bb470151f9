"""Drive a real Chromium over its debugging pipe: no driver program, no open port, no other package.

As a script it takes pictures of pages: ``python -m tests.system.chromium PAGE PICTURE`` (``.pdf``: printed).
"""

import argparse
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


def program() -> str | None:
    """Find Chromium."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Chromium:
    """A browser with one page.

    Parameters
    ----------
    width, height : int
        Of the window, in CSS pixels; below 500 it is a phone.
    scripts : bool
        JavaScript is on.
    timeout_s : float
        How long an answer may take.
    """

    def __init__(
        self, *, width: int = 1280, height: int = 900, scripts: bool = True, timeout_s: float = 120
    ) -> None:
        self.events: list[dict[str, Any]] = []
        self._timeout_s = timeout_s
        self._buffer = b""
        self._number = 0
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # the browser reads from 3 and writes to 4, whatever numbers the pipes have here
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        command = [str(program()), *_FLAGS, "--remote-debugging-pipe", f"--user-data-dir={self._folder.name}"]
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session: str | None = None
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._folder.cleanup()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self._timeout_s
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._number:
                if "error" in answer:
                    msg = f"{method}: {answer['error']}"
                    raise RuntimeError(msg)
                return answer["result"]
            self.events.append(answer)

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._read, 1 << 20) if ready else b""
            if not chunk:
                msg = "Chromium does not answer"
                raise TimeoutError(msg)
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def open(self, path: Path) -> None:
        """Open a file and wait until everything in it is loaded."""
        self.events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        deadline = time.monotonic() + self._timeout_s
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive(deadline))

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            msg = f"{script}: {answer['exceptionDetails']}"
            raise RuntimeError(msg)
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        keys = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", **keys, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **keys)

    def complaints(self) -> list[str]:
        """List errors and warnings of the console, and exceptions, since the page was opened."""
        self.send("Runtime.evaluate", expression="0")
        told = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                told.append(params["exceptionDetails"]["text"])
            elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                told.append(str(params["args"]))
            elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                told.append(params["entry"]["text"])
        return told

    def requests(self) -> list[str]:
        """List what was asked for since the page was opened, itself and what it carries excepted."""
        self.send("Runtime.evaluate", expression="0")
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls[1:] if not url.startswith("data:")]

    def picture(self, path: Path) -> None:
        """Take a picture of the whole page; one named ``.pdf`` is printed."""
        if path.suffix == ".pdf":
            answer = self.send("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        else:
            answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))


def main() -> None:
    """Take pictures of a page."""
    parser = argparse.ArgumentParser(description="Take a picture of a page.")
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900, help="of the window; pictures show the whole page")
    parser.add_argument("--clip", type=int, help="only this many pixels from the top")
    parser.add_argument("--at", default="", help="show the part that this anchor names first")
    parser.add_argument("--no-script", action="store_true")
    given = parser.parse_args()
    with Chromium(width=given.width, height=given.height, scripts=not given.no_script) as browser:
        browser.open(given.page)
        if given.clip:
            top = browser.run(f"document.getElementById({given.at!r}).offsetTop") if given.at else 0
            box = {"x": 0, "y": top, "width": given.width, "height": given.clip, "scale": 1}
            answer = browser.send(
                "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=box
            )
            given.picture.write_bytes(base64.b64decode(answer["data"]))
        else:
            browser.picture(given.picture)
        print(*browser.complaints(), *browser.requests(), sep="\n")


if __name__ == "__main__":
    main()
