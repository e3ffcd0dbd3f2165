"""Drift on profiles: against scipy, planted changes by name, importance, windows and references with nothing in them,
and over time."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance
from statsmodels.stats.multitest import multipletests

from tasks.science.monitors.drift.distances import cells, divergence
from tasks.science.monitors.drift.findings import KINDS, drift_findings, window_p_values
from tasks.science.monitors.drift.multivariate import multivariate_findings
from tasks.science.monitors.drift.reference import (
    Null,
    fit_drift,
    fit_reference,
    load_drift_reference,
    played_divergence,
)
from tasks.science.monitors.profiles.profile import profile
from tasks.science.stats.multiplicity import level, levels, simes
from tasks.science.windows.monitors import levels as shares
from tasks.spec.errors import ConfigError
from tests.science.watched import config, rows

CARE = config()
ROWS = rows(CARE, 4000, 0)
REFERENCE = fit_reference(CARE, ROWS, 1)
ALPHA = shares(CARE)["data_drift"]
NUMBERS = {n.name: n for n in REFERENCE.layout.numbers}


def found(window: pd.DataFrame, importance: dict[str, float] | None = None) -> dict[tuple[str, str], object]:
    return {
        (f.kind, f.subject): f
        for f in drift_findings(CARE, REFERENCE, profile(REFERENCE.layout, window), importance or {}, ALPHA)
    }


def alarms(window: pd.DataFrame, importance: dict[str, float] | None = None) -> set[tuple[str, str]]:
    return {key for key, f in found(window, importance).items() if f.alarm}  # type: ignore[attr-defined]


@pytest.mark.parametrize("moved", [0.0, 3.0, 100.0])
@pytest.mark.parametrize("name", ["income", "xage", "num"])
def test_distances_are_those_of_scipy_on_the_rows(name: str, moved: float) -> None:
    window = rows(CARE, 3000, 1)
    window[name] = window[name] * (1 + moved / 50) + moved
    shift = REFERENCE.shift(NUMBERS[name], profile(REFERENCE.layout, window))
    assert shift.wasserstein == pytest.approx(
        wasserstein_distance(ROWS[name], window[name]), rel=0.02, abs=0.02 * ROWS[name].std()
    )
    exact = ks_2samp(ROWS[name], window[name]).statistic
    assert exact - 0.02 <= (shift.ks or 0.0) <= exact + 1e-12
    before, after = (cells(NUMBERS[name], p) for p in (REFERENCE.profile, profile(REFERENCE.layout, window)))
    assert divergence(before, after) ** 0.5 == pytest.approx(jensenshannon(before, after, base=2))


@pytest.mark.parametrize("size", [200, 2000, 20_000])
def test_no_change_is_quiet_at_every_window_size(size: int) -> None:
    assert sum(bool(alarms(rows(CARE, size, seed))) for seed in range(1, 9)) <= 1


def test_planted_changes_are_found_and_named() -> None:
    window = rows(CARE, 2000, 1)
    window["num"] += 8
    window["site"] = window["site"].where(np.arange(2000) % 5 > 0, "new place")
    window["mdeoff"] = np.nan
    window.loc[:299, "mhi"], window["_score"] = np.inf, window["_score"] ** 0.3
    told = found(window, dict.fromkeys(NUMBERS, 0.05) | {"site": 0.2})
    expected = {
        ("data_drift", "num"),
        ("data_drift", "site"),
        ("new_category", "site"),
        ("missingness", "mdeoff"),
        ("out_of_range", "mhi"),
        ("prediction_drift", "score"),
    }
    assert expected | {("selection_rate", "sex female")} <= {key for key, f in told.items() if f.alarm}  # type: ignore[attr-defined]
    assert "'new place' in 400 rows" in told["new_category", "site"].sentence  # type: ignore[attr-defined]
    assert "300 infinite" in told["out_of_range", "mhi"].sentence  # type: ignore[attr-defined]


def test_drift_that_hardly_touches_the_output_is_told_and_quiet() -> None:
    window = rows(CARE, 2000, 1)
    window["num"] += 20
    quiet = found(window, {"income": 0.995, "num": 0.005})["data_drift", "num"]
    assert not quiet.alarm and "too little of the output" in quiet.sentence and quiet.importance == 0.005  # type: ignore[attr-defined]
    assert ("data_drift", "num") in alarms(window, {"income": 0.5, "num": 0.5})


def test_a_small_shift_in_many_rows_is_no_alarm() -> None:
    """Evidently's issue 50: alarms that follow the sample size."""
    window = rows(CARE, 60_000, 1)
    window["num"] += 1.5
    assert window_p_values(CARE, REFERENCE, profile(REFERENCE.layout, window), {})["data_drift"] < 1e-6
    assert alarms(window) == set()


