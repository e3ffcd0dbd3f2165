"""A mean from a few labels: chances as recorded, an independent estimator, and how often the interval holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from tasks.science.stats.label_sample import LabelSample, boundary, draw_sample, sampled_mean


def test_rows_come_in_with_the_chance_that_is_recorded() -> None:
    size = np.random.default_rng(1).lognormal(0, 1, 60)
    apart = np.arange(60) % 3 == 0
    drawn = np.zeros(60)
    for seed in range(4000):
        sample = draw_sample(size, 20, np.random.default_rng(seed), apart, strata=5)
        assert len(set(sample.position.tolist())) == 20
        drawn[sample.position] += 1
    stratum = np.empty(60, int)
    for position, h in zip(sample.position, sample.stratum, strict=True):
        stratum[position] = h
    chance = np.full(60, np.nan)
    chance[sample.position] = sample.rounds / sample.rows[sample.stratum]
    seen = drawn / 4000
    known = np.isfinite(chance)
    assert np.abs(seen - chance)[known].max() < 5 * np.sqrt(0.25 / 4000)
    assert sample.rows.sum() == 60 and drawn.min() > 0
    assert not {*stratum[sample.position[apart[sample.position]]]} & {
        *stratum[sample.position[~apart[sample.position]]]
    }


def test_larger_rows_are_asked_more_often_and_no_chance_exceeds_one() -> None:
    size = np.array([100.0] * 8 + [1.0] * 400)
    sample = draw_sample(size, 40, np.random.default_rng(0))
    chance = sample.rounds / sample.rows
    assert chance.max() <= 1 and chance.min() > 0.02
    assert (sample.position < 8).mean() > 0.1, "a fiftieth of the rows, and far more of the sample"


@pytest.mark.parametrize(("most", "rows"), [(3, 100), (50, 3), (0, 10)])
def test_too_few_to_ask_is_an_empty_sample(most: int, rows: int) -> None:
    sample = draw_sample(np.ones(rows), most, np.random.default_rng(0))
    assert len(sample.position) == 0 and sample.rounds == 0


def test_the_estimate_is_horvitz_and_thompsons_of_the_difference() -> None:
    rng = np.random.default_rng(2)
    expected, loss = rng.random(300), rng.exponential(1, 300)
    sample = draw_sample(expected, 60, rng)
    gap = (loss - expected)[sample.position]
    found = sampled_mean(sample, gap, gap, np.full(60, np.nan), 300, float(expected.mean()), 0.95)
    assert found is not None
    chance = sample.rounds / sample.rows[sample.stratum]
    assert found.value == pytest.approx(expected.mean() + (gap / chance).sum() / 300)


def test_rounds_count_from_the_first_without_a_gap_and_only_at_a_look() -> None:
    rng = np.random.default_rng(3)
    sample = draw_sample(np.ones(400), 100, rng)
    assert (sample.rounds, sample.looks) == (10, [5, 8, 10])
    gap = rng.normal(0, 1, 100)

    def rounds(missing: list[int]) -> int | None:
        shown = np.where(np.isin(np.arange(100), missing), np.nan, gap)
        found = sampled_mean(sample, shown, shown, np.ones(100), 400, 0.0, 0.95)
        return found.rounds if found else None

    assert [rounds(m) for m in ([], [99], [79], [0], [45], [85, 95])] == [10, 8, 5, None, None, 8]


def test_what_nobody_can_say_widens_the_interval_to_both_ends() -> None:
    rng = np.random.default_rng(4)
    sample = draw_sample(np.ones(400), 100, rng)
    gap = rng.normal(0, 1, 100)
    low, high = gap.copy(), gap.copy()
    low[7], high[7] = -3.0, 5.0
    ends = [sampled_mean(sample, side, side, np.ones(100), 400, 0.0, 0.95) for side in (low, high)]
    both = sampled_mean(sample, low, high, np.ones(100), 400, 0.0, 0.95)
    assert both is not None and ends[0] is not None and ends[1] is not None
    assert (both.low, both.high) == (ends[0].low, ends[1].high)


def test_labels_that_all_say_what_was_expected_prove_nothing_where_the_model_expects_variation() -> None:
    sample = draw_sample(np.ones(400), 40, np.random.default_rng(5))
    none = np.zeros(40)
    found = sampled_mean(sample, none, none, np.ones(40), 400, 0.2, 0.95)
    assert found is not None and (found.low, found.high) == (-np.inf, np.inf)


@pytest.mark.parametrize("looks", [2, 4])
@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_the_boundary_is_crossed_as_often_as_it_says(looks: int, confidence: float) -> None:
    times = np.arange(1, looks + 1) / looks
    together = multivariate_normal(np.zeros(looks), np.minimum.outer(times, times))
    c = boundary(looks, confidence)
    inside = together.cdf(np.full(looks, c), lower_limit=np.full(looks, -c))
    assert inside == pytest.approx(confidence, abs=2e-4)
    assert boundary(1, confidence) == pytest.approx(norm.isf((1 - confidence) / 2))


def test_the_interval_holds_at_all_looks_at_once() -> None:
    """The study of 1,000 redrawn samples a window is ``python -m tests.statistics labelling``."""
    rng = np.random.default_rng(6)
    expected = rng.lognormal(-1, 0.5, 1000)
    loss = np.abs(rng.normal(0, expected * 1.25))
    held = 0
    for seed in range(300):
        sample: LabelSample = draw_sample(expected, 100, np.random.default_rng(seed))
        gap = (loss - expected)[sample.position]
        looks = [
            sampled_mean(sample, gap, gap, 0.75 * expected[sample.position], 1000, float(expected.mean()), 0.95, r)
            for r in sample.looks
        ]
        held += all(f is not None and f.low <= loss.mean() <= f.high for f in looks)
    assert 0.91 < held / 300 < 0.99
