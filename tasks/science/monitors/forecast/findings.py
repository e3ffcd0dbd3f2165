"""Forecast findings: series from the findings of past windows, a forecast and a finding for each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.science.monitors.forecast.forecast import judge, look_ahead, looked_back
from tasks.science.stats.metrics import METRICS
from tasks.spec.evidence import Finding, WindowReport
from tasks.spec.forecast import Forecast, Observation
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

GAPS: tuple[str, ...] = ("estimated_fairness", "selection_rate")
"""Kinds of findings that are forecast beside performance: known in every window, with or without labels."""
NAMED = 4
"""Series without a forecast that are listed by name, at most."""
TWO_SIDED_95 = 2 * 1.959963984540054
"""Width of the 95 % interval that findings carry, in standard errors (Wald)."""


@dataclass(frozen=True)
class WatchedSeries:
    """One series with the limits that it must not cross."""

    subject: str
    series: tuple[Observation, ...]
    limits: tuple[float, ...]
    """In the order in which a worsening series crosses them."""
    greater_is_better: bool

    @property
    def limit(self) -> float:
        return self.limits[0]


def forecast_findings(
    config: ModelConfig, history: Sequence[WindowReport], now: Sequence[Finding], number: int, seed: int
) -> tuple[list[Finding], list[Forecast]]:
    """Forecast every watched metric and gap from the windows up to this one.

    An alarm is raised where the probability of a breach within the horizon is above
    ``monitoring.forecast.probability``. A window that is judged again keeps its first forecast, or later knowledge
    would improve the track record.

    Args:
        history: reports on the same version; a new version begins a new history. A report on window ``number`` itself
            is that window's first one.
        now: the findings of window ``number``.

    Returns:
        One finding per series, whose value is None where there is no forecast; series with too little history share
        one. One forecast per limit of a series; none for a window that is judged again.
    """
    first = next((r for r in history if r.window == number), None)
    kept = [f for f in first.findings if f.kind == "forecast"] if first else []
    if kept:
        return kept, []
    policy = config.monitoring.forecast
    findings: list[Finding] = []
    forecasts: list[Forecast] = []
    short: list[str] = []
    begins = number - looked_back(policy.season)  # of each window the first estimate counts, so it comes last
    recent = [(r.window, (*r.findings, *r.first_estimates)) for r in history if begins < r.window < number]
    for watched in watched_series(config, [*recent, (number, tuple(now))]):
        future = look_ahead(watched.series, policy.horizon, policy.season, seed, number)
        made = [
            judge(
                watched.series,
                future,
                limit,
                watched.greater_is_better,
                policy.horizon,
                policy.season,
                seed,
                watched.subject,
            )
            for limit in watched.limits
        ]
        if made[0].missing and findings:
            short.append(watched.subject)
            continue
        forecasts += made
        findings.append(_finding(made[0], watched, policy.probability))
    if short:
        sentence = (
            f"{len(short)} other series have too little history for a forecast: "
            f"{', '.join(short[:NAMED])}{', ...' if len(short) > NAMED else ''}"
        )
        findings.append(
            Finding(kind="forecast", subject="other series", value=None, rows=0, alarm=False, sentence=sentence)
        )
    return findings, forecasts


def watched_series(config: ModelConfig, windows: Iterable[tuple[int, Sequence[Finding]]]) -> list[WatchedSeries]:
    """Every series that has a limit, from the findings of windows in any order."""
    ordered = sorted(windows, key=lambda w: w[0])
    found = [
        _performance(config, metric, ordered)
        for metric in dict.fromkeys([*config.watched, *config.monitoring.metric_limits])
    ]
    names = dict.fromkeys((f.kind, f.subject) for _, findings in ordered for f in findings if f.kind in GAPS)
    found += [_gap(config, kind, subject, ordered) for kind, subject in names]
    return [w for w in found if w is not None]


def _performance(
    config: ModelConfig, metric: str, windows: list[tuple[int, Sequence[Finding]]]
) -> WatchedSeries | None:
    series: list[Observation] = []
    limit, reference = None, None
    for number, findings in windows:
        of = {f.kind: f for f in findings if f.subject == metric and f.value is not None}
        known, guessed = of.get("realized_performance"), of.get("estimated_performance")
        realized, estimated = _observed(number, known, True), _observed(number, guessed, False)
        if realized and estimated:
            realized = realized.model_copy(update={"estimate": estimated.value, "estimate_error": estimated.error})
        series += [o for o in (realized or estimated,) if o]
        newest = known or guessed
        limit, reference = (
            (newest.limit, newest.reference) if newest and newest.limit is not None else (limit, reference)
        )
    absolute = config.monitoring.metric_limits.get(metric)  # type: ignore[call-overload]
    limits = {x for x in (limit, absolute) if x is not None}
    if not limits:
        return None
    greater = (
        METRICS[metric].greater_is_better
        if metric in METRICS
        else reference is not None and limit is not None and limit < reference
    )
    return WatchedSeries(metric, tuple(series), tuple(sorted(limits, reverse=greater)), greater)


def _gap(
    config: ModelConfig, kind: str, subject: str, windows: list[tuple[int, Sequence[Finding]]]
) -> WatchedSeries | None:
    found = [
        (number, f)
        for number, findings in windows
        for f in findings
        if (f.kind, f.subject) == (kind, subject) and f.value is not None
    ]
    series = tuple(o for number, f in found if (o := _observed(number, f, kind == "selection_rate")) is not None)
    if not series:
        return None
    newest = found[-1][1]
    limit, greater = (
        newest.limit,
        newest.limit is not None and newest.reference is not None and newest.limit < newest.reference,
    )
    if limit is None and kind == "selection_rate" and newest.reference is not None and newest.value is not None:
        # It may move to either side; the one it has moved to is the one that it may reach.
        change, greater = 1 + config.monitoring.selection_change, newest.value < newest.reference
        limit = newest.reference / change if greater else newest.reference * change
    if limit is None:
        return None
    return WatchedSeries(f"{kind.replace('_', ' ')} of {subject}", series, (limit,), greater)


def _observed(number: int, finding: Finding | None, realized: bool) -> Observation | None:
    """A finding with its standard error; one that has no interval says too little."""
    if finding is None or finding.value is None or finding.low is None or finding.high is None:
        return None
    if not all(map(math.isfinite, (finding.value, finding.low, finding.high))) or finding.high < finding.low:
        return None
    return Observation(
        window=number,
        value=finding.value,
        error=(finding.high - finding.low) / TWO_SIDED_95,
        rows=finding.rows,
        realized=realized,
    )


def _finding(made: Forecast, watched: WatchedSeries, probability: float) -> Finding:
    alarm = made.valid and made.probability is not None and made.probability > probability
    rows = watched.series[-1].rows if watched.series else 0
    return Finding(
        kind="forecast",
        subject=made.subject,
        value=made.probability,
        limit=probability,
        rows=rows,
        alarm=alarm,
        sentence=forecast_sentence(made),
    )


def forecast_sentence(made: Forecast) -> str:
    """The forecast as a person reads it."""
    if not made.valid:
        return f"{made.subject}: {made.reason}"
    chance = f"probability within {plural(made.horizon, 'window')} {made.probability:.2f}"
    if made.beyond:
        return f"{made.subject} is beyond {made.limit:.3f} already; {chance}"
    if made.time is None or (made.probability or 0.0) < 0.1:
        early = f"; at the earliest in {made.time_low} (10 %)" if made.time_low else ""
        return (
            f"{made.subject} is not likely to cross {made.limit:.3f} in the next "
            f"{plural(made.horizon if made.time else made.farthest, 'window')}{early}; {chance}"
        )
    until = f"{made.time_low} to {made.time_high}" if made.time_high else f"{made.time_low} or more"
    since = f"; its level shifted at window {made.shift}" if made.shift is not None else ""
    return (
        f"{made.subject} is likely to cross {made.limit:.3f} in {plural(made.time, 'window')} ({until}, 80 %); "
        f"{chance}{since}"
    )