@pytest.mark.parametrize(("n", "told"), [(0, "the window has 0 rows and 100 are needed"), (1, "the window has 1 row")])
def test_a_window_too_small_says_so(n: int, told: str) -> None:
    (finding,) = drift_findings(CARE, REFERENCE, profile(REFERENCE.layout, ROWS.iloc[:n]), {}, ALPHA)
    assert finding.value is None and not finding.alarm and told in finding.sentence


def test_bad_columns_have_a_sentence_of_their_own() -> None:
    window = rows(CARE, 500, 2).drop(columns=["mhi"]).assign(num="text", site=np.nan, xage=np.nan)
    told = found(window)
    assert told["missingness", "mhi"].alarm and "the column is not in the window" in told["missingness", "mhi"].sentence  # type: ignore[attr-defined]
    assert "500 no number at all" in told["out_of_range", "num"].sentence and told["out_of_range", "num"].alarm  # type: ignore[attr-defined]
    assert {("missingness", "site"), ("missingness", "xage"), ("data_drift", "xage")} <= alarms(window)


@pytest.mark.parametrize(("value", "says"), [(np.nan, "hold no number"), (5.0, "is 5 in every row of both windows")])
def test_a_column_that_stays_empty_or_constant_is_said_to(value: float, says: str) -> None:
    fitted = fit_reference(CARE, ROWS.assign(num=value), 1)
    by = {
        layout: {
            f.subject: f
            for f in drift_findings(CARE, fitted, profile(fitted.layout, w), {}, ALPHA)
            if f.kind == "data_drift"
        }
        for layout, w in (("same", ROWS.assign(num=value)), ("moved", ROWS.assign(num=7.0)))
    }
    assert says in by["same"]["num"].sentence and by["same"]["num"].value == 0 and not by["same"]["num"].alarm
    assert by["moved"]["num"].alarm


def test_a_reference_of_another_schema_or_layout_is_refused_in_words() -> None:
    other = fit_reference(CARE, ROWS.drop(columns=["num"]), 1)
    sentences = [f.sentence for f in drift_findings(CARE, other, profile(other.layout, ROWS), {}, ALPHA)]
    assert any("num: the reference has no such column" in s for s in sentences)
    (finding,) = drift_findings(CARE, REFERENCE, profile(other.layout, ROWS), {}, ALPHA)
    assert "counted by another layout" in finding.sentence and finding.value is None
    fewer = CARE.model_copy(
        update={
            "data": CARE.data.model_copy(
                update={"columns": tuple(c for c in CARE.data.columns if c.name != CARE.inputs[0].name)}
            )
        }
    )
    (finding,) = drift_findings(fewer, REFERENCE, profile(REFERENCE.layout, ROWS), {}, ALPHA)
    assert "another schema" in finding.sentence and CARE.inputs[0].name in finding.sentence
    empty = fit_reference(CARE, ROWS.iloc[:0], 1)
    (finding,) = drift_findings(CARE, empty, profile(empty.layout, ROWS), {}, ALPHA)
    assert "the reference window has no rows" in finding.sentence
    with pytest.raises(ConfigError, match="the layout is of care"):
        fit_drift(CARE.model_copy(update={"name": "other"}), ROWS, REFERENCE.layout, 1)


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_other_kinds_of_models_are_watched_too(kind: str) -> None:
    made = config(kind)
    fitted = fit_reference(made, rows(made, 3000, 0), 1)
    window = rows(made, 2000, 1)
    calm = drift_findings(made, fitted, profile(fitted.layout, window), {}, ALPHA)
    assert not any(f.alarm for f in calm) and all(f.sentence for f in calm)
    assert {f.kind for f in calm} >= {"prediction_drift", "selection_rate", "data_drift"}
    scores = [c for c in window if str(c).startswith("_score")]
    moved = window.assign(
        **{
            c: window[c].to_numpy() ** 0.5 * 2 if kind == "regression" else 0.02 + 0.94 * (c == "_score:low")
            for c in scores
        }
    )
    assert any(
        f.alarm and f.kind == "prediction_drift"
        for f in drift_findings(made, fitted, profile(fitted.layout, moved), {}, ALPHA)
    )


