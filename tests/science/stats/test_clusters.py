"""Rows of one entity, held against other implementations: design effects, sandwiches and a slow cluster bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import ndtri
from scipy.stats import kurtosis, skew, t
from sklearn.metrics import f1_score, roc_auc_score, root_mean_squared_error

from tasks.science.stats.calibration import calibration_error, intercept, mean_calibration, slope
from tasks.science.stats.clusters import design_effect, entities, gathered, numbered, shared
from tasks.science.stats.comparison import metric_estimate, paired_estimate
from tasks.science.stats.disparity import disparity_interval
from tasks.science.stats.group_counts import count_groups
from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tests.statistics import non_inferiority as independent
from tests.statistics.persons import DRAWS, Shape, drawn

Z = float(ndtri(0.95))


def persons(kind: TargetKind = "binary", count: int = 400, most: int = 6) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    return drawn(kind, Shape(most, True), count, np.random.default_rng(5))


def test_the_design_effect_of_a_mean_is_one_and_rho_times_the_rows_less_one() -> None:
    """1 + (m - 1) rho (Kish 1965), at m = 5 and rho = 0.3."""
    rng, m, people, rho = np.random.default_rng(1), 5, 20_000, 0.3
    owners = np.repeat(np.arange(people), m)
    terms = np.sqrt(rho) * rng.normal(size=people)[owners] + np.sqrt(1 - rho) * rng.normal(size=len(owners))
    assert design_effect(terms - terms.mean(), owners).value == pytest.approx(1 + (m - 1) * rho, rel=0.02)
    by_entity = gathered(terms, owners)
    assert by_entity.mean() == pytest.approx(terms.mean(), abs=1e-12)
    assert by_entity.var(ddof=1) / people == pytest.approx((1 + (m - 1) * rho) / len(owners), rel=0.02)


def test_where_nothing_was_seen_to_vary_rows_are_worth_no_more_than_their_persons() -> None:
    owners = np.repeat(np.arange(50), 4)
    assert design_effect(np.zeros(200), owners).value == pytest.approx(4)
    assert design_effect(np.zeros(200), np.arange(200)).value == pytest.approx(1)


def test_entities_that_are_not_known_are_each_their_own() -> None:
    found = numbered(np.array(["a", None, "b", None, "a", np.nan], dtype=object))
    assert entities(found) == 5 and found[0] == found[4]
    assert shared(np.arange(9) * 3) is None and shared(None) is None
    assert shared(np.array([7, 3, 7])).tolist() == [1, 0, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", list(DRAWS))
def test_persons_of_one_row_each_are_independent_rows_to_the_last_bit(kind: TargetKind) -> None:
    _, (label, challenger, champion) = persons(kind, 300, 1)
    nobody = np.random.default_rng(2).permutation(len(label))
    for metric in METRIC_NAMES[kind]:
        one = metric_estimate(metric, label, challenger, 0.5, 1, nobody)
        pair = paired_estimate(metric, label, challenger, champion, 0.5, 1, nobody)
        alone = metric_estimate(metric, label, challenger, 0.5, 1)
        assert (one.bounds(0.95), one.method) == (alone.bounds(0.95), alone.method)
        assert pair.bounds(0.95) == paired_estimate(metric, label, challenger, champion, 0.5, 1).bounds(0.95)


@pytest.mark.parametrize("kind", list(DRAWS))
def test_rows_given_four_times_move_no_bound(kind: TargetKind) -> None:
    """The same persons' rows four times: each bound is where it was, within the noise of a bootstrap."""
    owners, rows = persons(kind)
    label, challenger, champion = (np.tile(part, (4, *[1] * (part.ndim - 1))) for part in rows)
    for metric in METRIC_NAMES[kind]:
        once = metric_estimate(metric, rows[0], rows[1], 0.5, 1, owners)
        often = metric_estimate(metric, label, challenger, 0.5, 1, np.tile(owners, 4))
        pair = paired_estimate(metric, *rows, 0.5, 1, owners)
        pairs = paired_estimate(metric, label, challenger, champion, 0.5, 1, np.tile(owners, 4))
        for first, second in ((once, often), (pair, pairs)):
            low, high = first.bounds(0.95)
            room = 0.1 * (high - low)
            assert second.value == pytest.approx(first.value, abs=0.05 * room), metric
            assert second.bounds(0.95) == pytest.approx((low, high), abs=room), metric


GAIN: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "roc_auc": lambda y, s: float(roc_auc_score(y, s)),
    "f1": lambda y, s: float(f1_score(y, s >= 0.5)),
    "accuracy": lambda y, s: float(np.mean(y == (s >= 0.5))),
    "brier": lambda y, s: float(np.mean((y - s) ** 2)),
    "precision": lambda y, s: float(np.mean(y[s >= 0.5])),
}


