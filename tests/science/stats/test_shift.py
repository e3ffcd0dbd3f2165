"""The tests of one column: error rates by simulation, power, and columns with nothing in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, permutation_test
from statsmodels.stats.multitest import multipletests

from tasks.science.stats.multiplicity import discoveries, family_wise
from tasks.science.stats.shift import category_p_value, shift

LONG_TAIL = 1 / np.arange(1, 53) ** 2
LONG_TAIL /= LONG_TAIL.sum()


def draw(rng: np.random.Generator, shares: np.ndarray, n: int) -> pd.Series:
    return pd.Series(rng.choice(len(shares), n, p=shares)).astype(str)


@pytest.mark.parametrize("size", [200, 2000])
def test_rare_categories_do_not_make_the_test_liberal(size: int) -> None:
    rng = np.random.default_rng(0)
    p_values = np.array(
        [shift(draw(rng, LONG_TAIL, 20_000), draw(rng, LONG_TAIL, size), "c").p_value for _ in range(100)]
    )
    assert (p_values <= 0.01).sum() <= 5  # P(more | level 1 %, 100 trials) < 0.001


@pytest.mark.parametrize(
    "shares", [LONG_TAIL, np.full(52, 1 / 52), np.array([0.9995, 0.0005])], ids=["long tail", "flat", "one rare"]
)
def test_categories_hold_their_level(shares: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    tables = [np.array([rng.multinomial(20_000, shares), rng.multinomial(200, shares)]) for _ in range(1500)]
    rejected = sum(category_p_value(t[:, t.sum(axis=0) > 0]) <= 0.01 for t in tables if (t.sum(axis=0) > 0).sum() > 1)
    assert rejected <= 27  # P(more | level 1 %, 1,500 tables) < 0.002


def test_numbers_with_many_ties_hold_their_level() -> None:
    """Four in five are zero, as in wages of people who are not paid by the hour."""
    rng = np.random.default_rng(2)

    def draw_wages(n: int) -> pd.Series:
        return pd.Series(np.where(rng.random(n) < 0.8, 0.0, rng.exponential(size=n)))

    p_values = [shift(draw_wages(3000), draw_wages(200), "wage").p_value for _ in range(200)]
    assert sum(p <= 0.05 for p in p_values) <= 18  # P(more | level 5 %, 200 trials) < 0.01


def test_common_categories_get_the_p_value_of_scipys_chi_squared_and_of_permutations() -> None:
    table = np.array([[500, 300, 200], [40, 38, 22]])
    plain = chi2_contingency(table, correction=False)
    rows = np.repeat([0, 1, 2, 0, 1, 2], table.ravel())
    both = rows[:1000], rows[1000:]

    def statistic(first: np.ndarray, second: np.ndarray) -> float:
        return float(
            chi2_contingency([np.bincount(part, minlength=3) for part in (first, second)], correction=False).statistic
        )

    permuted = permutation_test(both, statistic, n_resamples=999, alternative="greater", rng=0)
    assert category_p_value(table) == plain.pvalue
    assert permuted.pvalue == pytest.approx(plain.pvalue, abs=0.04)


@pytest.mark.parametrize("reference", [[20_000], [12_000, 8000], [10_000, 9990, 5, 5]])
def test_a_new_category_in_a_small_window_is_found_whatever_there_was(reference: list[int]) -> None:
    """A tenth of 200 rows is new; the rest is as it was."""
    before = np.array([*reference, 0])
    window = np.array([*np.round(np.array(reference) / 20_000 * 180).astype(int), 20])
    assert category_p_value(np.array([before, window])) < 1e-6


@pytest.mark.parametrize("size", [500, 2000])
def test_the_distance_without_sampling_is_the_true_distance(size: int) -> None:
    rng = np.random.default_rng(0)
    before = np.full(52, 1 / 52)
    after = before * np.repeat([1.29, 0.71], 26)
    truth = jensenshannon(before, after, base=2)
    found = [shift(draw(rng, before, 20_000), draw(rng, after, size), "c").excess for _ in range(20)]
    assert np.mean(found) == pytest.approx(truth, abs=0.02)


@pytest.mark.parametrize("size", [200, 2000, 20_000])
def test_sampling_alone_gives_no_distance(size: int) -> None:
    rng = np.random.default_rng(1)
    found = [shift(pd.Series(rng.normal(size=5000)), pd.Series(rng.normal(size=size)), "x") for _ in range(40)]
    assert np.mean([s.excess**2 for s in found]) < 0.1**2 / 2
    assert sum(s.p_value <= 0.01 and s.excess > 0.1 for s in found) <= 1


def test_a_category_never_seen_is_found() -> None:
    rng = np.random.default_rng(0)
    window = draw(rng, LONG_TAIL, 500).where(rng.random(500) > 0.3, "new")
    found = shift(draw(rng, LONG_TAIL, 20_000), window, "c")
    assert found.p_value < 1e-6 and found.excess > 0.1


def test_a_number_that_stops_coming_is_found_though_its_type_is_lost() -> None:
    found = shift(pd.Series(np.arange(3000.0)), pd.Series([None] * 300, dtype=object), "x")
    assert found.missing_window == 1 and found.p_value < 1e-6 and found.excess > 0.9


@pytest.mark.parametrize("value", [np.nan, 1.0])
def test_a_column_that_stays_empty_or_constant_is_no_drift(value: float) -> None:
    found = shift(pd.Series([value] * 300), pd.Series([value] * 200), "x")
    assert (found.p_value, found.excess, found.missing_p) == (1.0, 0.0, 1.0)


def test_benjamini_hochberg() -> None:
    assert discoveries([0.001, 0.012, 0.02, 0.9], 0.02) == [True, False, False, False]
    assert discoveries([0.001, 0.009, 0.02, 0.9], 0.02) == [True, True, False, False]
    assert discoveries([], 0.01) == []


def test_holm_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p_values = list(rng.random(6) ** 4)
        assert family_wise(p_values, 0.05) == list(multipletests(p_values, 0.05, "holm")[0])
    assert family_wise([], 0.05) == []


def test_a_true_distance_of_an_eighth_is_seen_in_two_thousand_rows() -> None:
    """Against the limit of 0.1; taking sampling off the distance instead of its square hid it."""
    rng = np.random.default_rng(3)
    before = np.full(52, 1 / 52)
    after = before * np.repeat([1.29, 0.71], 26)
    assert jensenshannon(before, after, base=2) == pytest.approx(0.125, abs=0.002)
    seen = [shift(draw(rng, before, 20_000), draw(rng, after, 2000), "c").excess > 0.1 for _ in range(20)]
    assert sum(seen) >= 18


def test_the_name_missing_and_a_missing_value_are_two_categories() -> None:
    named = pd.Series(["a"] * 500 + ["missing"] * 500, dtype="str")
    absent = named.mask(named == "missing")
    assert shift(named, named, "c").p_value == 1.0 and shift(absent, absent, "c").p_value == 1.0
    found = shift(named, absent, "c")
    assert found.p_value < 1e-100 and found.distance == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("now", [2.0, 0.0, 1e9, -1.0])
def test_a_constant_that_moves_is_seen_on_either_side(now: float) -> None:
    found = shift(pd.Series([1.0] * 300), pd.Series([now] * 300), "unit")
    assert found.p_value < 1e-9 and found.distance == 1.0
    half = shift(pd.Series([1.0] * 300), pd.Series([1.0, now] * 150), "unit")
    assert half.p_value < 1e-9 and half.distance > 0.4
    assert shift(pd.Series([1.0] * 300), pd.Series([1.0] * 200), "unit").p_value == 1.0
