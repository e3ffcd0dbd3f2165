"""Every page in a real browser, on a desk and on a phone: nothing runs over the edge, nothing is hidden."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from tasks.records.pages.account import account_page, index_page
from tasks.records.pages.model import model_page
from tasks.records.pages.verdict import data_page, verdict_page
from tasks.records.pages.watch import Watched
from tasks.records.pages.window import window_page
from tests.browser import document
from tests.records.pages.test_pages import ENTRY, REPORT, RICH, VERDICT
from tests.records.pages.watched import life

EVALUATION = {
    "curves": {"roc": [[0, 0], [0.2, 0.7], [1, 1]], "calibration": [[0.1, 0.2, 10], [0.8, 0.7, 10]]},
    "importance": {f"a_long_feature_name_{i}": i / 55 for i in range(1, 11)},
}
CHECK = {
    "table": "ingested",
    "sentence": "age values to be between min_value 0, max_value 120",
    "success": True,
    "observed": None,
    "rows": 299285,
}
ACT = {"act": 1, "title": "Release", "outcome": "a long outcome " * 12, "seconds": 1.0, "ok": True}
REPORTS = [REPORT.model_copy(update={"window": i}) for i in range(1, 31)]
PAGES = {
    "verdict": verdict_page(VERDICT, "Care", EVALUATION),
    "rich verdict": verdict_page(RICH, "Care", EVALUATION),
    "rich verdict, all open": verdict_page(RICH, "Care", EVALUATION).replace("<details>", "<details open>"),
    "window": window_page(REPORT, REPORTS, "Care"),
    "model": model_page(Watched("care", "Care", "v2.0.0", "", life())),
    "model in trouble": model_page(Watched("care", "Care", "v1.0.0", "", life(10))),
    "model without a window": model_page(Watched("care", "Care", "v1.0.0", "", [])),
    "account": account_page([ENTRY] * 20, REPORTS, "Care", [ACT] * 6),
    "index": index_page([f"care/window-{i:05d}.html" for i in range(9)] + ["account.html"]),
    "data": data_page("care", [CHECK] * 5),
}
HARNESS = """<!doctype html><iframe srcdoc="{page}" style="width:{width}px;height:1200px;border:0"></iframe><script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument, width = page.defaultView.innerWidth;
  const shown = [...page.querySelectorAll("h1, h2, p, li, td, th, svg, summary, figure, figcaption")].map(e => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width);
  const over = shown.filter(([e, r]) => r.right > width + 1 || r.left < -1).map(([e, r]) => e.tagName + ": " + e.textContent.slice(0, 40));
  const cut = [...page.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().width).flatMap(s => [...s.querySelectorAll("text")].filter(t => !t.getAttribute("transform")).map(t => [t, t.getBBox(), s.viewBox.baseVal]))
    .filter(([t, b, v]) => b.x < -1 || b.x + b.width > v.width + 1 || b.y < -2 || b.y + b.height > v.height + 2).map(([t]) => t.textContent);
  document.title = JSON.stringify({{width, scroll: page.documentElement.scrollWidth, shown: shown.length, over, cut}});
}};
</script>"""


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window(name: str, width: int, tmp_path: Path) -> None:
    """In a frame of the width, since a headless window is never narrower than 500 pixels."""
    path = tmp_path / "harness.html"
    path.write_text(HARNESS.format(page=html.escape(PAGES[name]), width=width))
    dom = document(path.as_uri(), tmp_path / "profile", 1400, seconds=2)
    found = re.search(r"<title>(.*?)</title>", dom)
    assert found is not None, dom[-500:]
    measured = json.loads(html.unescape(found[1]))
    assert measured["width"] == width and measured["shown"] > 5
    assert measured["scroll"] <= width and measured["over"] == [] and measured["cut"] == []
