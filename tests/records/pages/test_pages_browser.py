"""Every page in a real browser, on a desk and on a phone: nothing runs over the edge, nothing is hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.records.pages.account import account_page, index_page
from tasks.records.pages.model import model_page
from tasks.records.pages.verdict import data_page, verdict_page
from tasks.records.pages.watch import ModelStatus
from tasks.records.pages.window import window_page
from tasks.spec.evidence import GateResult
from tests.browser import page_measured
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
MEASURED = {"label": "excess loss of all rows", "state": "pass", "limit": 0.02, "rows": 50_000, "value": 0.0051}
LONG_TICKS = [{"x": x, "y": x / 20_000} for x in (0.0, 10_000.0, 20_000.0)]
AT_THE_ENDS = VERDICT.model_copy(
    update={
        "gates": (
            GateResult.model_validate(
                {
                    "gate": "far",
                    "kind": "rules",
                    "mandatory": True,
                    "state": "pass",
                    "reason": "holds",
                    "measurements": [MEASURED | {"low": -0.0052, "high": 0.02}],
                    "plots": [
                        {"title": t, "kind": "curve", "x_label": "x", "series": [{"name": "mean", "points": p}]}
                        for t, p in (("to 20,000", LONG_TICKS), ("to 20,100", [*LONG_TICKS, {"x": 20_100.0, "y": 1.0}]))
                    ],
                },
                strict=False,
            ),
        )
    }
)
"""Ticks and limits whose words are wider than the room beside them."""
OF_WAGES = {"label": "MAE", "quantity": "mae", "state": "pass", "rows": 50_000, "value": 0.51}
IN_DOLLARS = VERDICT.model_copy(
    update={
        "gates": (
            GateResult.model_validate(
                {
                    "gate": "mae-floor",
                    "kind": "floor",
                    "mandatory": True,
                    "state": "fail",
                    "reason": "too large",
                    "measurements": [OF_WAGES | {"low": 0.4987, "high": 0.5213, "limit": 0.6}],
                },
                strict=False,
            ),
        )
    }
)
"""Every number of a row carries the unit, so that a row on one line is wider than a desk."""
PAGES = {
    "verdict": verdict_page(VERDICT, "Care", EVALUATION),
    "rich verdict": verdict_page(RICH, "Care", EVALUATION),
    "numbers of a long unit": verdict_page(IN_DOLLARS, "Wages", EVALUATION, "log of dollars of 1986"),
    "rich verdict, all open": verdict_page(RICH, "Care", EVALUATION).replace("<details>", "<details open>"),
    "window": window_page(REPORT, REPORTS, "Care"),
    "model": model_page(ModelStatus("care", "Care", "v2.0.0", "", life())),
    "model in trouble": model_page(ModelStatus("care", "Care", "v1.0.0", "", life(10))),
    "model without a window": model_page(ModelStatus("care", "Care", "v1.0.0", "", [])),
    "account": account_page([ENTRY] * 20, REPORTS, "Care", [ACT] * 6),
    "index": index_page([f"care/window-{i:05d}.html" for i in range(9)] + ["account.html"]),
    "numbers at the ends of axes": verdict_page(AT_THE_ENDS, "Care", EVALUATION),
    "data": data_page("care", [CHECK] * 5),
}


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window(name: str, width: int, tmp_path: Path) -> None:
    measured = page_measured(PAGES[name], width, tmp_path)
    assert measured["width"] == width and measured["shown"] > 5
    assert measured["scroll"] <= width and measured["over"] == [] and measured["cut"] == []
