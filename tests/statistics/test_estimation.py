"""A fast version of docs/evidence/estimation.md, with room for the noise of few runs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.statistics import estimation as e

NOISE = 3.3
"""Standard errors that a rate may be off. With some forty rates, a right one fails in under 5 % of seeds, and the
seed is fixed."""


def close(counts: list[e.Count]) -> None:
    for c in counts:
        assert c.nominal is not None and abs(c.rate - c.nominal) <= NOISE * c.error, c


@pytest.mark.parametrize(("n", "runs"), [(200, 60), (1000, 100), (10_000, 60)])
def test_labels_fall_into_the_interval_of_every_binary_metric(n: int, runs: int) -> None:
    close(e.counted(runs, n, 0.95, partial(e.binary, n, "logistic"), 1))


def test_a_form_that_no_logistic_fit_mends_is_found() -> None:
    close(e.counted(60, 1000, 0.95, partial(e.binary, 1000, "square"), 2))


@pytest.mark.parametrize(("n", "runs"), [(200, 80), (10_000, 20)])
def test_labels_fall_into_the_interval_of_every_multiclass_metric(n: int, runs: int) -> None:
    close(e.counted(runs, n, 0.95, partial(e.multiclass, n), 3))


@pytest.mark.parametrize("sizes", [(200,), pytest.param((1000, 10_000), marks=pytest.mark.acceptance)])
def test_labels_fall_into_the_interval_of_every_regression_metric(sizes: tuple[int, ...]) -> None:
    close(e.regression(sizes, 0.0, 15, 4))


def test_labels_fall_into_the_interval_of_the_largest_difference() -> None:
    close(e.counted(60, 1000, 0.95, partial(e.fairness, 1000), 5))


@pytest.mark.parametrize("case", list(e.WORLDS))
def test_the_estimator_abstains_where_it_must_and_only_there(case: str) -> None:
    (count,) = e.abstention(case, 1000, 2, int(np.random.default_rng(len(case)).integers(1000)))
    assert count.happened == (count.runs if e.WORLDS[case][1] else 0), count
