"""Pages hold the numbers, escape what is hostile, and ask nobody outside."""

from __future__ import annotations

import re

import pytest

from tasks.records.pages.account import account_page, index_page
from tasks.records.pages.canvas import WIDTH, ends, short, ticks
from tasks.records.pages.drawings import draw
from tasks.records.pages.over_time import PlotLine, over_windows
from tasks.records.pages.verdict import data_page, verdict_markdown, verdict_page
from tasks.records.pages.window import window_markdown, window_page
from tasks.spec.data_record import DataRecord, SourceFile
from tasks.spec.evidence import (
    Decision,
    Finding,
    GateResult,
    Measurement,
    Plot,
    Point,
    Region,
    Series,
    Verdict,
    WindowReport,
)
from tasks.spec.ledger import Entry

HOSTILE = "<script>alert(1)</script>"
MEASURED = Measurement(label=f"auc {HOSTILE}", value=0.9123, low=0.9, high=0.92, limit=0.89, rows=4321, state="pass")
GATES = (
    GateResult(gate="auc-floor", kind="floor", mandatory=True, state="pass", reason=HOSTILE, measurements=(MEASURED,)),
    GateResult(gate="rules", kind="rules", mandatory=True, state="insufficient_evidence", reason="few | rows"),
)
VERDICT = Verdict(
    model="care",
    commit="a" * 40,
    champion=None,
    model_digest="sha256:" + "b" * 64,
    created="2026-01-01",
    passed=False,
    gates=GATES,
)
FINDING = Finding(
    kind="estimated_performance",
    subject="log_loss",
    value=0.3,
    low=0.2,
    high=0.4,
    reference=0.2,
    limit=0.25,
    rows=2000,
    alarm=True,
    sentence=HOSTILE,
)
REPORT = WindowReport(
    model="care",
    version="v1.0.0",
    window=3,
    first="t",
    last="t",
    first_seq=1,
    last_seq=2,
    rows=2000,
    labelled=0,
    created="t",
    findings=(FINDING,),
    decision=Decision(action="alert", reason="because", policy="line"),
)
ENTRY = Entry(
    sequence=1,
    time="2026-01-01T00:00:00",
    kind="rejected",
    model="care",
    version=None,
    commit="a" * 40,
    actor=HOSTILE,
    reason="push",
    sentence="refused",
    evidence=None,
    previous=None,
)
NAMED = tuple(
    Point(
        x=0.5 + i / 30,
        y=0.05 * i,
        low=0.04 * i,
        high=0.06 * i,
        limit=0.1 if i == 3 else None,
        label=f"a_long_name_of_a_feature_{i} {HOSTILE}",
        rows=40 + i,
    )
    for i in range(12)
)
REGIONS = (Region(axis="x", low=0.75, label=HOSTILE), Region(axis="y", low=0.05, label="limit of their sum"))
RANGE = (Region(axis="x", low=0.55, high=0.8, label=HOSTILE),)
LONG = (
    "the score rises with a_long_name_of_a_column without turning back where another_long_name >= 65 and a_third == 1"
)
SERIES = tuple(Series(name=f"{name} {HOSTILE}", points=NAMED) for name in ("first", "second"))
PLOTS = (
    Plot(
        title=LONG,
        kind="curve",
        x_label=f"age (years) {HOSTILE}",
        y_label=HOSTILE,
        series=SERIES,
        sign="falls",
        state="fail",
        note=f"a note of the curve {HOSTILE}",
    ),
    Plot(
        title=HOSTILE,
        kind="reliability",
        x_label="mean score of the bin",
        y_label="observed rate",
        series=SERIES[:1],
        note="a note of the rates",
    ),
    Plot(
        title=LONG,
        kind="histogram",
        x_label="score",
        y_label="share of rows",
        series=SERIES[:1],
        regions=RANGE,
        state="fail",
        note="a note of the histogram",
    ),
    Plot(
        title=LONG,
        kind="scatter",
        x_label=f"AUC with which the feature alone tells {HOSTILE}",
        y_label="share of the attribution",
        series=SERIES[:1],
        regions=REGIONS,
        state="insufficient_evidence",
        note="a note of the proxy",
    ),
    Plot(
        title=LONG,
        kind="intervals",
        x_label="share of the mean absolute attribution",
        series=SERIES[:1],
        note="a note of the importance",
    ),
    Plot(
        title=LONG,
        kind="cases",
        x_label="score",
        series=(Series(name="cases", points=NAMED[:2]),),
        regions=RANGE,
        state="pass",
        note="income 30 scores 0.791; income 60, 0.339",
    ),
)
RULES = tuple(
    Measurement(
        label=f"{LONG} {i}: for a reason that takes some words as well",
        value=i / 25,
        low=i / 30,
        high=i / 20,
        limit=0.2,
        rows=300 + i,
        state="pass" if i < 3 else "insufficient_evidence" if i < 6 else "fail",
    )
    for i in range(25)
)
RICH = VERDICT.model_copy(
    update={
        "unprotected": "the rows are pumps of a water works, and nobody is decided about",
        "data": DataRecord(
            files=tuple(
                SourceFile(name=f"data/care/source/{'a-long-name-' * n}{HOSTILE}.csv", sha256="d" * 64, size=10**n)
                for n in (1, 9)
            ),
            rows=9000,
            dropped={"without a label": 412},
            sides={"train": 4000, "holdout": 4000, "replay": 588},
            collected=17,
        ),
        "gates": (
            *(
                GateResult(
                    gate=f"floor-{i}",
                    kind="floor",
                    mandatory=True,
                    state="pass",
                    reason="fine",
                    measurements=(MEASURED,),
                )
                for i in range(15)
            ),
            GateResult(
                gate="advice", kind="calibration", mandatory=False, state="fail", reason="off", measurements=RULES[6:8]
            ),
            GateResult(
                gate="expert-rules",
                kind="rules",
                mandatory=True,
                state="fail",
                reason="broken",
                measurements=RULES,
                plots=PLOTS + PLOTS[-1:] * 5,
            ),
            GateResult(
                gate="unclear",
                kind="stability",
                mandatory=True,
                state="insufficient_evidence",
                reason="few",
                measurements=RULES[3:5],
                plots=PLOTS[4:5],
            ),
        ),
    }
)


