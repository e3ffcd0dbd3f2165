"""Drift, estimation, findings and decisions: false alarms, planted changes, and the policy line by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tasks.science.alternatives import compare_versions
from tasks.science.drift import shift
from tasks.science.estimation import calibrated, estimate
from tasks.science.monitoring import examine_window
from tasks.spec.model import ModelConfig, load_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model(ROOT, "care")


def rows(config: ModelConfig, n: int, seed: int) -> pd.DataFrame:
    """Rows of the right columns with a score that is calibrated by construction."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {c.name: rng.choice(["0", "1"], n) if c.type == "category" else rng.normal(50, 10, n).clip(0, 100) for c in config.inputs}
    )
    frame["black"] = rng.integers(0, 2, n).astype(float)
    frame["_score"] = rng.beta(2, 2, n)
    frame["_label"] = (rng.random(n) < frame["_score"]).astype(float)
    return frame


@pytest.mark.parametrize("size", [200, 2000, 20000])
def test_no_change_is_quiet_at_every_window_size(config: ModelConfig, size: int) -> None:
    reference = rows(config, 5000, 0)
    alarms = 0
    for seed in range(1, 13):
        findings = examine_window(config, reference, rows(config, size, seed), {}, seed)
        alarms += any(f.alarm for f in findings)
    assert alarms <= 1


def test_planted_changes_are_found_and_named(config: ModelConfig) -> None:
    reference, window = rows(config, 5000, 0), rows(config, 2000, 1)
    window["income"] += 15
    window["site"] = "new"
    window["mdeoff"] = np.nan
    window["_score"] = window["_score"] ** 0.3
    found = {(f.kind, f.subject) for f in examine_window(config, reference, window, {"income": 0.3}, 0) if f.alarm}
    expected = {("data_drift", "income"), ("data_drift", "site"), ("missingness", "mdeoff"), ("prediction_drift", "score")}
    assert expected <= found
    assert any(kind == "selection_rate" for kind, _ in found)


@pytest.mark.parametrize("name", ["empty", "one row"])
def test_a_window_too_small_says_so(config: ModelConfig, name: str) -> None:
    window = rows(config, 5, 0).head(0 if name == "empty" else 1)
    (finding,) = examine_window(config, rows(config, 500, 1), window, {}, 0)
    assert finding.value is None and "nothing is concluded" in finding.sentence


def test_labels_of_one_class_are_not_judged(config: ModelConfig) -> None:
    window = rows(config, 500, 0).assign(_label=1.0)
    realized = [f for f in examine_window(config, rows(config, 2000, 1), window, {}, 0) if f.kind == "realized_performance"]
    assert [f.value for f in realized] == [None] and "one class only" in realized[0].sentence


def test_a_constant_column_that_stays_is_no_drift() -> None:
    assert shift(pd.Series([1.0] * 300), pd.Series([1.0] * 200), "c").p_value == 1.0


def test_estimates_agree_with_what_labels_say_when_scores_are_calibrated(config: ModelConfig) -> None:
    frame = rows(config, 200_000, 3)
    score, label = frame["_score"].to_numpy(), frame["_label"].to_numpy()
    assert estimate("log_loss", score, score, 0.5) == pytest.approx(log_loss(label, score), abs=0.005)
    assert estimate("roc_auc", score, score, 0.5) == pytest.approx(roc_auc_score(label, score), abs=0.005)
    assert calibrated(score, label, score) == pytest.approx(score, abs=0.02)


def test_an_earlier_version_is_better_only_where_labels_prove_it() -> None:
    rng = np.random.default_rng(0)
    good = rng.beta(2, 2, 2000)
    label = rng.random(2000) < good
    assert compare_versions(label, np.full(2000, 0.5), good, "v1.0.0", 0.5, 0).better
    assert not compare_versions(label, good, np.full(2000, 0.5), "v1.0.0", 0.5, 0).better
    assert not compare_versions(None, np.full(2000, 0.5), good, "v1.0.0", 0.5, 0).better


