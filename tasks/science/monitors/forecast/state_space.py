"""State-space models of a series of windows, filtered side by side: exact likelihoods and what they say of the
state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from tasks.spec.forecast import Observation

PRIOR = {"steady": 0.25, "walk": 0.4, "trend": 0.22, "shift": 0.13}
"""Weight of each kind of model before anything was seen."""
SEASON_PRIOR = 0.5
HARMONICS = 12
"""Columns of the season's basis at most: a cycle of up to 13 windows may have any shape, a longer one is smooth."""
EXCESS = {1.0: 0.1, 2.5: 0.05}
"""Noise of a window beyond the sampling of its rows, in units of that, and its prior; most of the prior is on none."""
STEPS = (0.15, 0.3, 0.6, 1.2, 2.5)
SLOPES = (0.1, 0.3, 1.0)
DAMPING = (1.0, 0.85)
RESTLESS = {0.0: 0.8, 0.4: 0.2}
"""Own change of a level that has a trend or a shift, and its prior."""
DENSE = 12
"""Newest windows at each of which a trend may have begun; before them it is every third."""
LEVEL, SLOPE, BIAS, SEASON = 0, 1, 2, 3
"""Places in the state; the season's come last."""


@dataclass(frozen=True)
class Grid:
    """(g,) models side by side: kind, log prior, and parameters in the series' own unit."""

    kind: np.ndarray
    prior: np.ndarray
    step: np.ndarray
    """Standard deviation of the level's own change from window to window."""
    slope: np.ndarray
    """Prior standard deviation of the slope at its start."""
    damping: np.ndarray
    excess: np.ndarray
    season: np.ndarray
    since: np.ndarray
    """First window after a break of the level (shift) or of the slope (trend); -1: none."""


@dataclass(frozen=True)
class Filtered:
    """The state after the last window: weights (g,), means (g, d), covariances (g, d, d)."""

    grid: Grid
    weight: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    basis: np.ndarray
    """(season, d - 3); one row of zeros without a season."""


def grid(unit: float, spread: float, breaks: Sequence[int], season: bool) -> Grid:
    """All models, each with its share of the prior.

    Args:
        unit: the measurement noise of a window.
        spread: standard deviation of the series, which bounds what may move.
        breaks: windows from which the level or the slope may be another.
    """
    far = max(spread / unit, 1.0)
    kind, share, step, slope, damping, excess, since = _layout(
        tuple(_up_to(STEPS, 2 * far)), tuple(_up_to(SLOPES, far)), tuple(_up_to(tuple(EXCESS), 2 * far)), tuple(breaks)
    )
    seasons = (
        [(0.0, 1 - SEASON_PRIOR), (1.0, SEASON_PRIOR / 2), (max(far / 2, 3.0), SEASON_PRIOR / 2)]
        if season
        else [(0.0, 1.0)]
    )
    prior = np.concatenate([np.log(share) + np.log(p) for _, p in seasons])
    many = [np.tile(c, len(seasons)) for c in (kind, step * unit, slope * unit, damping, excess, since)]
    return Grid(
        many[0],
        prior,
        many[1],
        many[2],
        many[3],
        many[4],
        np.repeat([s for s, _ in seasons], len(kind)) * unit,
        many[5],
    )