@pytest.mark.parametrize(
    ("page", "holds"),
    [
        (
            verdict_page(
                VERDICT,
                "Care",
                {"curves": {"roc": [[0, 0], [1, 1]], "calibration": [[0.1, 0.2, 10]]}, "importance": {"x": 1.0}},
            ),
            ["0.9123", "4,321", "insufficient evidence", "rules"],
        ),
        (
            verdict_page(RICH, "Care", {}),
            [
                "0.9123",
                "324 rows",
                "a note of the curve",
                "a note of the rates",
                "a note of the histogram",
                "a note of the proxy",
                "a note of the importance",
                "income 30 scores 0.791; income 60, 0.339",
            ],
        ),
        (window_page(REPORT, [], "Care"), ["Alert.", "Because.", "0.25", "2,000"]),
        (
            account_page(
                [ENTRY], [REPORT], "Care", [{"act": 1, "title": "T", "outcome": "O", "seconds": 1.0, "ok": True}]
            ),
            ["Refused.", "as expected"],
        ),
        (data_page("care", []), ["nothing is known about the data"]),
    ],
    ids=["verdict", "rich verdict", "window", "account", "data"],
)
def test_a_page_is_complete_safe_and_alone(page: str, holds: list[str]) -> None:
    for text in holds:
        assert text in page
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_markdown_says_the_same() -> None:
    text = verdict_markdown(VERDICT, {"importance": {"x": 1.0}})
    assert text.count("](data:image/svg+xml;base64,") == 1
    assert "Not fit to serve" in text and "Few \\| rows" in text and "<script" not in text
    assert "estimated performance" in window_markdown(REPORT, [])


def test_the_index_links_every_page() -> None:
    page = index_page(["care/window-00002.html", "care/verdict-abc.html", "account.html"])
    for link in ("care/window-00002.html", "care/verdict-abc.html", "account.html"):
        assert f'href="{link}"' in page


