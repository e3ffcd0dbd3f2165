"""When a series of windows will cross its limit: the fan of what is to come, and the chance of a breach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.science.monitors.forecast import state_space as models
from tasks.spec.forecast import Ahead, Forecast, Observation
from tasks.spec.wording import plural

MINIMUM = 6
"""Observed windows without which there is no forecast."""
CYCLES = 2
"""Whole cycles that a season must have been seen for."""
NEWEST = 60
"""Windows that a forecast looks back at, or three cycles where that is more; so its cost does not grow with history."""
EDGE = 2
"""Windows at either end of the series at which no break is looked for, so that a break is no single window."""
STALE = 8
"""Windows without an observation after which nothing is said."""
PATHS = 2000
FARTHEST = 26
LOW, HIGH = 0.1, 0.9
PAIRS = 3
"""Windows with an estimate and labels that it takes to learn the estimator's own error."""
NAMES = {
    "steady": "a level that stays",
    "walk": "a level that wanders",
    "trend": "a trend",
    "shift": "a level that shifted once",
}


@dataclass(frozen=True)
class Future:
    """(paths, farthest) values that may be shown in the windows after ``last``, and the models they come from."""

    last: int
    paths: np.ndarray
    weights: dict[str, float]
    shift: int | None
    bias: float | None
    season: bool


def needed(season: int | None) -> int:
    """Observed windows that a forecast needs."""
    return max(MINIMUM, CYCLES * (season or 0))


def looked_back(season: int | None) -> int:
    """Windows, up to the newest, that a forecast rests on at most."""
    return max(NEWEST, 3 * (season or 0))


def forecast(
    series: Sequence[Observation],
    limit: float,
    greater_is_better: bool,
    horizon: int,
    season: int | None,
    seed: int,
    subject: str = "",
    number: int | None = None,
) -> Forecast:
    """Forecast one series against one limit.

    The models are structural time series whose measurement variances are known from the windows' own intervals (Harvey
    1989; Durbin & Koopman 2012). The level is constant, a random walk, has a (damped) trend from some window on, or
    shifted once; each with a season where one is configured. Parameters and kinds are averaged over a grid by prior
    times the product of one-step-ahead predictive densities (Dawid 1984; Hoeting et al. 1999). The future is simulated
    from that posterior.

    A realized value takes the place of the estimate of its window. Estimates count with the error that past ones had,
    and their bias, which they share, is a state of its own. The fan is of values as a window shows them: the level plus
    the noise that windows of this size have had. A breach is a window whose value lies beyond the limit.

    Args:
        series: one observation a window, in order.
        horizon: windows to look ahead.
        season: windows in a cycle, where there is one.
        number: the newest window, where it comes after the last observation.

    Returns:
        The forecast, or one with a ``reason`` where there is none.
    """
    future = look_ahead(series, horizon, season, seed, number)
    return judge(series, future, limit, greater_is_better, horizon, season, seed, subject)


def look_ahead(
    series: Sequence[Observation], horizon: int, season: int | None, seed: int, number: int | None = None
) -> Future | None:
    """Fit the models to the newest part of the series and play them; None where there is too little of it.

    Raises:
        ValueError: windows are not in ascending order.
    """
    windows = [o.window for o in series]
    if any(b <= a for a, b in zip(windows, windows[1:], strict=False)):
        raise ValueError(f"the windows of a series are {windows}; give them in ascending order, each once")
    last = windows[-1] if number is None and windows else number or 0
    recent = [o for o in series if o.window > last - looked_back(season) and o.window <= last]
    if len(recent) < needed(season) or last - recent[-1].window > STALE:
        return None
    bias, spread, learned = estimate_error(recent)
    errors = _errors(recent, spread)
    unit = float(np.median(errors))
    spread_of_all = max(float(np.std([o.value for o in recent])), unit)
    inside = windows_between(recent)
    grid = models.grid(unit, spread_of_all, inside, bool(season))
    state = models.run(recent, last, grid, errors, bias, models.basis(season))
    shown = [e for o, e in zip(recent, errors, strict=True) if o.realized] or list(errors)
    paths = models.play(
        state, last, max(FARTHEST, horizon), float(np.median(shown[-MINIMUM:])), PATHS, np.random.default_rng(seed)
    )
    weights = {kind: float(state.weight[grid.kind == kind].sum()) for kind in models.PRIOR}
    seasonal = bool(season) and float(state.weight[grid.season > 0].sum()) > 0.5
    return Future(last, paths, weights, _shift(state, weights), bias[0] if learned else None, seasonal)


