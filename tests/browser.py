"""A real browser for tests: Debian's chromium, headless; tests that need it skip where there is none."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection as Connection
from websockets.sync.client import connect

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
]


def picture(url: str, profile: Path, file: Path) -> bytes:
    """What a page looks like, as the pixels of a window of 1,000 by 1,200."""
    from PIL import Image

    _run(profile, 1000, 5, f"--screenshot={file}", url)
    with Image.open(file) as image:
        return image.convert("RGB").tobytes()


def document(url: str, profile: Path, width: int, seconds: int = 20) -> str:
    """The document of a page after its scripts have run for some virtual seconds, in a window of this width."""
    return _run(profile, width, seconds, "--dump-dom", url)


def _run(profile: Path, width: int, seconds: int, *asked: str) -> str:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine; Debian has it as a package of that name")
    command = [
        chromium,
        *QUIET,
        f"--user-data-dir={profile}",
        f"--window-size={width},1200",
        f"--virtual-time-budget={seconds * 1000}",
        *asked,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


class Page:
    """A page that a test drives as a person would: it goes to addresses, and its document is asked and written to."""

    def __init__(self, socket: Connection) -> None:
        self.socket, self.number = socket, 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol; gives its result."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self.socket.recv(timeout=60))
            if said.get("id") == self.number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def ask(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def until(self, expression: str, seconds: float = 40) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.ask(f"(() => {{ try {{ return !!({expression}) }} catch {{ return false }} }})()"):
            assert time.monotonic() < end, f"{expression} did not come true; the page says: {self.text()[:2000]}"
            time.sleep(0.2)

    def text(self) -> str:
        return str(self.ask("document.body ? document.body.innerText : ''"))

    def type(self, selector: str, text: str) -> None:
        """Put the cursor into a field and type."""
        self.until(f"document.querySelector({json.dumps(selector)})")
        self.ask(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=13, text="\r")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def browser(profile: Path, width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """A browser of its own with one page, which ends with the ``with`` block."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine; Debian has it as a package of that name")
    options = [f"--user-data-dir={profile}", f"--window-size={width},{height}", "--remote-debugging-port=0"]
    process = subprocess.Popen([chromium, *QUIET, *options, "about:blank"], stderr=subprocess.DEVNULL)
    try:
        told, end = profile / "DevToolsActivePort", time.monotonic() + 60
        while not (told.exists() and "\n" in told.read_text()):
            assert process.poll() is None and time.monotonic() < end, "chromium does not start"
            time.sleep(0.1)
        port = int(told.read_text().splitlines()[0])
        pages = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False, timeout=30).json()
        address = next(one["webSocketDebuggerUrl"] for one in pages if one["type"] == "page")
        with connect(address, max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(timeout=30)


HARNESS = """<!doctype html><iframe srcdoc="{page}" style="width:{width}px;height:1200px;border:0"></iframe><script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument, width = page.defaultView.innerWidth;
  const all = selector => [...page.querySelectorAll(selector)];
  const shown = all("h1, h2, p, li, td, th, svg, summary, figure, figcaption")
    .map(e => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width);
  const over = shown.filter(([e, r]) => r.right > width + 1 || r.left < -1)
    .map(([e, r]) => e.tagName + ": " + e.textContent.slice(0, 40));
  const texts = svg => [...svg.querySelectorAll("text")].filter(t => !t.getAttribute("transform"));
  const cut = all("svg").filter(s => s.getBoundingClientRect().width)
    .flatMap(s => texts(s).map(t => [t, t.getBBox(), s.viewBox.baseVal]))
    .filter(([t, b, v]) => b.x < -1 || b.x + b.width > v.width + 1 || b.y < -2 || b.y + b.height > v.height + 2)
    .map(([t]) => t.textContent);
  document.title = JSON.stringify({{width, scroll: page.documentElement.scrollWidth, shown: shown.length, over, cut}});
}};
</script>"""


def page_measured(page: str, width: int, folder: Path) -> dict[str, Any]:
    """Show a page in a frame of a width, since a headless window is never narrower than 500 pixels.

    Args:
        page: the page's HTML.
        width: of the frame, in CSS pixels.
        folder: an empty folder for the browser's profile.

    Returns:
        ``width`` and ``scroll`` (width of the content) in pixels; ``shown``, the count of visible elements; ``over``,
        elements that pass the frame's edge; ``cut``, texts of pictures that pass their picture's edge.
    """
    path = folder / "harness.html"
    path.write_text(HARNESS.format(page=html.escape(page), width=width))
    dom = document(path.as_uri(), folder / "profile", 1400, seconds=2)
    found = re.search(r"<title>(.*?)</title>", dom)
    assert found is not None, dom[-500:]
    measured: dict[str, Any] = json.loads(html.unescape(found[1]))
    return measured
