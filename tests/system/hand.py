"""Hand and eye of a reader: keys, mouse and pictures in a Chromium.

As a script it takes a picture of a page of a service, after some keys if one likes:
``python -m tests.system.hand URL PICTURE --keys aj2``.
"""

import argparse
import base64
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.system.chromium import Chromium

_CODES = {
    "Enter": ("Enter", 13),
    "Escape": ("Escape", 27),
    "Tab": ("Tab", 9),
    " ": ("Space", 32),
    "ArrowDown": ("ArrowDown", 40),
    "ArrowUp": ("ArrowUp", 38),
    "ArrowLeft": ("ArrowLeft", 37),
    "ArrowRight": ("ArrowRight", 39),
    "[": ("BracketLeft", 219),
    "]": ("BracketRight", 221),
    "?": ("Slash", 191),
}
ALT, CTRL, SHIFT = 1, 2, 8
_BUTTONS = {"left": 1, "right": 2, "middle": 4, "none": 0}


class Hand:
    """A reader at one page.

    Parameters
    ----------
    browser : Chromium
    """

    def __init__(self, browser: Chromium) -> None:
        self.browser = browser

    def open(self, url: str, ready: str = "document.documentElement.dataset.loaded") -> None:
        """Open an address and wait until a condition holds."""
        self.browser.events.clear()
        self.run(f"setTimeout(() => location.assign({url!r}))")
        while not any(event.get("method") == "Page.loadEventFired" for event in self.browser.events):
            # a page with unsaved work asks before it is left
            with suppress(RuntimeError):
                self.browser.send("Page.handleJavaScriptDialog", accept=True)
            time.sleep(0.02)
        self.wait(ready)

    def run(self, script: str) -> Any:
        return self.browser.run(script)

    def wait(self, condition: str, seconds: float = 30) -> Any:
        """Wait until an expression of the page is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.browser.send(
                "Runtime.evaluate", expression=condition, returnByValue=True, awaitPromise=True
            )
            value = found["result"].get("value")
            if "exceptionDetails" not in found and value not in (None, False, 0, ""):
                return value
            time.sleep(0.02)
        msg = f"never true: {condition}"
        raise TimeoutError(msg)

    def settle(self) -> None:
        """Wait until nothing is on its way to the service and the picture is drawn."""
        self.wait("document.documentElement.dataset.busy === 'false'")
        self.frame()

    def frame(self) -> None:
        self.run("new Promise(d => requestAnimationFrame(() => requestAnimationFrame(() => d(true))))")

    def key(self, key: str, modifiers: int = 0) -> None:
        self.down(key, modifiers)
        self.up(key, modifiers)

    def _keys(self, key: str, modifiers: int) -> dict[str, Any]:
        if key in _CODES:
            code, number = _CODES[key]
        elif key.isdigit():
            code, number = f"Digit{key}", ord(key)
        else:
            code, number = f"Key{key.upper()}", ord(key.upper())
        return {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers}

    def down(self, key: str, modifiers: int = 0) -> None:
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        if modifiers & (ALT | CTRL):
            text = {}
        self.browser.send("Input.dispatchKeyEvent", type="keyDown", **self._keys(key, modifiers), **text)

    def up(self, key: str, modifiers: int = 0) -> None:
        self.browser.send("Input.dispatchKeyEvent", type="keyUp", **self._keys(key, modifiers))

    def type(self, text: str) -> None:
        self.browser.send("Input.insertText", text=text)

    def mouse(
        self,
        kind: str,
        x: float,
        y: float,
        button: str = "none",
        modifiers: int = 0,
        held: str = "none",
        **more: Any,
    ) -> None:
        self.browser.send(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button=button,
            buttons=_BUTTONS[held],
            modifiers=modifiers,
            **more,
        )

    def click(self, x: float, y: float, modifiers: int = 0, count: int = 1) -> None:
        self.mouse("mouseMoved", x, y, modifiers=modifiers)
        for n in range(1, count + 1):
            self.mouse("mousePressed", x, y, "left", modifiers, "left", clickCount=n)
            self.mouse("mouseReleased", x, y, "left", modifiers, clickCount=n)

    def drag(self, points: list[tuple[float, float]], button: str = "left", modifiers: int = 0) -> None:
        self.mouse("mouseMoved", *points[0], modifiers=modifiers)
        self.mouse("mousePressed", *points[0], button, modifiers, button, clickCount=1)
        for point in points[1:]:
            self.mouse("mouseMoved", *point, button, modifiers, button)
        self.mouse("mouseReleased", *points[-1], button, modifiers, clickCount=1)

    def wheel(self, x: float, y: float, delta: float, modifiers: int = 0) -> None:
        self.mouse("mouseWheel", x, y, modifiers=modifiers, deltaX=0, deltaY=delta)

    def press_button(self, selector: str, text: str | None = None) -> None:
        """Click on a control as a mouse does."""
        which = f"[...document.querySelectorAll({selector!r})]"
        if text is not None:
            which += f".filter(e => e.textContent.includes({text!r}))"
        box = self.wait(
            f"(() => {{ const e = {which}.find(e => e.getClientRects().length); if (!e) return null;"
            " e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            " return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        self.click(*box)

    def picture(self, path: Path) -> None:
        answer = self.browser.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))


def main() -> None:
    """Take a picture of a page."""
    parser = argparse.ArgumentParser(description="Take a picture of a page of a service.")
    parser.add_argument("url")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--keys", default="", help="single keys, pressed one after the other")
    given = parser.parse_args()
    with Chromium(width=given.width, height=given.height) as browser:
        hand = Hand(browser)
        hand.open(given.url)
        for key in given.keys:
            hand.key(key)
            hand.settle()
        hand.settle()
        hand.picture(given.picture)
        print(*browser.complaints(), sep="\n")


if __name__ == "__main__":
    main()
