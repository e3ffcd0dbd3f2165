"""Pages hold the numbers, escape what is hostile, and ask nobody outside."""

from __future__ import annotations

import re

import pytest

from tasks.records import pages
from tasks.spec.evidence import Decision, Entry, Finding, GateResult, Measurement, Verdict, WindowReport

HOSTILE = "<script>alert(1)</script>"
MEASURED = Measurement(label=f"auc {HOSTILE}", value=0.9123, low=0.9, high=0.92, limit=0.89, rows=4321, state="pass")
GATES = (
    GateResult(gate="auc-floor", kind="floor", mandatory=True, state="pass", reason=HOSTILE, measurements=(MEASURED,)),
    GateResult(gate="rules", kind="rules", mandatory=True, state="insufficient_evidence", reason="few | rows"),
)
VERDICT = Verdict(model="care", commit="a" * 40, champion=None, model_digest="sha256:" + "b" * 64, created="2026-01-01", passed=False, gates=GATES)
FINDING = Finding(kind="estimated_performance", subject="log_loss", value=0.3, low=0.2, high=0.4, reference=0.2, limit=0.25, rows=2000, alarm=True, sentence=HOSTILE)
REPORT = WindowReport(
    model="care", version="v1.0.0", window=3, first="t", last="t", first_seq=1, last_seq=2, rows=2000, labelled=0, created="t", findings=(FINDING,), decision=Decision(action="alert", reason="because", policy="line")
)
ENTRY = Entry(sequence=1, time="2026-01-01T00:00:00", kind="rejected", model="care", version=None, commit="a" * 40, actor=HOSTILE, reason="push", sentence="refused", evidence=None, previous=None)


@pytest.mark.parametrize(
    ("page", "holds"),
    [
        (pages.verdict_page(VERDICT, "Care", {"curves": {"roc": [[0, 0], [1, 1]], "calibration": [[0.1, 0.2, 10]]}, "importance": {"x": 1.0}}), ["0.9123", "4,321", "insufficient evidence", "rules"]),
        (pages.window_page(REPORT, [], "Care"), ["Alert.", "Because.", "0.25", "2,000"]),
        (pages.account_page([ENTRY], [REPORT], "Care", [{"act": 1, "title": "T", "outcome": "O", "seconds": 1.0, "ok": True}]), ["refused", "as told"]),
        (pages.data_page("care", []), ["nothing is known about the data"]),
    ],
    ids=["verdict", "window", "account", "data"],
)
def test_a_page_is_complete_safe_and_alone(page: str, holds: list[str]) -> None:
    for text in holds:
        assert text in page
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_markdown_says_the_same() -> None:
    text = pages.verdict_markdown(VERDICT, {"importance": {"x": 1.0}})
    assert text.count("](data:image/svg+xml;base64,") == 1
    assert "Not fit to serve" in text and "Few \\| rows" in text and "<script" not in text
    assert "estimated performance" in pages.window_markdown(REPORT, [])


def test_the_index_links_every_page() -> None:
    page = pages.index_page(["care/window-00002.html", "care/verdict-abc.html", "account.html"])
    for link in ("care/window-00002.html", "care/verdict-abc.html", "account.html"):
        assert f'href="{link}"' in page