@lru_cache(maxsize=64)
def _layout(
    steps: tuple[float, ...], slopes: tuple[float, ...], excess: tuple[float, ...], breaks: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    """Kind, share of the prior, step, slope, damping, excess noise and first window of every model, in units of the
    noise."""
    more = [e for e in excess if e not in EXCESS]
    noise = {0.0: 1 - sum(EXCESS.values())} | EXCESS | {e: sum(EXCESS.values()) / len(more) for e in more}
    whole = sum(noise.values())
    rows: list[tuple[str, float, float, float, float, float, int]] = []

    def add(kind: str, share: float, parameters: Sequence[tuple[float, float, int]], own: dict[float, float]) -> None:
        for (e, likely), (step, o) in product(noise.items(), own.items()):
            rows.extend(
                (kind, share * likely / whole * o / len(parameters), step, slope, damping, e, since)
                for slope, damping, since in parameters
            )

    nothing = [(0.0, 1.0, -1)]
    add("steady", PRIOR["steady"], nothing, {0.0: 1.0})
    add("walk", PRIOR["walk"], nothing, {s: 1 / len(steps) for s in steps})
    begin = PRIOR["trend"] / 2 if breaks else PRIOR["trend"]
    add("trend", begin, [(s, d, -1) for s, d in product(slopes, DAMPING)], RESTLESS)
    if breaks:
        # Where an old trend began to the window does not matter for what comes; where a level shifted is reported.
        bends = [*breaks[:-DENSE:3], *breaks[-DENSE:]]
        add("trend", begin, [(s, 1.0, b) for s, b in product(slopes, bends)], RESTLESS)
        add("shift", PRIOR["shift"], [(0.0, 1.0, b) for b in breaks], RESTLESS)
    return tuple(np.array(c) for c in zip(*rows, strict=True))


def _up_to(values: tuple[float, ...], far: float) -> list[float]:
    """The values up to ``far``, the first in any case, and on at the same pace where they do not reach it."""
    found, pace = [v for v in values if v <= far or v == values[0]], values[-1] / values[-2]
    while found[-1] >= values[-1] and found[-1] * pace <= far:
        found.append(found[-1] * pace)
    return found


def basis(season: int | None) -> np.ndarray:
    """(season, k) orthogonal columns that sum to zero over a cycle (Fourier), each of mean square 1."""
    if not season:
        return np.zeros((1, 0))
    at = 2 * np.pi * np.arange(season) / season
    waves = [
        f(at * k) * (np.sqrt(2) if 2 * k < season else 1.0)
        for k in range(1, season // 2 + 1)
        for f in (np.cos, np.sin)
        if not (2 * k == season and f is np.sin)
    ]
    return np.column_stack(waves[: min(season - 1, HARMONICS)])


def run(
    series: Sequence[Observation],
    until: int,
    models: Grid,
    errors: np.ndarray,
    bias: tuple[float, float],
    waves: np.ndarray,
) -> Filtered:
    """Kalman filter of every model over the series (Durbin & Koopman 2012, chapter 4), up to the window ``until``.

    Weights are prior times the product of the one-step-ahead predictive densities, which is the exact likelihood
    (Schweppe 1965; prequential, Dawid 1984). Windows without an observation only add to what is not known.

    Args:
        errors: (n,) standard errors of the observations, each of the level alone.
        bias: mean and standard deviation of what an estimate adds to the level, before the series.
    """
    values = np.array([o.value for o in series])
    unit, spread = float(np.median(errors)), float(np.ptp(values))
    size, width = len(models.kind), SEASON + waves.shape[1]
    mean, cov = (
        np.zeros((width, size)),
        np.zeros((width, width, size)),
    )  # models last: what is done to all is one stretch of memory
    mean[LEVEL], cov[LEVEL, LEVEL] = values[0], (10 * (spread + unit)) ** 2
    mean[BIAS], cov[BIAS, BIAS] = bias[0], bias[1] ** 2
    cov[SLOPE, SLOPE] = np.where(models.since < 0, models.slope**2, 0.0)
    for k in range(SEASON, width):
        cov[k, k] = models.season**2 / waves.shape[1]
    jump, likely = max(3 * unit, 1.5 * float(values.std())) ** 2, models.prior.copy()
    seen = {o.window: (o, e) for o, e in zip(series, errors, strict=True)}
    is_shift, excess = models.kind == "shift", 1 + models.excess**2
    for window in range(series[0].window, until + 1):
        if window > series[0].window:
            _step(mean, cov, models)
            begins = models.since == window
            cov[LEVEL, LEVEL] += np.where(begins & is_shift, jump, 0.0)
            cov[SLOPE, SLOPE] += np.where(begins & ~is_shift, models.slope**2, 0.0)
        if window in seen:
            o, error = seen[window]
            look = np.concatenate([[1.0, 0.0, 0.0 if o.realized else 1.0], waves[window % len(waves)]])
            gain = np.tensordot(look, cov, 1)
            total = look @ gain + error**2 * excess
            off = o.value - look @ mean
            likely -= 0.5 * (np.log(2 * np.pi * total) + off**2 / total)
            scaled = gain / total
            mean += scaled * off
            cov -= gain[:, None] * scaled[None, :]
    weight = np.exp(likely - likely.max())
    return Filtered(models, weight / weight.sum(), mean.T, cov.transpose(2, 0, 1), waves)


def _step(mean: np.ndarray, cov: np.ndarray, models: Grid) -> None:
    """One window on: the level takes the slope along, which is damped (Gardner & McKenzie 1985)."""
    mean[LEVEL] += mean[SLOPE]
    mean[SLOPE] *= models.damping
    cov[LEVEL] += cov[SLOPE]
    cov[:, LEVEL] += cov[:, SLOPE]
    cov[SLOPE] *= models.damping
    cov[:, SLOPE] *= models.damping
    cov[LEVEL, LEVEL] += models.step**2


def play(state: Filtered, last: int, windows: int, error: float, paths: int, rng: np.random.Generator) -> np.ndarray:
    """(paths, windows) values that labels may show after the window ``last``, measurement noise included.

    Models are drawn in proportion to their weights (stratified), then the state, then the way it goes.
    """
    place = (np.arange(paths) + rng.random(paths)) / paths
    chosen = np.minimum(np.searchsorted(np.cumsum(state.weight), place), len(state.weight) - 1)
    used, which = np.unique(chosen, return_inverse=True)
    value, vector = np.linalg.eigh(state.covariance[used])
    root = vector * np.sqrt(np.maximum(value, 0.0))[:, None, :]
    start = state.mean[chosen] + np.einsum("pij,pj->pi", root[which], rng.normal(size=(paths, state.mean.shape[1])))
    level, slope, season = start[:, LEVEL].copy(), start[:, SLOPE].copy(), start[:, SEASON:]
    g, out = state.grid, np.empty((windows, paths))
    step, damping, noise = g.step[chosen], g.damping[chosen], error * np.sqrt(1 + g.excess[chosen] ** 2)
    for i in range(windows):
        own, shown = rng.normal(size=(2, paths))
        level += slope + step * own
        slope *= damping
        out[i] = level + season @ state.basis[(last + 1 + i) % len(state.basis)] + noise * shown
    return out.T
