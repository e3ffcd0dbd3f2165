"""What labels show of a window: metrics of one class, outcomes that drift, fairness by labels, and groups that stay
away."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, recall_score

from tasks.science.data.protected import protected_groups
from tasks.science.monitors.performance.findings import outranked
from tasks.science.monitors.performance.label_drift import label_findings
from tasks.science.monitors.performance.presence import presence_findings
from tasks.science.monitors.performance.realized_fairness import fairness_looks, realized_fairness
from tasks.science.stats.disparity import Sample, limit_p_value
from tasks.science.windows.look import WindowResult, examine_window
from tasks.spec.evidence import Finding
from tasks.spec.gates import FairnessGate
from tests.worlds import World, world


@pytest.fixture(scope="module")
def care() -> World:
    return world()


def drawn(care: World, n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng([31, seed])
    return care.answered(care.people(n, rng), rng)


def look(care: World, window: pd.DataFrame, **monitoring: object) -> WindowResult:
    config = care.config
    if monitoring:
        config = config.model_copy(update={"monitoring": config.monitoring.model_copy(update=monitoring)})
    return examine_window(config, care.reference, care.window_input(window))


def finding(seen: WindowResult, kind: str, subject: str) -> Finding:
    return next(f for f in seen.findings if (f.kind, f.subject) == (kind, subject))


def test_a_window_whose_outcomes_are_all_positive_is_measured_and_told(care: World) -> None:
    window = drawn(care, 300, 1).assign(_label=1.0)
    seen = look(care, window)
    loss = finding(seen, "realized_performance", "log_loss")
    assert loss.value == pytest.approx(log_loss(np.ones(300), window["_score"], labels=[0, 1])) and loss.alarm
    drift = finding(seen, "label_drift", "outcomes")
    assert drift.alarm and drift.value == 1.0
    assert drift.sentence.startswith("outcomes are 'at least one visit' in 100.0% of 300 labelled rows, ")
    area = finding(look(care, window, metrics={"roc_auc": 0.1}), "realized_performance", "roc_auc")
    assert area.value is None and area.alarm
    assert area.sentence == (
        "roc_auc is not computed: the 300 labelled rows of the window hold one class only, or all but one row"
    )
    few = drawn(care, 300, 1)
    few["_label"] = np.where(np.arange(300) < 3, few["_label"], np.nan)
    assert not [f for f in look(care, few).findings if f.kind in ("label_drift", "realized_fairness")]


def test_outcomes_as_in_the_reference_raise_hardly_an_alarm(care: World) -> None:
    """At a level of 5 % for each kind, in 60 windows: eight or fewer of each (binomial, 1 %)."""
    config, then = care.config, care.reference.rows
    before, alarms = protected_groups(config, then), dict.fromkeys(("labels", "fairness", "groups"), 0)
    for seed in range(100, 160):
        window = drawn(care, 500, seed)
        groups = protected_groups(config, window)
        alarms["labels"] += any(f.alarm for f in label_findings(config, then, window, 0.05))
        alarms["fairness"] += any(f.alarm for f in realized_fairness(config, window, 0.05, 0))
        alarms["groups"] += any(f.alarm for f in presence_findings(config, before, groups, set(), 0.05))
    assert max(alarms.values()) <= 8, alarms


def test_a_model_that_stops_serving_a_group_is_found_by_labels(care: World) -> None:
    window = drawn(care, 2000, 2)
    women = (window["female"] == "1").to_numpy()
    window.loc[women, "_score"] *= 0.01
    rates = [
        recall_score(window["_label"][g] > 0.5, window["_score"][g] >= care.config.threshold) for g in (women, ~women)
    ]
    assert rates[0] == 0
    found = finding(look(care, window), "realized_fairness", "true_positive_rate difference by sex")
    assert found.alarm and found.value == pytest.approx(rates[1] - rates[0]) and found.limit == 0.15
    assert "by labels; at most 0.15 is asked: female 0.000 (" in found.sentence
    unlimited = finding(look(care, window), "realized_fairness", "precision difference by race")
    assert unlimited.limit is None and not unlimited.alarm and unlimited.value is not None


def test_what_labels_show_outranks_what_was_estimated(care: World) -> None:
    window = drawn(care, 1500, 3)
    middle = (window["_score"] - 0.5).abs() < 0.25
    unsure = window[middle].reset_index(drop=True)  # nothing but people about whom the model is unsure
    blind = finding(look(care, unsure.assign(_label=np.nan)), "estimated_performance", "log_loss")
    assert blind.alarm
    known = unsure.assign(_label=(unsure["_score"] >= 0.5).astype(float))
    seen = look(care, known, label_share=0.5)
    assert not finding(seen, "realized_performance", "log_loss").alarm
    assert not finding(seen, "estimated_performance", "log_loss").alarm


def test_labels_of_large_groups_do_not_silence_the_alarm_about_a_small_one(care: World) -> None:
    window = drawn(care, 2000, 6)
    window.loc[window["xage"] < 18, "_label"] = 0.0  # so that the youngest have no positives to be judged by
    subject = "true_positive_rate difference by age_band"
    shown = finding(look(care, window), "realized_fairness", subject)
    assert shown.value is not None and "; not judged, with under 30 positives: 0 to 18" in shown.sentence
    guess = Finding(kind="estimated_fairness", subject=subject, value=0.5, rows=9, alarm=True, sentence="guessed")
    assert outranked([guess], [shown])[0].alarm
    whole = shown.model_copy(update={"sentence": "all groups"})
    assert not outranked([guess], [whole])[0].alarm


def test_of_several_gates_the_strictest_limit_holds(care: World) -> None:
    asked = {"kind": "fairness", "attribute": "race", "measure": "precision", "statistic": "ratio", "limit": 0.8}
    strict = FairnessGate.model_validate({"name": "strict", **asked})
    loose = strict.model_copy(update={"name": "loose", "limit": 0.1, "mandatory": False})
    for gates in ((strict, loose), (loose, strict)):
        looks = fairness_looks(care.config.model_copy(update={"gates": gates}))
        assert [each.limit for each in looks if each.limit is not None] == [0.8]


def test_groups_that_stay_away_are_told_whatever_the_model_makes_of_them(care: World) -> None:
    window = drawn(care, 500, 4)
    found = finding(look(care, window.assign(female="0")), "protected_groups", "sex")
    assert found.alarm and found.sentence.startswith("no row is in female of sex any more; ")
    found = finding(look(care, window.assign(female=None)), "protected_groups", "sex")
    assert found.alarm
    assert found.sentence == "female does not come any more, so fairness by sex cannot be watched"
    rare = window.assign(female=np.where(np.arange(500) < 5, "1", None))  # a column that hardly anybody gives
    groups = protected_groups(care.config, rare), protected_groups(care.config, rare.iloc[5:])
    assert not any(f.alarm for f in presence_findings(care.config, *groups, {"female"}, 0.01 / 64))
    nobody = [part.assign(sex=None) for part in groups]
    (_, found, _) = presence_findings(care.config, nobody[0], nobody[1], {"female"}, 0.01 / 64)
    assert found.value is None and not found.alarm
    collapsed = window.assign(female=np.where(np.arange(500) < 20, "1", "0"))
    found = finding(look(care, collapsed), "protected_groups", "sex")
    assert found.alarm and "female of sex is 4.0% of 500 rows" in found.sentence


@pytest.mark.parametrize(("rates", "statistic", "limit"), [((0.5, 0.7), "difference", 0.2), ((0.4, 0.8), "ratio", 0.5)])
def test_a_truth_at_the_limit_refutes_it_no_more_often_than_asked(
    rates: tuple[float, float], statistic: str, limit: float
) -> None:
    """At 5 % in 400 samples, where 2 standard errors are 2.2 points; and a clear breach refutes it at 0.01 %."""
    rng, rows = np.random.default_rng(8), np.array([[300.0, 250.0]])
    refuted = 0
    for _ in range(400):
        seen = rng.binomial(rows.astype(int), np.array([rates])) / rows
        refuted += limit_p_value(Sample(seen, rows), statistic, limit, 1, 0.05) <= 0.05
    assert refuted <= 29
    clear = Sample(np.array([[0.2, 0.8]]), rows)
    assert limit_p_value(clear, statistic, limit, 1, 1e-4) <= 1e-4