def test_what_failed_comes_first_and_is_open_with_its_plots() -> None:
    page = verdict_page(RICH, "Care", {})
    summaries = re.findall(
        r"<details( open)?><summary><span[^>]*>(.*?)</span> <strong>(.*?)</strong> <span[^>]*>(.*?)</span>", page
    )
    assert [(bool(o), name) for o, _, name, _ in summaries[:4]] == [
        (True, "expert-rules"),
        (True, "advice"),
        (True, "unclear"),
        (False, "floor-0"),
    ]
    assert summaries[0][3] == "25 numbers, 11 plots"
    for i, (_, _, name, _) in enumerate(summaries, 1):
        assert f'<a href="#gate-{i}">{name}</a>' in page and f'<div id="gate-{i}">' in page
    held = page.index("6 plots of what holds")
    assert page.index("a note of the curve") < held < page.index("income 30 scores 0.791")
    assert page.index("3 more numbers") < held


def test_a_forest_shares_one_scale_and_marks_the_limit() -> None:
    page = verdict_page(RICH.model_copy(update={"gates": RICH.gates[-1:]}), "Care", {})
    first, second = re.findall(r'<svg viewBox="0 0 250 (?:42|26)".*?</svg>', page)
    places = [
        re.search(r'<line x1="([0-9.]+)" y1="[0-9.]+" x2="\1"[^>]*stroke-dasharray', svg) for svg in (first, second)
    ]
    assert places[0] is not None and places[1] is not None and places[0][1] == places[1][1]
    assert "0.12, 0.1 to 0.15, limit 0.2" in first and "304 rows" in page


def test_the_curve_marks_where_the_mean_goes_against_the_rule_and_nowhere_else() -> None:
    curve = PLOTS[0].model_copy(update={"series": SERIES[:1]})
    assert "✕</text>" in draw(curve)
    assert "✕</text>" not in draw(curve.model_copy(update={"sign": "rises"}))


@pytest.mark.parametrize("plot", PLOTS, ids=lambda p: str(p.kind))
def test_a_lone_point_and_equal_values_can_be_drawn(plot: Plot) -> None:
    for y in (0.0, 0.5, -3e7):
        point = NAMED[0].model_copy(update={"y": y, "low": y, "high": y})
        for points in ((point,), (point, point)):
            drawn = draw(plot.model_copy(update={"series": (Series(name="s", points=points),)}))
            assert "nan" not in re.sub(r"aria-label=.*?font-family", "", str(drawn)) and "inf" not in drawn.replace(
                "information", ""
            )


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.664, 0.703, [0.67, 0.68, 0.69, 0.7]),
        (-3, 1200, [0, 500, 1000]),
        (2, 2, [2]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, found: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(found)


def test_labels_keep_both_ends_and_a_lone_value_has_room() -> None:
    assert short("a_long_name_of_a_column_1", 12) == "a_long…umn_1"
    assert ends([3.0]) == pytest.approx((2.7, 3.3)) and ends([0.0]) == (-0.5, 0.5)


def test_the_data_page_counts_in_words_that_agree() -> None:
    check = {"table": "holdout", "sentence": "age holds", "success": True, "observed": 0.5, "rows": 1234}
    broken = check | {"success": False}
    for checks, says in (
        ([check], "✓ The only expectation holds."),
        ([check, check], "✓ All 2 expectations hold."),
        ([broken], "✕ 1 of 1 expectation is broken."),
        ([check, broken], "✕ 1 of 2 expectations is broken."),
        ([broken, broken], "✕ 2 of 2 expectations are broken."),
    ):
        assert says in data_page("care", checks)


def test_a_version_that_begins_with_the_newest_window_is_named_inside_the_picture() -> None:
    """Its line stands near the right edge, where the name would be cut; it stands left of the line then."""
    values = tuple((n, 0.2, None, None) for n in range(1, 10))
    drawn = over_windows("log loss", "log loss", [PlotLine("realized", values)], begins=[(9, "v3.0.0")])
    named = re.search(r'<text x="([\d.]+)"[^>]*text-anchor="(\w+)"[^>]*>v3.0.0<', drawn)
    assert named is not None and named[2] == "end" and float(named[1]) < WIDTH - 7


def test_a_verdict_says_which_rows_it_is_about() -> None:
    for shown in (verdict_page(RICH, "Care", {}), verdict_markdown(RICH, {})):
        for said in (
            "9,000 rows from 2 files.",
            "Dropped 412 of 9,000 rows without a label.",
            "4,000 train, 4,000 examine, and 588 are kept for replay.",
            "17 rows collected in production joined those that train and examine.",
            "d" * 64,
            "No protected group is looked after.",
        ):
            assert said in shown
        assert HOSTILE not in shown