def test_a_broken_input_does_not_make_the_estimate_reassuring(config: ModelConfig) -> None:
    """Scores that a broken input made sure of themselves look good to an estimate; its sentence must say so."""
    window = rows(config, 1000, 1).assign(income=0.0, _label=np.nan)
    window["_score"] = 0.02
    findings = examine_window(config, rows(config, 5000, 0), window, {"income": 0.3}, 0)
    (estimated,) = [f for f in findings if f.kind == "estimated_performance"]
    assert not estimated.alarm and "wrong if that input is broken" in estimated.sentence and "income" in estimated.sentence


def test_rows_outside_the_reference_give_a_marked_estimate(config: ModelConfig) -> None:
    window = rows(config, 500, 1).assign(site="new", _label=np.nan)
    findings = examine_window(config, rows(config, 2000, 0), window, {"site": 0.2}, 0)
    (estimated,) = [f for f in findings if f.kind == "estimated_performance"]
    assert estimated.value is not None and "outside the reference's support" in estimated.sentence


def test_an_estimate_says_on_what_it_rests(config: ModelConfig) -> None:
    findings = examine_window(config, rows(config, 2000, 0), rows(config, 500, 1).assign(_label=np.nan), {}, 0)
    (estimated,) = [f for f in findings if f.kind == "estimated_performance"]
    assert "where the label follows from the inputs as it did in the reference" in estimated.sentence
    assert estimated.low < estimated.value < estimated.high


def test_alpha_is_shared_among_the_groups(config: ModelConfig) -> None:
    """Groups of 40 whose rate is as it was: one of seven is beyond the tolerated change often, and hardly ever an alarm."""
    rng, beyond, alarms = np.random.default_rng(0), 0, 0
    reference = rows(config, 5000, 0).assign(xage=30.0)
    for seed in range(60):
        window = rows(config, 200, seed + 1).assign(xage=rng.choice([10.0, 30.0, 60.0], 200), _score=rng.beta(2, 8, 200))
        reference["xage"], reference["_score"] = rng.choice([10.0, 30.0, 60.0], 5000), rng.beta(2, 8, 5000)
        found = [f for f in examine_window(config, reference, window.assign(_label=np.nan), {}, 0) if f.kind == "selection_rate"]
        alarms += any(f.alarm for f in found)
        beyond += any(f.value is not None and not 1 / 1.3 < (f.value + 0.01) / (f.reference + 0.01) < 1.3 for f in found)
    assert beyond > 30 and alarms <= 1


@pytest.mark.parametrize("damage", ["no reference rows", "reference without labels", "reference of one class", "one score", "all missing", "column gone"])
def test_what_cannot_be_judged_is_said_in_words(config: ModelConfig, damage: str) -> None:
    reference, window = rows(config, 1000, 0), rows(config, 300, 1)
    if damage == "no reference rows":
        reference = reference.head(0)
    elif damage == "reference without labels":
        reference["_label"] = np.nan
    elif damage == "reference of one class":
        reference["_label"] = 1.0
    elif damage == "one score":
        reference["_score"] = window["_score"] = 0.5
    elif damage == "all missing":
        window[[c.name for c in config.inputs]] = None
    else:
        window = window.drop(columns=["income", "female"])
    findings = examine_window(config, reference, window, {}, 0)
    assert findings and all(f.sentence for f in findings)
    if damage in ("all missing", "column gone"):
        assert ("missingness", "income") in {(f.kind, f.subject) for f in findings if f.alarm}
    else:
        assert any(f.value is None and not f.alarm for f in findings)


def test_a_small_or_new_group_is_reported_and_never_alarmed(config: ModelConfig) -> None:
    reference, window = rows(config, 2000, 0), rows(config, 500, 1)
    reference["xage"], window["xage"] = 30.0, np.where(np.arange(500) < 400, 30.0, 60.0)
    window["_score"] = np.where(window["xage"] > 40, 0.99, window["_score"])
    found = {f.subject: f for f in examine_window(config, reference, window, {}, 0) if f.kind == "selection_rate"}
    assert found["age_band 40 to 121"].value is None and not found["age_band 40 to 121"].alarm
    assert "0 in the reference" in found["age_band 40 to 121"].sentence