def test_the_reference_comes_back_from_its_document() -> None:
    document = json.loads(json.dumps(REFERENCE.document(), allow_nan=False))
    back, window = load_drift_reference(document), profile(REFERENCE.layout, rows(CARE, 700, 3))
    assert drift_findings(CARE, back, window, {}, ALPHA) == drift_findings(CARE, REFERENCE, window, {}, ALPHA)
    with pytest.raises(ConfigError, match="format 9, a newer one"):
        load_drift_reference({**document, "format": 9})
    with pytest.raises(ConfigError, match="format 1, an older one"):
        load_drift_reference({**document, "format": 1})
    with pytest.raises(ConfigError, match="no drift reference"):
        load_drift_reference({"format": document["format"]})


@pytest.mark.parametrize("rows", [150, 700, 4000])
def test_what_is_expected_between_the_played_sizes_is_what_is_seen_there(rows: int) -> None:
    """A long tail of categories, where the expected divergence bends most: as far off as so few plays may be."""
    shares = 1 / np.arange(1, 61) ** 1.3
    counts, rng = np.round(5000 * shares / shares.sum()).astype(int), np.random.default_rng(0)
    mean, deviation = played_divergence(counts, rng)
    null, unit = Null(mean=mean, deviation=deviation), 1 / counts.sum() + 1 / rows
    seen = divergence(*(rng.multinomial(n, counts / counts.sum(), size=4000) for n in (counts.sum(), rows)))
    assert abs(null.sampling(unit, rows) - seen.mean()) < 0.3 * seen.std()
    rejected = np.mean([null.divergence_p(float(value), unit, rows) <= 0.05 for value in seen])
    assert 0.03 < rejected < 0.08


def test_two_tests_of_a_number_count_as_one_where_they_agree_and_as_two_where_they_do_not() -> None:
    agree, independent = (Null(mean=(), deviation=(), together=power) for power in (1.0, 2.0))
    assert agree.either_p(0.03) == pytest.approx(0.03) and independent.either_p(0.03) == pytest.approx(1 - 0.97**2)
    assert agree.either_p(1.0) == independent.either_p(1.0) == 1.0 and agree.either_p(0.0) == 0.0


def test_levels_over_time_never_exceed_the_configured_one_and_are_earned_back() -> None:
    assert level(0.001, []) == 0.001
    quiet = level(0.001, [0.5] * 200)
    assert 0 < quiet < 0.001 and level(0.001, [*[0.5] * 200, 1e-12]) > 10 * quiet
    found = levels(dict.fromkeys(KINDS, 0.001), [{"data_drift": 1e-9}, {}])
    assert found["data_drift"] > found["missingness"] and max(found.values()) <= 0.001
    assert simes([]) == 1.0 and simes([0.01, 0.02, 0.9]) == pytest.approx(
        min(multipletests([0.01, 0.02, 0.9], method="fdr_bh")[1])
    )


def test_columns_that_come_to_move_together_are_seen_and_calm_ones_are_not() -> None:
    window = rows(CARE, 2000, 5)
    calm = multivariate_findings(CARE, ROWS, window, ALPHA, 0)
    assert [f.subject for f in calm] == ["classifier", "reconstruction"] and not any(f.alarm for f in calm)
    window["num"] = 50 + (window["mhi"] - 50) * 0.9 + (window["num"] - 50) * 0.4
    classifier, _ = multivariate_findings(CARE, ROWS, window, ALPHA, 0)
    assert classifier.alarm and "num" in classifier.sentence and "mhi" in classifier.sentence
    assert classifier == multivariate_findings(CARE, ROWS, window, ALPHA, 0)[0]


@pytest.mark.parametrize(
    ("window", "told"),
    [
        (ROWS.iloc[:0], "the window has 0 rows"),
        (ROWS.iloc[:1], "the window has 1 row"),
        (ROWS[["num"]].iloc[:500], "features vary"),
        (ROWS.assign(**{c.name: np.nan for c in CARE.inputs}), ""),
        (ROWS.assign(num=np.inf), ""),
    ],
)
def test_nothing_to_compare_together_is_said(window: pd.DataFrame, told: str) -> None:
    both = multivariate_findings(CARE, ROWS, window, ALPHA, 0)
    assert len(both) == 2 and all(f.sentence for f in both)
    assert all(
        (f.value is None and not f.alarm and told in f.sentence) if told else np.isfinite(f.value or 0.0) for f in both
    )
