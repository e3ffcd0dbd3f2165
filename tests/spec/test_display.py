"""Names, units and formats that people see, at the pages that show them."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from tasks.records.pages.verdict import verdict_markdown, verdict_page
from tasks.records.pages.window import window_markdown, window_page
from tasks.science.windows.monitors import kinds
from tasks.spec.display import (
    FINDINGS,
    MEASURES,
    METRICS,
    finding_form,
    finding_name,
    metric_form,
    metric_name,
    with_display_names,
)
from tasks.spec.evidence import Decision, Finding, GateResult, Measurement, Pictures, Plot, Verdict, WindowReport
from tasks.spec.gates import FairnessGate, SliceMetric
from tasks.spec.metrics import METRIC_NAMES, MetricName
from tasks.spec.wording import number


def test_every_metric_measure_and_kind_of_finding_has_a_name() -> None:
    metrics = {m for names in METRIC_NAMES.values() for m in names} | set(get_args(MetricName) + get_args(SliceMetric))
    measures = set(get_args(FairnessGate.model_fields["measure"].annotation))
    assert set(METRICS) == metrics and set(MEASURES) == measures and set(kinds()) <= set(FINDINGS)
    for shown in (*METRICS.values(), *MEASURES.values(), *FINDINGS.values()):
        assert re.fullmatch(r"[A-Za-z][a-z0-9² -]*|AUC|F1 score|Brier score|R²", shown.name), shown
    assert (metric_name("log_loss"), metric_name("roc_auc"), metric_name("own_metric")) == (
        "log loss",
        "AUC",
        "own_metric",
    )
    assert finding_name("kind_of_tomorrow") == "kind of tomorrow"


@pytest.mark.parametrize(
    ("value", "form", "unit", "shown"),
    [
        (None, "number", "", ""),
        ("text", "rate", "", "text"),
        (0.0, "number", "", "0"),
        (12.0, "number", "", "12"),
        (48389, "number", "", "48,389"),
        (1234.5, "number", "", "1,234"),
        (0.17381618, "number", "", "0.1738"),
        (-0.5, "number", "", "-0.5"),
        (float("nan"), "number", "", "NaN"),
        (float("inf"), "rate", "", "∞"),
        (0.2009, "rate", "", "20.1%"),
        (0.0, "rate", "", "0.0%"),
        (0.0002, "rate", "", "0.02%"),
        (-0.0149, "rate", "", "-1.5%"),
        (5400.0, "seconds", "", "90 minutes"),
        (7200.0, "seconds", "", "2 hours"),
        (3.14159, "target", "$ an hour", "3.142 $ an hour"),
        (3.14159, "target", "", "3.142"),
        (3.14159, "number", "$ an hour", "3.142"),
    ],
)
def test_a_number_is_as_precise_as_a_reader_can_use(value: Any, form: Any, unit: str, shown: str) -> None:
    assert number(value, form, unit) == shown


def test_sentences_get_display_names_and_configuration_keys_stay() -> None:
    said = "log_loss: no forecast; roc_auc 0.9, true_positive_rate difference by sex (log_loss)."
    assert (
        with_display_names(said) == "log loss: no forecast; AUC 0.9, true positive rate difference by sex (log loss)."
    )
    for kept in (
        "monitoring.metric_limits.log_loss",
        "'roc_auc'",
        "{log_loss: 0.3}",
        "my_log_loss",
        "log_loss.x",
        "--metric=roc_auc",
    ):
        assert with_display_names(kept) == kept


def finding(kind: Any, subject: str, value: float, **more: Any) -> Finding:
    return Finding(kind=kind, subject=subject, value=value, rows=2000, alarm=True, sentence=f"{subject} moved", **more)


def report(*findings: Finding) -> WindowReport:
    return WindowReport(
        model="wages", version="v1.0.0", window=1, first="t", last="t", first_seq=1, last_seq=2, rows=1, labelled=0,
        created="t", findings=findings, decision=Decision(action="alert", reason="log_loss rose", policy="line"),
    )  # fmt: skip


def cells(page: str, label: str) -> list[str]:
    return re.findall(rf'<td data-label="{label}"[^>]*>([^<]*)</td>', page)


def test_the_window_page_shows_names_units_and_formats() -> None:
    found = (
        finding("realized_performance", "mae", 3.14159, limit=4.0),
        finding("realized_performance", "log_loss", 0.17381618, reference=0.16),
        finding("estimated_performance", "accuracy", 0.91234),
        finding("estimated_fairness", "true_positive_rate difference by sex", 0.11451, limit=0.2),
        finding("selection_rate", "sex Female", 0.13932),
        finding("missingness", "age", 0.5),
        finding("feed", "predictions", 5 * 3600.0, limit=3600.0),
        finding("feed", "volume", 11520000.0),
    )
    page = window_page(report(*found), [], "Wages", None, "$ an hour")
    values = dict(zip(cells(page, "Finding"), cells(page, "Value"), strict=True))
    assert values == {
        "mae moved": "3.142 $ an hour",
        "log loss moved": "0.1738",
        "accuracy moved": "91.2%",
        "true positive rate difference by sex moved": "11.5%",
        "sex Female moved": "13.9%",
        "age moved": "50.0%",
        "predictions moved": "5 hours",
        "volume moved": "11,520,000",
    }
    assert {"missing values", "estimated fairness", "realized performance"} <= set(cells(page, "Kind"))
    assert "4 $ an hour" in cells(page, "Limit") and "60 minutes" in cells(page, "Limit")
    assert "1 prediction of v1.0.0" in page and "Log loss rose." in page
    markdown = window_markdown(report(*found), [])
    assert "| realized performance | log loss | log loss moved |" in markdown and "log_loss" not in markdown
    assert [finding_form(f) for f in found][:3] == ["target", "number", "rate"]


def measured(quantity: str, label: str, **numbers: Any) -> Measurement:
    return Measurement(label=label, quantity=quantity, rows=1, state="fail", **numbers)


def test_the_verdict_page_shows_names_units_and_formats() -> None:
    rows = (
        measured("selection_rate", "selection_rate of Female", value=0.12345, low=0.1, high=0.15),
        measured(
            "selection_rate difference", "selection rate difference by sex", value=0.05, low=0.01, high=0.09, limit=0.1
        ),
        measured("roc_auc", "roc_auc on holdout", value=0.91234, low=0.9, high=0.93, limit=0.85),
        measured("mae", "mae on holdout", value=3.14159, low=3.0, high=3.3, limit=3.5),
        measured("", "an old label", value=0.5),
    )
    gates = [
        GateResult(gate=f"g{i}", kind="floor", mandatory=True, state="fail", reason="r", measurements=(m,))
        for i, m in enumerate(rows)
    ]
    verdict = Verdict(
        model="wages",
        commit="a" * 40,
        champion=None,
        model_digest="sha256:b",
        created="t",
        passed=False,
        gates=tuple(gates),
    )
    page = verdict_page(verdict, "Wages", {}, "$ an hour")
    assert cells(page, "Value") == ["12.3%", "5.0%", "0.9123", "3.142 $ an hour", "0.5"]
    assert cells(page, "Interval")[2:4] == ["0.9 to 0.93", "3 $ an hour to 3.3 $ an hour"]
    assert "selection rate of Female <span" in page and "· 1 row<" in page and "AUC on holdout" in page
    assert "| 5.0% | 1.0% to 9.0% | 10.0% | 1 |" in verdict_markdown(verdict, {}, "", "$ an hour")
    assert metric_form("equalized_odds difference") == "rate" and metric_form("selection_rate ratio") == "number"


def test_pictures_that_the_log_keeps_are_read_in_the_form_of_today_and_of_yesterday() -> None:
    today = Pictures(
        plots=(
            Plot(
                title="t",
                kind="curve",
                x_label="age in years",
                y_label="score",
                series=({"name": "s", "points": ({"x": 1.0, "y": 2.0},)},),
            ),
        )
    )  # type: ignore[arg-type]
    text = today.model_dump_json()
    assert '"x_label":"age in years"' in text and Pictures.model_validate_json(text) == today
    yesterday = text.replace('"x_label"', '"across"').replace('"y_label"', '"up"')
    assert Pictures.model_validate_json(yesterday) == today
