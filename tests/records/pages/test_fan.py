"""The fan: what it draws, that nothing is cut, and that it is told without colour."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from tasks.records.pages.fan import SHOWN, fan
from tasks.science.monitors.forecast.forecast import forecast
from tasks.spec.forecast import Forecast, Observation
from tests.browser import page_measured


def series(n: int, error: float = 0.01, unlabelled: int = 3, start: int = 1, slope: float = 0.004) -> list[Observation]:
    rng = np.random.default_rng(1)
    rows = []
    for i in range(n):
        value, guess = (0.3 + slope * i + error * rng.normal() for _ in range(2))
        known = i < n - unlabelled
        rows.append(
            Observation(
                window=start + i,
                value=value if known else guess,
                error=error,
                rows=2000,
                realized=known,
                estimate=guess if known else None,
                estimate_error=error if known else None,
            )
        )
    return rows


def made(rows: list[Observation], limit: float = 0.4, greater: bool = False, horizon: int = 4) -> Forecast:
    return forecast(rows, limit, greater, horizon, None, 0, "log_loss")


LONG = [o.model_copy(update={"error": 0.3 if o.window == 990 else o.error}) for o in series(40, start=970)]
CASES = {
    "usual": (series(20), made(series(20))),
    "greater is better": (series(20, slope=-0.004), made(series(20, slope=-0.004), 0.2, True)),
    "too little": (series(3), made(series(3))),
    "one": (series(1, unlabelled=0), made(series(1, unlabelled=0))),
    "beyond": (series(20, slope=0.02), made(series(20, slope=0.02))),
    "far limit": (series(20), made(series(20), 40.0)),
    "far ahead": (series(20), made(series(20), horizon=26)),
    "long, with a whisker that would flatten it": (LONG, made(LONG)),
    "constant": (series(20, 0.0, 0, slope=0.0), made(series(20, 0.0, 0, slope=0.0))),
    "a long name": (
        series(20),
        made(series(20)).model_copy(update={"subject": "selection rate of sex Female and race American Indian <b>"}),
    ),
    "shift": (series(20), made(series(20)).model_copy(update={"shift": 12})),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fan_is_one_picture_with_words(name: str) -> None:
    rows, forecast_ = CASES[name]
    drawn = str(fan(rows, forecast_))
    root = ET.fromstring(drawn)
    assert "http" not in drawn and "nan" not in drawn and root.get("viewBox") and root.get("role") == "img"
    assert f"limit {forecast_.limit:.4g}" in (root.get("aria-label") or "")
    assert drawn.count("<circle") >= len(rows[-SHOWN:]) and f">limit {forecast_.limit:.4g}<" in drawn
    assert ("forecast: mean and 80 % interval" in drawn) == forecast_.valid == ("<polygon" in drawn)


def test_realized_and_estimated_differ_by_shape_and_line() -> None:
    drawn = str(fan(*CASES["usual"]))
    filled, hollow = (len(re.findall(rf'<circle [^>]*fill="{fill}"', drawn)) for fill in ("#1b1f24", "#fff"))
    assert filled == 17 + 1 and hollow == 20 + 1, "and one of each in the key"
    assert (
        'stroke-dasharray="5 4"' in drawn and "realized, from labels" in drawn and "estimated without labels" in drawn
    )
    only = str(fan(series(20, unlabelled=0)[:0], CASES["usual"][1]))
    assert "Nothing has been observed yet" in only


def test_the_side_beyond_the_limit_is_striped() -> None:
    """Above where less is better, below where more is."""
    for name, above in (("usual", True), ("greater is better", False)):
        drawn = str(fan(*CASES[name]))
        limit = re.search(r'<line x1="48.0" y1="([\d.]+)"[^>]*stroke-dasharray="9 4"', drawn)
        assert limit is not None
        stripes = re.search(r'<g opacity=".45">(.*?)</g>', drawn)
        assert stripes is not None
        ends = [float(y) for y in re.findall(r'y[12]="([\d.]+)"', stripes[1])]
        assert ends and all((y <= float(limit[1]) + 0.1) is above or abs(y - float(limit[1])) < 0.11 for y in ends)


def test_no_word_is_cut_on_a_phone(tmp_path: Path) -> None:
    page = "<!doctype html><meta charset=utf-8><style>svg{max-width:100%;height:auto}p{margin:0}</style>" + "".join(
        f"<p>{html.escape(name)}</p>{fan(*case)}" for name, case in CASES.items()
    )
    measured = page_measured(page, 360, tmp_path)
    assert (
        measured["shown"] > len(CASES)
        and measured["scroll"] <= 360
        and measured["over"] == []
        and measured["cut"] == []
    )