def windows_between(series: Sequence[Observation]) -> list[int]:
    """Windows from which the level or the slope may be another one."""
    return [o.window for o in series[EDGE : len(series) - EDGE + 1]]


def _shift(state: models.Filtered, weights: dict[str, float]) -> int | None:
    """The window from which the level is another one, where that is likelier than not.

    The odds are those of the likelihood ratio against a prior that is shared among all windows. It pays for looking at
    many places, as the penalty of a break test does. Windows before the shift then hardly count.
    """
    if weights["shift"] <= 0.5:
        return None
    at = state.grid.kind == "shift"
    places = np.unique(state.grid.since[at])
    return int(max(places, key=lambda w: state.weight[at & (state.grid.since == w)].sum()))


def estimate_error(series: Sequence[Observation]) -> tuple[tuple[float, float], float, bool]:
    """The error of past estimates.

    The bias is shrunk by one window's worth towards 0. The error of one estimate is at least what its interval says.

    Returns:
        Mean and standard deviation of the bias; the standard error of one estimate; whether they could be learned.
    """
    pairs = [(o.estimate - o.value, o.estimate_error or 0.0) for o in series if o.realized and o.estimate is not None]
    if len(pairs) < PAIRS:
        return (0.0, 0.0), 0.0, False
    off, own = np.array([d for d, _ in pairs]), np.array([e for _, e in pairs])
    n = len(pairs)
    spread = float(np.sqrt(max(off.var(ddof=1), float(np.mean(own**2)))))
    return (float(off.sum() / (n + 1)), spread / np.sqrt(n + 1)), spread, True


def _errors(series: Sequence[Observation], spread: float) -> np.ndarray:
    """(n,) standard errors; none is 0, or one window would say all."""
    own = np.array([o.error if o.realized else max(o.error, spread) for o in series])
    least = 1e-3 * float(np.std([o.value for o in series])) or 1e-9
    return np.asarray(np.maximum(own, max(0.1 * float(np.median(own)), least)))


def judge(
    series: Sequence[Observation],
    future: Future | None,
    limit: float,
    greater_is_better: bool,
    horizon: int,
    season: int | None,
    seed: int,
    subject: str = "",
) -> Forecast:
    """What played paths say about one limit."""
    base = Forecast(
        subject=subject,
        limit=limit,
        greater_is_better=greater_is_better,
        horizon=horizon,
        observations=len(series),
        realized=sum(o.realized for o in series),
        seed=seed,
    )
    if series:
        base = base.model_copy(
            update={"last": series[-1].window, "beyond": is_beyond(series[-1].value, limit, greater_is_better)}
        )
    if future is None:
        missing = max(needed(season) - len(series), 0)
        why = (
            f"{plural(len(series), 'window was', 'windows were')} observed and a forecast needs "
            f"{needed(season)}: {missing} more"
            if missing
            else "the newest windows were not observed"
        )
        return base.model_copy(update={"reason": f"no forecast: {why}", "missing": missing})
    over = future.paths < limit if greater_is_better else future.paths > limit
    come = np.maximum.accumulate(over, axis=1)
    low, high = np.quantile(future.paths[:, :horizon], [LOW, HIGH], axis=0)
    ahead = tuple(
        Ahead(
            window=future.last + 1 + i,
            mean=float(future.paths[:, i].mean()),
            low=float(low[i]),
            high=float(high[i]),
            breach=float(over[:, i].mean()),
            breached=float(come[:, i].mean()),
        )
        for i in range(horizon)
    )
    shares = come.mean(axis=0)
    times = [next((i + 1 for i, share in enumerate(shares) if share >= level), None) for level in (LOW, 0.5, HIGH)]
    most, because = _because(future)
    return base.model_copy(
        update={
            "ahead": ahead,
            "probability": ahead[-1].breached,
            "time_low": times[0],
            "time": times[1],
            "time_high": times[2],
            "farthest": len(shares),
            "model": most,
            "because": because,
            "weights": future.weights,
            "shift": future.shift,
            "bias": future.bias,
        }
    )


def is_beyond(value: float, limit: float, greater_is_better: bool) -> bool:
    return value < limit if greater_is_better else value > limit


def _because(future: Future) -> tuple[str, str]:
    order = sorted(future.weights, key=lambda kind: -future.weights[kind])
    shares = ", ".join(f"{NAMES[kind]} {future.weights[kind]:.0%}" for kind in order)
    season = "; with a season" if future.season else ""
    return order[0], f"weight by how well each kind predicted the next window: {shares}{season}"
