"""A real browser for tests: Debian's chromium, headless; tests that need it skip where there is none."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

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
