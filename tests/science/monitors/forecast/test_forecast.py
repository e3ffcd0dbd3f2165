"""The forecast: exact likelihoods, what each kind of series gets, labels that come late, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import multivariate_normal

from tasks.science.monitors.forecast import state_space as models
from tasks.science.monitors.forecast.forecast import FARTHEST, MINIMUM, STALE, estimate_error, forecast, look_ahead
from tasks.spec.forecast import Forecast, Observation


def series(values: np.ndarray, error: float = 1.0, first: int = 1) -> list[Observation]:
    return [
        Observation(window=first + i, value=float(v), error=error, rows=2000, realized=True)
        for i, v in enumerate(values)
    ]


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def dense(
    grid: models.Grid, i: int, windows: np.ndarray, start: float, unit: float, jump: float, waves: np.ndarray
) -> np.ndarray:
    """Covariance of the observations under one model, written down from its definition."""
    n = len(windows)
    cov = np.full((n, n), start)
    first = windows[0]
    moves = np.arange(first + 1, windows[-1] + 1)
    since = grid.since[i]
    for w in moves:  # every step of the level moves all windows from it on
        after = (windows >= w).astype(float)
        cov += grid.step[i] ** 2 * np.outer(after, after)
        if since == w and grid.kind[i] == "shift":
            cov += jump * np.outer(after, after)
    if grid.kind[i] == "trend":
        begin = first if since < 0 else since
        ages = np.maximum(windows - begin, 0)
        reach = np.array([sum(grid.damping[i] ** k for k in range(a)) for a in ages])
        cov += grid.slope[i] ** 2 * np.outer(reach, reach)
    if waves.shape[1]:
        now = waves[windows % len(waves)]
        cov += grid.season[i] ** 2 / waves.shape[1] * now @ now.T
    return np.asarray(cov + np.eye(n) * unit**2 * (1 + grid.excess[i] ** 2))


@pytest.mark.parametrize("season", [None, 4])
def test_the_filter_gives_the_exact_likelihood_of_every_model(season: int | None) -> None:
    """Against the density of the whole series at once; with a gap of two windows."""
    values = np.cumsum(0.5 * noise(13)) + noise(13, 1)
    observed = [o for o in series(values) if o.window not in (6, 7)]
    windows, shown = np.array([o.window for o in observed]), np.array([o.value for o in observed])
    grid, waves = models.grid(1.0, float(values.std()), [4, 8, 10], bool(season)), models.basis(season)
    found = models.run(observed, 13, grid, np.ones(len(observed)), (0.0, 0.0), waves)
    start, jump = (10 * (np.ptp(shown) + 1)) ** 2, max(3.0, 1.5 * float(shown.std())) ** 2
    mean = np.full(len(shown), shown[0])
    exact = grid.prior + [
        multivariate_normal.logpdf(shown, mean, dense(grid, i, windows, start, 1.0, jump, waves))
        for i in range(len(grid.kind))
    ]
    weight = np.exp(exact - exact.max())
    assert found.weight == pytest.approx(weight / weight.sum(), abs=1e-9)
    assert set(grid.kind) == set(models.PRIOR) and np.exp(grid.prior).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("season", [2, 3, 6, 7, 12])
def test_a_season_may_have_any_shape_that_sums_to_zero(season: int) -> None:
    waves = models.basis(season)
    assert waves.shape == (season, season - 1)
    assert waves.sum(axis=0) == pytest.approx(0, abs=1e-9) and waves.T @ waves == pytest.approx(
        season * np.eye(season - 1), abs=1e-9
    )
    assert models.basis(30).shape == (30, models.HARMONICS)


def made(
    values: np.ndarray, limit: float = 8.0, greater: bool = False, horizon: int = 4, season: int | None = None
) -> Forecast:
    return forecast(series(values), limit, greater, horizon, season, 1)


def test_a_flat_series_stays_and_says_so() -> None:
    found = made(noise(30))
    assert found.valid and found.model == "steady" and found.shift is None
    assert found.probability is not None and found.probability < 0.01 and found.time is None
    assert all(abs(a.mean) < 0.6 and 2.2 < a.high - a.low < 4 for a in found.ahead)


def test_a_trend_crosses_in_time() -> None:
    found = made(noise(30) * 0.5 + 0.5 * np.arange(30), limit=16.0)
    assert (
        found.model == "trend" and found.time in (2, 3, 4) and found.probability is not None and found.probability > 0.8
    )
    assert (
        found.time_low is not None and found.time_high is not None and found.time_low <= found.time <= found.time_high
    )
    assert [a.window for a in found.ahead] == [31, 32, 33, 34]
    assert list(np.diff([a.mean for a in found.ahead])) == pytest.approx([0.5] * 3, abs=0.2)


def test_both_directions_are_the_same_thing_mirrored() -> None:
    values = noise(25) + 0.3 * np.arange(25)
    up, down = made(values, 9.0), made(-values, -9.0, greater=True)
    assert (
        up.probability == pytest.approx(down.probability or 0, abs=0.03)
        and up.model == down.model
        and up.beyond == down.beyond
    )


def test_a_level_shift_is_found_at_its_window_and_what_was_before_is_dropped() -> None:
    values = noise(24) + np.where(np.arange(24) >= 15, 6.0, 0.0)
    found = made(values, limit=12.0)
    assert found.model == "shift" and found.shift == 16
    assert found.ahead[0].mean == pytest.approx(6.0, abs=0.8)
    assert made(noise(24)).shift is None


def test_a_season_is_predicted_once_it_was_seen_twice() -> None:
    at = np.arange(24)
    found = made(noise(24) * 0.5 + 4 * np.sin(2 * np.pi * at / 6), horizon=6, season=6)
    assert [a.mean for a in found.ahead] == pytest.approx(list(4 * np.sin(2 * np.pi * np.arange(24, 30) / 6)), abs=1.0)
    assert "with a season" in found.because


@pytest.mark.parametrize(
    ("windows", "season", "missing"), [(0, None, MINIMUM), (1, None, MINIMUM - 1), (MINIMUM - 1, None, 1), (11, 6, 1)]
)
def test_too_little_history_is_no_forecast_and_says_how_much_is_missing(
    windows: int, season: int | None, missing: int
) -> None:
    found = made(noise(windows), season=season)
    assert not found.valid and found.missing == missing and found.probability is None and found.ahead == ()
    assert f"{missing} more" in found.reason


def test_enough_history_is_enough() -> None:
    assert made(noise(MINIMUM)).valid and made(noise(12), season=6).valid


def test_old_windows_do_not_stand_for_new_ones() -> None:
    values = series(noise(20))
    assert forecast(values, 8.0, False, 4, None, 0, number=20 + STALE).valid
    stale = forecast(values, 8.0, False, 4, None, 0, number=20 + STALE + 1)
    assert not stale.valid and "the newest windows were not observed" in stale.reason and stale.missing == 0
    late = forecast(values, 8.0, False, 4, None, 0, number=25)
    assert late.ahead[0].window == 26, "windows to come begin after the newest one"


def test_what_it_costs_does_not_grow_with_history() -> None:
    values = noise(1000)
    short, long = look_ahead(series(values[-60:], first=941), 4, None, 0), look_ahead(series(values), 4, None, 0)
    assert short is not None and long is not None and np.array_equal(short.paths, long.paths)


def test_a_larger_error_makes_a_wider_fan() -> None:
    one, two = (forecast(series(noise(20), e), 8.0, False, 4, None, 0).ahead[3] for e in (1.0, 3.0))
    assert two.high - two.low > 1.8 * (one.high - one.low)


@pytest.mark.parametrize(
    "values",
    [np.full(10, 0.3), np.r_[np.full(9, 0.3), 0.9], np.linspace(0, 1e-9, 10), np.linspace(0, 1e9, 10)],
    ids=["constant", "one jump", "tiny", "huge"],
)
@pytest.mark.parametrize("error", [0.0, 1e-12, 1.0])
def test_odd_series_give_finite_numbers(values: np.ndarray, error: float) -> None:
    found = forecast(series(values, error), 0.5, False, 4, None, 0)
    assert found.valid and np.isfinite([(a.mean, a.low, a.high) for a in found.ahead]).all()
    assert sum(found.weights.values()) == pytest.approx(1.0) and found.farthest == FARTHEST


def test_noise_far_beyond_the_sampling_error_is_taken_for_noise() -> None:
    """Windows that differ by far more than their rows explain, without a way: the fan must be of that size."""
    found = forecast(series(noise(40), 0.02), 50.0, False, 4, None, 0)
    assert 1.8 < found.ahead[3].high - found.ahead[3].low < 5


def test_a_seed_decides_and_json_brings_it_back() -> None:
    values = series(noise(12))
    first, again, other = (forecast(values, 2.0, False, 4, None, s) for s in (1, 1, 2))
    assert first == again and first != other
    assert Forecast.model_validate_json(first.model_dump_json()) == first


def test_windows_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="give them in ascending order"):
        forecast([*series(noise(8)), *series(noise(8))], 2.0, False, 4, None, 0)
    with pytest.raises(ValidationError):
        Observation(window=1, value=float("nan"), error=1.0, rows=1, realized=True)


def late(n: int, unlabelled: int, bias: float, seed: int = 0, spread: float = 1.0) -> list[Observation]:
    """A level of 0; labels of all but the newest windows are known, and estimates are too high by ``bias``."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        real, guess = rng.normal(), bias + spread * rng.normal()
        known = i < n - unlabelled
        rows.append(
            Observation(
                window=i + 1,
                value=real if known else guess,
                error=1.0,
                rows=2000,
                realized=known,
                estimate=guess if known else None,
                estimate_error=1.0 if known else None,
            )
        )
    return rows


def test_the_estimators_bias_is_learned_and_taken_off() -> None:
    found = forecast(late(24, 4, 6.0), 8.0, False, 4, None, 0)
    assert found.bias == pytest.approx(6.0, abs=0.7) and found.realized == 20
    assert found.ahead[0].mean == pytest.approx(0.0, abs=0.8) and found.shift is None
    believed = forecast([o.model_copy(update={"estimate": None}) for o in late(24, 4, 6.0)], 8.0, False, 4, None, 0)
    assert believed.bias is None and believed.ahead[0].mean > 3, "with no pair to learn from, an estimate is believed"


def test_an_estimator_that_was_off_is_trusted_less() -> None:
    (bias, unsure), spread, learned = estimate_error(late(30, 4, 0.0, spread=4.0))
    assert learned and spread > 3 and abs(bias) < 2 and unsure < spread
    assert estimate_error(late(5, 4, 3.0)) == ((0.0, 0.0), 0.0, False)
