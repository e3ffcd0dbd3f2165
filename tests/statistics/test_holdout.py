"""A fast version of what ``tests/statistics/holdout.py`` shows; its standard errors are those of the gates."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import chi2, norm

from tasks.science.stats.comparison import paired_estimate
from tasks.science.stats.reuse import FARTHEST, by_shares, fresh_rows, level_share, reach
from tests.statistics.holdout import LEVEL, Rows, gained, opened, sealed, worst

SEED = 11


def test_the_first_answer_has_the_usual_bound_and_later_ones_lie_between_scheffes() -> None:
    assert reach(1, 0.05) == pytest.approx(norm.ppf(0.95), abs=1e-7)
    for k in (2, 7.5, 40, 400):
        one_less, as_many = (np.sqrt(chi2.isf(LEVEL, df)) for df in (k - 1, k))
        assert one_less < reach(k, LEVEL) < as_many
    for wrong in ((0.9, 0.05), (1, 0.5), (1, 0.0)):
        with pytest.raises(ValueError, match="allowed: at least 1, and between 0 and 0.5"):
            reach(*wrong)


@pytest.mark.parametrize("answers", [2, 10, 100])
def test_the_bound_holds_against_the_best_mix_and_is_no_wider(answers: int) -> None:
    assert abs(worst(answers, 20_000, SEED).rate - LEVEL) < 4 * np.sqrt(LEVEL * 0.95 / 20_000)


def test_all_histories_together_spend_the_level_once() -> None:
    """Counted by walking the tree of passes, without the binomial coefficients of the schedule."""

    def spent(answer: int, passes: int, most: int) -> float:
        if answer > most:
            return 0.0
        here = level_share(answer, passes)
        return here + spent(answer + 1, passes, most) + spent(answer + 1, passes + 1, most)

    assert 0.8 < spent(1, 0, 14) < 1
    assert sum(level_share(k, 0) for k in range(1, 20_000)) == pytest.approx(0.8, abs=1e-4)
    with pytest.raises(ValueError, match="fewer passes than answers"):
        level_share(3, 3)
    for k, j in ((1, 0), (12, 5), (40, 39)):
        exact = Fraction(4, 5) * Fraction(1, 5) ** j / (k * (k + 1) * comb(k - 1, j))
        assert level_share(k, j) == pytest.approx(float(exact), rel=1e-9)
    assert reach(1, LEVEL * level_share(5000, 2500)) > FARTHEST  # where no power of it is a float


def test_parts_count_by_shares_and_disjoint_ones_in_full() -> None:
    assert by_shares([(0.25, 8)]) == pytest.approx(2)
    assert by_shares([(1 / 40, 30)] * 40) == pytest.approx(1200)
    rng, size = np.random.default_rng(SEED), np.array([0.5, 0.3, 0.2])
    known = np.sqrt(rng.chisquare(20, size=(20_000, 3)))  # joint size of 20 answers of each part, in its own errors
    whole = np.sqrt((size * known**2).sum(axis=1))  # of parts that are independent
    assert (whole**2).mean() < by_shares([(share, 20) for share in size])


def test_fresh_rows_bring_the_count_down_to_the_budget() -> None:
    for counted, budget in ((101.0, 100), (150.5, 100), (9, 2)):
        m = fresh_rows(5000, counted, budget)
        assert 1 + (counted - 1) * 5000 / (5000 + m) <= budget < 1 + (counted - 1) * 5000 / (5000 + m - 1)
    assert fresh_rows(5000, 40, 100) == 0


def test_the_simulated_gain_is_the_gates() -> None:
    rows = Rows(np.random.default_rng(SEED), 700)
    (added,) = rows.noise()
    (gain,), (error,) = rows.gains(added[None], 0.3)
    found = paired_estimate("roc_auc", rows.label, rows.champion + 0.3 * added, rows.champion, 0.5, 1)
    assert found.value == pytest.approx(gain) and found.bounds(0.95)[0] == pytest.approx(gain - norm.ppf(0.95) * error)


def test_who_boosts_on_open_answers_is_far_off_and_who_sees_passes_is_not() -> None:
    first, *_, last = opened(1000, 3, 300, SEED)
    assert last["answer"] == 300 and last["verdict"] == "insufficient evidence"
    assert last["seen in standard errors"] > 8 and last["true gain"] < 0 and last["the sum passes by it"] <= 1 / 3
    assert first["the bound is so many times as wide"] == pytest.approx(1)
    assert sum(sealed(400, 12, 100, SEED + b, b).happened for b in (0, 30)) <= 4  # of 24 at 5 %: more in 1 of 200


def test_a_real_gain_passes_as_the_tenth_sealed_answer() -> None:
    assert gained(5000, 0.9, 10, 25, SEED).rate > 0.8