@pytest.mark.parametrize("metric", list(GAIN))
def test_widths_are_those_of_a_slow_bootstrap_of_whole_persons(metric: str) -> None:
    """Persons are drawn with all their rows, one by one (Field & Welsh 2007)."""
    owners, (label, challenger, champion) = persons()
    rows_of = [np.flatnonzero(owners == i) for i in range(owners.max() + 1)]
    rng, single, paired = np.random.default_rng(3), [], []
    for _ in range(400):
        at = np.concatenate([rows_of[i] for i in rng.integers(len(rows_of), size=len(rows_of))])
        one, other = (GAIN[metric](label[at], s[at]) for s in (challenger, champion))
        single.append(one)
        paired.append(one - other)
    for found, draws in (
        (metric_estimate(metric, label, challenger, 0.5, 1, owners), single),
        (paired_estimate(metric, label, challenger, champion, 0.5, 1, owners), paired),
    ):
        low, high = found.bounds(0.95)
        assert (high - low) / 2 / Z == pytest.approx(np.std(draws), rel=0.17)


def test_calibration_has_the_cluster_sandwich_of_statsmodels() -> None:
    owners, (label, score, _) = persons()
    odds = np.log(score / (1 - score))
    fit = sm.GLM(label.astype(float), sm.add_constant(odds), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": owners, "use_correction": False}
    )
    few = len(np.unique(owners))
    found = slope(label, score, 0.95, owners)
    assert found.value == pytest.approx(fit.params[1], abs=1e-6)
    error = fit.bse[1] * np.sqrt(few / (few - 1))
    assert 1.0 <= (found.high - found.value) / (Z * error) < 1.06  # Student's quantile over the normal one
    shift = sm.GLM(label.astype(float), np.ones(len(label)), family=sm.families.Binomial(), offset=odds).fit(
        cov_type="cluster", cov_kwds={"groups": owners, "use_correction": False}
    )
    middle = intercept(label, score, 0.95, owners)
    assert middle.value == pytest.approx(shift.params[0], abs=1e-6)
    assert 1.0 <= (middle.high - middle.value) / (Z * shift.bse[0] * np.sqrt(few / (few - 1))) < 1.06


def test_least_squares_have_the_cluster_sandwich_of_statsmodels() -> None:
    owners, (label, score, _) = persons("regression")
    few = len(np.unique(owners))
    fit = sm.OLS(label, sm.add_constant(score)).fit(
        cov_type="cluster", cov_kwds={"groups": owners, "use_correction": False}
    )
    found = mean_calibration(label, score, 1.0, 10, 0.95, 1, owners)
    assert found.slope.value == pytest.approx(fit.params[1])
    assert 1.0 <= (found.slope.high - found.slope.value) / (Z * fit.bse[1] * np.sqrt(few / (few - 1))) < 1.2
    gap = sm.OLS(label - score, np.ones(len(label))).fit(
        cov_type="cluster", cov_kwds={"groups": owners, "use_correction": False}
    )
    assert found.intercept.value == pytest.approx(gap.params[0])
    reach = found.intercept.high - found.intercept.value
    assert 1.0 <= reach / (Z * gap.bse[0] * np.sqrt(few / (few - 1))) < 1.2


def test_the_calibration_error_knows_that_bins_share_persons() -> None:
    """Four times the same rows look like four times less noise to who knows no persons."""
    owners, (label, score, _) = persons()
    often = [np.tile(part, 4) for part in (label, score, owners)]
    once = calibration_error(label, score, 10, 0.95, 1, owners)
    again = calibration_error(often[0], often[1], 10, 0.95, 1, often[2])
    unknown = calibration_error(often[0], often[1], 10, 0.95, 1)
    assert (again.value, again.high) == pytest.approx((once.value, once.high), abs=0.004)  # edges of bins move
    assert unknown.high - unknown.low < 0.8 * (again.high - again.low)


@pytest.mark.parametrize("measure", ["selection_rate", "equalized_odds", "calibration"])
def test_fairness_intervals_are_those_of_the_persons(measure: str) -> None:
    owners, (label, score, _) = persons()
    group = np.random.default_rng(4).choice(["a", "b", "c"], owners.max() + 1)[owners]

    def interval(times: int, known: bool) -> tuple[float, float]:
        columns = pd.DataFrame({"g": np.tile(group, times)})
        y, s, whose = (np.tile(part, times) for part in (label, score, owners))
        found = count_groups(y, s >= 0.5, columns, s, whose if known else None).groups("g")
        return disparity_interval(found.sample(measure), "difference", 0.95, 1)

    once, often, unknown = interval(1, True), interval(4, True), interval(4, False)
    assert often == pytest.approx(once, abs=0.02)
    assert unknown[1] - unknown[0] < 0.8 * (often[1] - often[0])


