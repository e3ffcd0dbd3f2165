"""Performance without labels, against what the labels say later."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from tasks.science.monitors.performance.calibration import fit_calibration
from tasks.science.monitors.performance.confidence_based import ConfidenceBasedEstimator, PerformanceEstimate, estimate
from tasks.science.stats.metrics import METRICS

ALL = ("log_loss", "roc_auc", "brier", "accuracy")


def estimated(
    metric: str, reference: np.ndarray, label: np.ndarray, score: np.ndarray, threshold: float, seed: int
) -> PerformanceEstimate:
    """With a logistic recalibration on all of the reference."""
    return (
        ConfidenceBasedEstimator(fit_calibration(reference, label), reference, threshold)
        .window(score, seed)
        .estimate(metric)
    )


@pytest.mark.parametrize("metric", ALL)
def test_labels_that_come_later_fall_into_the_interval_under_covariate_shift(metric: str) -> None:
    rng, held = np.random.default_rng(1), 0
    for seed in range(60):
        reference = rng.beta(1, 9, 3000)
        score = rng.beta(2, 6, 1000)
        label = rng.random(1000) < score
        found = estimated(metric, reference, rng.random(3000) < reference, score, 0.1, seed)
        held += found.low <= METRICS[metric].compute(label, score, 0.1) <= found.high
    assert held >= 52  # P(fewer | 95 %, 60 windows) < 0.005


@pytest.mark.parametrize("metric", ALL)
def test_the_comparison_with_the_reference_holds_its_level(metric: str) -> None:
    rng, p_values = np.random.default_rng(4), []
    for seed in range(150):
        reference, score = rng.beta(1, 9, 2000), rng.beta(1, 9, 300)
        p_values.append(estimated(metric, reference, rng.random(2000) < reference, score, 0.1, seed).greater_p)
    beyond = sum(not 0.05 < p < 0.95 for p in p_values)
    assert beyond <= 26  # P(more | level 10 %, 150 windows) < 0.002


def test_the_error_of_the_expected_area_is_that_of_resampling() -> None:
    rng = np.random.default_rng(0)
    reference, score = rng.beta(1, 5, 200_000), rng.beta(1, 5, 1000).round(2)
    label = rng.random(200_000) < reference
    found = estimated("roc_auc", reference, label, score, 0.5, 0)
    draws = [estimate("roc_auc", score[i], score[i], 0.5) for i in rng.integers(1000, size=(500, 1000))]
    error = (found.value - found.reference) / norm.isf(found.greater_p)
    assert error == pytest.approx(np.std(draws), rel=0.12)


def test_an_overconfident_score_is_judged_by_what_it_is_worth() -> None:
    """Raw scores twice as far out in log-odds as the truth: the loss is that of the raw score, not of a mended one."""
    rng = np.random.default_rng(2)

    def world(mean: float, n: int) -> tuple[np.ndarray, np.ndarray]:
        odds = rng.normal(mean, 1.5, n)
        return 1 / (1 + np.exp(-2 * odds)), rng.random(n) < 1 / (1 + np.exp(-odds))

    reference, window = world(-1.0, 20_000), world(0.5, 20_000)
    found = estimated("log_loss", *reference, window[0], 0.5, 0)
    realized = METRICS["log_loss"].compute(window[1], window[0], 0.5)
    assert found.low <= realized <= found.high and found.value == pytest.approx(realized, rel=0.03)
    assert found.reference == pytest.approx(METRICS["log_loss"].compute(reference[1], reference[0], 0.5), abs=1e-4)


def test_tied_scores_count_half_in_the_area() -> None:
    for p in (np.linspace(0.1, 0.9, 50), np.linspace(0.9, 0.1, 50)):
        assert estimate("roc_auc", p, np.full(50, 0.3), 0.5) == pytest.approx(0.5)
    rng = np.random.default_rng(0)
    label, score = rng.random(500) < 0.3, rng.integers(0, 5, 500) / 5
    assert estimate("roc_auc", label.astype(float), score, 0.5) == pytest.approx(roc_auc_score(label, score))


@pytest.mark.parametrize("metric", ALL)
def test_a_window_costs_less_than_half_a_second(metric: str) -> None:
    rng = np.random.default_rng(0)
    reference, score = rng.beta(1, 9, 30_000), rng.beta(1, 9, 2000)
    label = rng.random(30_000) < reference
    began = time.process_time()
    estimated(metric, reference, label, score, 0.1, 0)
    assert time.process_time() - began < 0.5


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    reference, score = rng.beta(1, 9, 1000), rng.beta(1, 9, 300)
    label = rng.random(1000) < reference
    first, second = (estimated("log_loss", reference, label, score, 0.1, 7) for _ in range(2))
    assert first == second
