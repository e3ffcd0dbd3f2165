"""Fairness against fairlearn to the last digit, by simulation, and on bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics as fairlearn
from sklearn.metrics import accuracy_score, precision_score
from statsmodels.stats.proportion import proportion_confint

from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.science.stats import group_counts as fairness
from tasks.science.stats.disparity import Sample, disparity, disparity_interval, group_intervals
from tasks.spec.base import validate
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult
from tasks.spec.gates import FairnessGate
from tests.statistics import fairness as simulated

PEERS = {
    "selection_rate": fairlearn.selection_rate,
    "true_positive_rate": fairlearn.true_positive_rate,
    "false_positive_rate": fairlearn.false_positive_rate,
    "false_negative_rate": fairlearn.false_negative_rate,
    "precision": precision_score,
    "accuracy": accuracy_score,
}
DERIVED = {
    "demographic_parity": "selection_rate",
    "equal_opportunity": "true_positive_rate",
    "equalized_odds": "equalized_odds",
}
"""Fairlearn's names for the disparity of a gate's measure."""
NOISE = 3.0
"""Standard errors that a simulated share may be off."""


def data(seed: int, n: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], n), "race": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])})
    label = rng.random(n) < rng.uniform(0.2, 0.6)
    score = np.clip(rng.normal(0.3 + 0.2 * label + 0.1 * (groups["sex"] == "m"), 0.25), 0, 1)
    return label, score >= 0.5, score, groups


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("look", [("sex",), ("race",), ("race", "sex")], ids="-".join)
def test_rates_differences_and_ratios_are_fairlearns_to_the_last_digit(look: tuple[str, ...], seed: int) -> None:
    label, decision, _, groups = data(seed)
    found = fairness.count_groups(label, decision, groups).groups(*look)
    common = {"y_true": label, "y_pred": decision, "sensitive_features": groups[list(look)]}
    frame = fairlearn.MetricFrame(metrics=PEERS, **common)
    for measure in PEERS:
        sample = found.sample(measure)
        assert sample.values[0].tolist() == frame.by_group[measure].tolist()
        assert disparity(sample.values, "difference") == frame.difference()[measure]
        assert disparity(sample.values, "ratio") == frame.ratio()[measure]
    for name, measure in DERIVED.items():
        for statistic in ("difference", "ratio"):
            assert disparity(found.sample(measure).values, statistic) == getattr(fairlearn, f"{name}_{statistic}")(
                **common
            ), name
    assert [" and ".join([key] if isinstance(key, str) else key) for key in frame.by_group.index] == list(found.names)


def test_calibration_is_mean_score_minus_observed_rate() -> None:
    label, decision, score, groups = data(4)
    sample = fairness.count_groups(label, decision, groups, score).groups("race").sample("calibration")
    gap = pd.Series(score - label).groupby(groups["race"]).agg(["mean", "std", "size"])
    assert sample.values[0] == pytest.approx(gap["mean"], abs=1e-12)
    assert sample.spread is not None and sample.spread[0] == pytest.approx(gap["std"], rel=1e-9)
    assert sample.rows[0].tolist() == gap["size"].tolist()


def test_missing_attributes_and_categories_count_for_the_others() -> None:
    label, decision, _, groups = data(5)
    groups.loc[:9, "sex"] = None
    cube = fairness.count_groups(label, decision, groups)
    assert (cube.groups("sex").missing, cube.groups("race").missing, cube.groups("race", "sex").missing) == (10, 0, 10)
    assert cube.groups("race").rows.sum() == len(label) and cube.groups("sex", "race").rows.sum() == len(label) - 10
    same = fairness.count_groups(label, decision, groups.astype("category"))
    assert np.array_equal(same.table, cube.table)


def test_a_group_without_positives_has_no_rate_where_fairlearn_says_0() -> None:
    found = fairness.count_groups(
        np.array([1, 1, 0, 0]), np.array([1, 0, 1, 1]), pd.DataFrame({"g": ["a", "a", "b", "b"]})
    ).groups("g")
    assert np.isnan(found.sample("true_positive_rate").values[0, 1])
    assert np.isnan(disparity(found.sample("true_positive_rate").values, "difference"))


def test_group_intervals_are_wilsons_with_sidaks_correction() -> None:
    sample = Sample(np.array([[0.25, 0.0, 1.0]]), np.array([[40, 50, 60]]))
    low, high = group_intervals(sample, 0.95)
    for g, (k, n) in enumerate([(10, 40), (0, 50), (60, 60)]):
        assert (low[0, g], high[0, g]) == pytest.approx(
            proportion_confint(k, n, alpha=1 - 0.95 ** (1 / 3), method="wilson"), abs=1e-12
        )


@pytest.mark.parametrize("statistic", ["difference", "ratio"])
@pytest.mark.parametrize("counts", [(0, 0), (0, 9), (50, 50), (1, 50), (25, 25), (12, 30)], ids=str)
def test_the_interval_always_holds_the_estimate_and_has_a_width(counts: tuple[int, int], statistic: str) -> None:
    sample = Sample(np.array([[*counts, 20]]) / 50, np.full((1, 3), 50))
    low, high = disparity_interval(sample, statistic, 0.95, 1)
    assert 0 <= low <= disparity(sample.values, statistic) <= high <= 1 and low < high
    assert (low, high) == disparity_interval(sample, statistic, 0.95, 1)


@pytest.mark.parametrize("case", simulated.CASES, ids=lambda c: c.name)
def test_intervals_hold_the_truth_about_as_often_as_stated(case: simulated.Case) -> None:
    [row] = simulated.coverage(case, "difference", 1000, 120, seed=11, replicates=400)
    assert row["was"] >= 0.95 - NOISE * np.sqrt(0.95 * 0.05 / row["runs"]), row


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_the_interval_for_calibration_holds_about_as_often_as_stated(shift: float) -> None:
    rng, held, runs = np.random.default_rng(12), 0, 150
    groups = pd.DataFrame({"g": np.repeat(["a", "b", "c"], [300, 150, 80])})
    for seed in range(runs):
        score = rng.uniform(0.1, 0.8, len(groups))
        label = rng.random(len(groups)) < score + shift * (groups["g"] == "c")
        sample = fairness.count_groups(label, score >= 0.5, groups, score).groups("g").sample("calibration")
        low, high = disparity_interval(sample, "difference", 0.95, seed, 400)
        held += low <= shift + 1e-12 and high >= shift
    assert abs(held / runs - 0.95) <= NOISE * np.sqrt(0.95 * 0.05 / runs)


def test_a_planted_intersection_is_found_and_equal_ones_do_not_fail() -> None:
    found, open_ = simulated.planted("selection_rate", 0.25, 100, 40, seed=1)
    assert found["was"] >= 0.9 and open_["was"] == 1
    unbiased = simulated.planted("equalized_odds", 0.0, 100, 60, seed=2)[0]
    assert unbiased["was"] <= 0.05 + NOISE * np.sqrt(0.05 * 0.95 / 60), unbiased


def gate(**changes: Any) -> FairnessGate:
    values = {
        "name": "fair",
        "kind": "fairness",
        "attribute": "sex",
        "measure": "selection_rate",
        "statistic": "difference",
        "limit": 0.2,
    }
    return FairnessGate(**{k: v for k, v in (values | changes).items() if v is not None})


def judged(config: FairnessGate, label: np.ndarray, score: np.ndarray, groups: pd.DataFrame) -> GateResult:
    nothing: Any = None
    whole = np.full(len(label), "holdout")
    return run_gate(
        config, Examination(groups, label, score, None, whole, groups, pd.DataFrame(), nothing, (), 0.5, 1, None, None)
    )


@pytest.mark.parametrize(
    "measure",
    [
        "selection_rate",
        "true_positive_rate",
        "false_positive_rate",
        "precision",
        "accuracy",
        "equalized_odds",
        "calibration",
    ],
)
def test_every_measure_passes_fails_or_waits_by_its_interval(measure: str) -> None:
    label, _, score, groups = data(6)
    told = judged(gate(measure=measure, limit=0.9), label, score, groups)
    assert told.state == "pass" and told.measurements[0].low is not None
    value = told.measurements[0].value
    assert (
        value is not None
        and judged(gate(measure=measure, limit=value + 1e-4), label, score, groups).state == "insufficient_evidence"
    )
    score[groups["sex"] == "m"] = 1 - score[groups["sex"] == "m"]
    if measure == "calibration":
        score[groups["sex"] == "m"] = 1.0
    unfair = judged(gate(measure=measure, limit=0.02), label, score, groups)
    assert (
        unfair.state == "fail"
        and "furthest apart are" in unfair.reason
        and "f 0." in unfair.reason + "f 0." * (measure == "calibration")
    )


def test_the_reason_names_the_two_groups_and_the_rows_that_would_do() -> None:
    rng = np.random.default_rng(0)
    groups = pd.DataFrame({"sex": np.repeat(["f", "m"], [100, 1000])})
    score = np.where(rng.permutation(np.arange(1100)) < 500, 0.9, 0.1)
    score[:100] = np.where(np.arange(100) < 30, 0.9, 0.1)
    score[100:] = np.where(np.arange(1000) < 400, 0.9, 0.1)
    told = judged(gate(limit=0.15), rng.random(1100) < 0.5, score, groups)
    assert told.state == "insufficient_evidence"
    assert "furthest apart are f 0.300 of 100 rows and m 0.400 of 1,000 rows" in told.reason
    assert "more rows of f would decide" in told.remedy


def test_intersections_find_what_each_attribute_hides() -> None:
    groups = pd.DataFrame({"sex": np.repeat(["f", "m"], 1000), "race": np.tile(np.repeat(["a", "b"], 500), 2)})
    score = np.where((groups["sex"] == "f") == (groups["race"] == "a"), 0.9, 0.1)
    score[::5] = 0.5
    label = np.arange(2000) % 2 == 0
    assert judged(gate(limit=0.1), label, score, groups).state == "pass"
    both = judged(gate(attribute=None, attributes=("race", "sex"), limit=0.1), label, score, groups)
    assert both.state == "fail" and [m.label for m in both.measurements[1:]] == [
        f"selection_rate of {r} and {s}" for r in "ab" for s in "fm"
    ]


@pytest.mark.parametrize(("size", "state"), [(20, "pass"), (28, "insufficient_evidence")])
def test_small_intersections_are_listed_and_block_only_where_they_hold_many_rows(size: int, state: str) -> None:
    groups = pd.DataFrame({"sex": np.arange(500) % 2, "race": np.where(np.arange(500) < size, "b", "a")})
    score = np.where(np.random.default_rng(3).random(500) < 0.5, 0.9, 0.1)
    told = judged(gate(attribute=None, attributes=("race", "sex"), limit=0.4), score > 0.5, score, groups)
    assert told.state == state and f"b and 0 ({size // 2}; {30 - size // 2} more would do)" in told.reason
    assert judged(gate(attribute="race", limit=0.4), score > 0.5, score, groups).state == "insufficient_evidence"


def spoilt(**changes: Any) -> dict[str, Any]:
    label, _, score, groups = data(7)
    return {"label": label, "score": score, "groups": groups} | changes


SEXES = data(7)[3]["sex"]


@pytest.mark.parametrize(
    ("changes", "measure", "statistic", "state", "says"),
    [
        (
            {"groups": pd.DataFrame({"sex": SEXES.where(np.arange(3000) >= 300)})},
            "accuracy",
            "difference",
            "insufficient_evidence",
            "300 of 3,000 rows (10.0%) have no sex",
        ),
        (
            {"groups": pd.DataFrame({"sex": SEXES.where(np.arange(3000) >= 30)})},
            "accuracy",
            "difference",
            "pass",
            "30 rows (1.0%) without sex are left out",
        ),
        (
            {"groups": pd.DataFrame({"sex": ["one"] + ["m"] * 2999})},
            "selection_rate",
            "difference",
            "insufficient_evidence",
            "one (1; 29 more would do)",
        ),
        (
            {"groups": pd.DataFrame({"sex": ["m"] * 3000})},
            "selection_rate",
            "difference",
            "fail",
            "sex has 1 group in the holdout",
        ),
        ({"groups": pd.DataFrame({"sex": [None] * 3000})}, "selection_rate", "difference", "fail", "sex has 0 group"),
        (
            {"score": np.full(3000, 0.1)},
            "selection_rate",
            "difference",
            "insufficient_evidence",
            "selects none of 3,000 rows",
        ),
        (
            {"score": np.full(3000, 0.9)},
            "true_positive_rate",
            "ratio",
            "insufficient_evidence",
            "selects all of 3,000 rows",
        ),
        (
            {"label": np.ones(3000, bool)},
            "equalized_odds",
            "difference",
            "insufficient_evidence",
            "all 3,000 labels are positive",
        ),
        (
            {"label": np.zeros(3000, bool)},
            "accuracy",
            "difference",
            "insufficient_evidence",
            "all 3,000 labels are negative",
        ),
        ({"score": np.full(3000, np.nan)}, "selection_rate", "difference", "fail", "scores are NaN or outside 0 to 1"),
        ({"label": np.arange(3000) < 40}, "precision", "ratio", "insufficient_evidence", ""),
    ],
)
def test_bad_input_is_told_in_words_and_is_never_a_pass_by_accident(
    changes: dict[str, Any], measure: str, statistic: str, state: str, says: str
) -> None:
    told = judged(gate(measure=measure, statistic=statistic, limit=0.3), **spoilt(**changes))
    assert told.state == state and says in told.reason, told.reason


def test_nobody_selected_among_the_positives_is_no_parity() -> None:
    label, _, _, groups = data(8)
    told = judged(
        gate(measure="true_positive_rate", statistic="ratio", limit=0.1), label, np.where(label, 0.1, 0.9), groups
    )
    assert told.state == "insufficient_evidence" and "is 0 in every group" in told.reason


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"attributes": ["sex", "race"]}, "either attribute, or attributes"),
        ({"attribute": None}, "either attribute, or attributes"),
        ({"attribute": None, "attributes": ["sex"]}, "two or more"),
        ({"attribute": None, "attributes": ["sex", "sex"]}, "two or more"),
        ({"measure": "calibration", "statistic": "ratio"}, "statistic: difference"),
        ({"limit": 1.5}, "limit is 1.5"),
    ],
)
def test_a_gate_that_means_nothing_is_refused(changes: dict[str, Any], says: str) -> None:
    raw = gate().model_dump(mode="json") | changes
    with pytest.raises(ConfigError, match=says):
        validate(raw, FairnessGate, "model.yaml")
