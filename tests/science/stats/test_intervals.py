"""Bounds and folds that many estimators share, against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.model_selection import KFold
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from tasks.science.stats.folds import folds, splits
from tasks.science.stats.intervals import BOUND, Z, exact_share, normal_quantile, percentiles, wilson_share
from tasks.science.stats.multiplicity import family_wise, holm

SHARES = [(0, 1), (0, 40), (3, 40), (20, 40), (39, 40), (40, 40), (1, 5000), (4321, 5000)]


@pytest.mark.parametrize(("count", "rows"), SHARES)
def test_exact_and_score_bounds_of_a_share_are_those_of_statsmodels_and_scipy(count: int, rows: int) -> None:
    assert exact_share(count, rows) == pytest.approx(proportion_confint(count, rows, 0.05, "beta"), abs=1e-12)
    assert exact_share(count, rows) == pytest.approx(binomtest(count, rows).proportion_ci(0.95, "exact"), abs=1e-9)
    assert exact_share(count, rows, 0.95) == pytest.approx(proportion_confint(count, rows, 0.1, "beta"), abs=1e-12)
    wilson = tuple(float(b) for b in wilson_share(count / rows, rows, 0.95))
    assert wilson == pytest.approx(proportion_confint(count, rows, 0.1, "wilson"), abs=1e-12)
    assert wilson[0] <= count / rows <= wilson[1]


def test_wilson_bounds_keep_their_shape_and_are_nan_of_no_rows() -> None:
    low, high = wilson_share(np.array([[0.5, np.nan]]), np.array([[10, 0]]), 0.95)
    assert low.shape == high.shape == (1, 2) and np.isnan([low[0, 1], high[0, 1]]).all()


def test_the_interval_that_is_shown_is_one_of_95_percent() -> None:
    assert pytest.approx(1.959964, abs=1e-6) == Z and normal_quantile(BOUND) == Z == norm.ppf(0.975)
    values = np.random.default_rng(0).normal(size=999)
    assert percentiles(values) == tuple(np.quantile(values, [0.025, 0.975]))
    assert percentiles(np.append(values, [np.nan, np.inf])) == percentiles(values)
    assert np.isnan(percentiles(np.array([np.nan]))).all()


@pytest.mark.parametrize("p_values", [[], [0.2], [0.01, 0.04, 0.03], [0.5, 1e-9, 0.02, 0.02, 0.9], [1.0, 1.0]])
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    stands, adjusted = multipletests(p_values, 0.05, "holm")[:2] if p_values else ([], [])
    assert holm(p_values) == pytest.approx(list(adjusted))
    assert family_wise(p_values, 0.05) == list(stands)


def test_every_row_is_held_out_once_by_what_did_not_learn_from_it() -> None:
    fold = folds(103, 5, np.random.default_rng(3))
    assert fold.tolist() != folds(103, 5).tolist() and np.ptp(np.bincount(fold)) == 1
    held = np.zeros(103, int)
    for fit, out in splits(fold, 5):
        assert not (fit & out).any() and (fit | out).all()
        held += out
    assert held.tolist() == [1] * 103
    sizes = sorted(len(out) for _, out in KFold(5).split(np.zeros(103)))
    assert sorted(np.bincount(folds(103, 5)).tolist()) == sizes
