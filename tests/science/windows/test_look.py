"""A whole look at a window, by a real model: quiet where nothing changed, planted changes named, and words where
nothing can be said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tasks.science.windows.alternatives import compare_versions
from tasks.science.windows.look import WindowResult, examine_window, judge_again
from tasks.science.windows.monitors import MONITORS, kinds
from tasks.science.windows.reference import load_reference, reference_document
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Decision, Finding, WindowReport
from tests.worlds import World, world


@pytest.fixture(scope="module")
def care() -> World:
    return world()


def look(care: World, window: pd.DataFrame, **more: object) -> WindowResult:
    return examine_window(care.config, care.reference, care.window_input(window, **more))  # type: ignore[arg-type]


def drawn(care: World, n: int, seed: int, change: Callable[[pd.DataFrame], pd.DataFrame] | None = None) -> pd.DataFrame:
    rng = np.random.default_rng([9, seed])
    rows = care.people(n, rng)
    return care.answered(rows if change is None else change(rows), rng)


def alarms(seen: WindowResult) -> set[tuple[str, str]]:
    return {(f.kind, f.subject) for f in seen.findings if f.alarm}


@pytest.mark.parametrize("rows", [200, 2000])
def test_no_change_is_quiet(care: World, rows: int) -> None:
    assert [alarms(look(care, drawn(care, rows, seed))) for seed in range(2)] == [set(), set()]


def test_every_monitor_says_something(care: World) -> None:
    seen = look(care, drawn(care, 500, 1))
    silent = set(kinds()) - {f.kind for f in seen.findings}
    # no rules and no keys here; the others only speak of what is there
    assert silent == {"expert_rule", "label_sources", "missingness", "new_category", "out_of_range"}
    assert seen.map is not None and seen.groups is not None and all(f.sentence for f in seen.findings)


def test_planted_changes_are_found_and_named(care: World) -> None:
    def change(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(income=rows["income"] + 15, site="new", mdeoff=np.nan, xage=rows["xage"] * 0.5 + 45)

    seen = look(care, drawn(care, 1000, 2, change))
    expected = {
        ("data_drift", "income"),
        ("missingness", "mdeoff"),
        ("prediction_drift", "score"),
        ("multivariate_drift", "classifier"),
    }
    assert expected <= alarms(seen)
    assert any(kind == "selection_rate" for kind, _ in alarms(seen))
    assert any(f.kind == "new_category" and f.subject == "site" for f in seen.findings)


def test_labels_that_follow_no_more_are_seen_once_they_come(care: World) -> None:
    rng = np.random.default_rng(3)
    rows = care.people(2000, rng)
    known = care.answered(rows, rng, truth=np.full(2000, 0.35))
    blind = known.assign(_label=np.nan)
    before = look(care, blind)
    assert not [f for f in before.findings if f.alarm]
    report = _report(before.findings)
    after = judge_again(care.config, care.reference, care.window_input(known, history=[report]), report)
    assert ("realized_performance", "log_loss") in alarms(after)
    of_labels = {kind.name for monitor in MONITORS if monitor.of_labels for kind in monitor.kinds}
    assert of_labels == {
        "realized_performance",
        "label_sources",
        "label_drift",
        "estimated_performance",
        "realized_fairness",
        "estimated_fairness",
        "protected_groups",
        "estimator",
        "forecast",
    }
    kept = [f for f in before.findings if f.kind not in of_labels]
    assert kept == [f for f in after.findings if f.kind not in of_labels], (
        "what needs no labels was said when the window was new"
    )


def _report(findings: tuple[Finding, ...]) -> WindowReport:
    return WindowReport(
        model="care",
        version="v1.0.0",
        window=1,
        first="t",
        last="t",
        first_seq=1,
        last_seq=2,
        rows=2000,
        labelled=0,
        created="t",
        findings=findings,
        decision=Decision(action="nothing", reason="", policy=""),
    )


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_window_too_small_says_so(care: World, rows: int) -> None:
    seen = look(care, drawn(care, rows, 4))
    assert "nothing is concluded" in seen.findings[-1].sentence and not alarms(seen)


@pytest.mark.parametrize(
    "damage", ["labels of one class", "no labels", "one score", "all missing", "column gone", "infinite", "clock"]
)
def test_what_cannot_be_judged_is_said_in_words(care: World, damage: str) -> None:
    window = drawn(care, 300, 5)
    inputs = [c.name for c in care.config.inputs]
    if damage == "labels of one class":
        window["_label"] = 1.0
    elif damage == "no labels":
        window["_label"] = np.nan
    elif damage == "one score":
        window["_score"] = 0.5
    elif damage == "all missing":
        window[inputs] = None
    elif damage == "column gone":
        window = window.drop(columns=["income", "female"])
    elif damage == "infinite":
        window["income"] = np.inf
    seen = look(care, window)
    assert all(f.sentence for f in seen.findings)
    if damage in ("all missing", "column gone"):
        assert ("missingness", "income") in alarms(seen)
    if damage in ("one score", "all missing", "infinite", "column gone"):
        assert alarms(seen), "a damage like this is never silent"
    else:
        assert any(f.value is None and not f.alarm for f in seen.findings)


def test_a_fitted_reference_is_kept_and_read_again(care: World) -> None:
    document = reference_document(care.reference)
    again = load_reference(document, care.reference.rows)
    window = drawn(care, 500, 6)
    first, second = (examine_window(care.config, r, care.window_input(window)) for r in (care.reference, again))
    assert first.findings == second.findings and first.map == second.map
    with pytest.raises(ConfigError, match="format 0, an older one"):
        load_reference(document | {"format": 0}, care.reference.rows)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_an_earlier_version_is_better_only_where_labels_prove_it(kind: str) -> None:
    rng = np.random.default_rng(0)
    n = 2000
    if kind == "binary":
        good = rng.beta(2, 2, n)
        label, poor = rng.random(n) < good, np.full(n, 0.5)
    elif kind == "multiclass":
        good = rng.dirichlet([1, 1, 1], n)
        label, poor = np.array([rng.choice(3, p=p) for p in good]), np.full((n, 3), 1 / 3)
    else:
        good = rng.normal(size=n)
        label, poor = good + 0.3 * rng.normal(size=n), np.zeros(n)
    better = compare_versions(kind, label, poor, good, "v1.0.0", 0.5, 0)  # type: ignore[arg-type]
    worse = compare_versions(kind, label, good, poor, "v1.0.0", 0.5, 0)  # type: ignore[arg-type]
    assert better is not None and worse is not None and better.better and not worse.better
    blind = compare_versions(kind, None, poor, good, "v1.0.0", 0.5, 0)  # type: ignore[arg-type]
    assert blind is None if kind != "binary" else blind is not None and not blind.better