def test_effective_rows_of_groups_follow_a_slow_bootstrap_of_persons() -> None:
    owners, (label, score, _) = persons()
    group = np.random.default_rng(4).choice(["a", "b"], owners.max() + 1)[owners]
    columns, decision = pd.DataFrame({"g": group}), score >= 0.5
    sample = count_groups(label, decision, columns, None, owners).groups("g").sample("true_positive_rate")
    rows_of, rng, draws = [np.flatnonzero(owners == i) for i in range(owners.max() + 1)], np.random.default_rng(6), []
    for _ in range(400):
        at = np.concatenate([rows_of[i] for i in rng.integers(len(rows_of), size=len(rows_of))])
        draws.append([decision[at][label[at] & (group[at] == g)].mean() for g in "ab"])
    assert sample.error(sample.values)[0] == pytest.approx(np.std(draws, axis=0), rel=0.17)
    people = [len(np.unique(owners[label & (group == g)])) for g in "ab"]
    assert sample.entities is not None and sample.entities[0].tolist() == people


INDEPENDENT = {
    ("binary", "log_loss"): (0.5104304649194019, 0.08004238017642447),
    ("binary", "brier"): (0.16777588157468737, 0.030812596171376008),
    ("binary", "accuracy"): (0.6858571986237925, 0.023197341440951178),
    ("binary", "balanced_accuracy"): (0.6892274593429413, 0.02961643459154696),
    ("binary", "f1"): (0.6669623095429777, 0.04440310430601618),
    ("binary", "precision"): (0.6069852104300932, 0.006786982771938163),
    ("binary", "recall"): (0.7117524191517582, 0.11030430731059504),
    ("multiclass", "roc_auc"): (0.8632879712055006, -0.00025859645873902923),
    ("multiclass", "log_loss"): (0.6275371977562139, 0.11151495135983541),
    ("multiclass", "brier"): (0.3546519620049947, 0.06925319562806198),
    ("multiclass", "accuracy"): (0.6651896826485597, 0.003031023936577327),
    ("multiclass", "balanced_accuracy"): (0.6862136611250196, 0.03222831870680682),
    ("multiclass", "f1"): (0.6522172618929218, 0.017531259096807916),
    ("regression", "mae"): (0.5707814197077925, 0.0643121497474804),
    ("regression", "rmse"): (0.7691180354189048, 0.07705851338519704),
    ("regression", "r2"): (0.6486931722691207, -0.019653197787300947),
}
"""Low bounds of the metric and high bounds of the difference of 400 rows, before entities were known to any metric."""


@pytest.mark.parametrize(("kind", "metric"), list(INDEPENDENT))
def test_without_entities_bounds_are_what_they_were(kind: TargetKind, metric: str) -> None:
    label, challenger, champion = independent.DRAWS[kind](np.random.default_rng(11), 400)
    low, _ = metric_estimate(metric, label, challenger, 0.5, 3).bounds(0.95)
    _, high = paired_estimate(metric, label, challenger, champion, 0.5, 3).bounds(0.95)
    assert (low, high) == pytest.approx(INDEPENDENT[kind, metric], rel=1e-12)


def test_rmse_is_bounded_by_what_it_is_without_each_person_in_turn() -> None:
    """By scikit-learn one by one; half of the farthest value more, t after Hall's cubic, in RMSE and its logarithm."""
    owners, (label, score, _) = persons("regression", 60)
    n = int(owners.max()) + 1
    without = np.array([root_mean_squared_error(label[owners != i], score[owners != i]) for i in range(n)])
    whole = root_mean_squared_error(label, score)
    reaches = []
    for value, left in ((whole, without), (np.log(whole), np.log(without))):
        gap = n * value - (n - 1) * left
        mean, gap = gap.mean(), gap - gap.mean()
        terms = mean + gap * np.sqrt(1 + 0.5 * (gap**2).max() / (gap**2).sum())
        bend, freedom = skew(terms) / 3, min(2 * n / (kurtosis(terms, fisher=False) - 1), n - 1)
        up, down = (
            (np.cbrt(1 + 3 * bend * (q / np.sqrt(n) - bend / (2 * n))) - 1) / bend * terms.std(ddof=1)
            for q in t.ppf([0.05, 0.95], freedom)
        )
        reaches.append((mean - down, mean - up))
    low, high = metric_estimate("rmse", label, score, 0.5, 0, owners).bounds(0.95)
    expected = min(reaches[0][0], np.exp(reaches[1][0])), max(reaches[0][1], np.exp(reaches[1][1]))
    assert (low, high) == pytest.approx(expected, rel=1e-9)
    assert high == pytest.approx(expected[1]) and expected[1] > reaches[0][1]  # the logarithm is the wider above


def test_a_single_large_error_leaves_the_floor_of_rmse_open() -> None:
    """All of the error is one person's of 40: the truth may be many times what was seen, and in any unit."""
    error, owners = np.zeros(120), np.repeat(np.arange(40), 3)
    error[5] = 9.0
    low, high = metric_estimate("rmse", error, np.zeros(120), 0.5, 0, owners).bounds(0.95)
    assert low < np.sqrt(81 / 120) < 10 * np.sqrt(81 / 120) < high < np.inf
    perfect = metric_estimate("rmse", error, error, 0.5, 0, owners).bounds(0.95)
    assert perfect == (0.0, 0.0)
