"""Does what should arrive arrive: predictions, outcomes, in the usual number, once each, under the known columns and in
order?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd
from scipy.stats import binom, t

from tasks.science.monitors.feed.common import CLOCK_SECONDS, feed_finding, in_utc, parsed_time, span
from tasks.science.monitors.feed.silence import silence_findings
from tasks.spec.arrivals import FeedFacts
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

TESTS = 3
"""Volume, delay of outcomes and duplicates are tested; each gets an equal share of alpha (Bonferroni)."""
HISTORY = 5
"""Windows before that are needed to know how much the volume, or the delay, varies anyway."""
REMEMBERED = 60
"""Windows before that are looked at."""
SLOWER = 1.0
"""Relative rise of the delay of outcomes that is a finding."""
SUBSAMPLES = 5


def feed_findings(
    config: ModelConfig,
    facts: FeedFacts,
    history: Sequence[FeedFacts],
    now: datetime,
    alpha: float,
    reference_duplicates: float = 0.0,
) -> list[Finding]:
    """Everything about how a window's rows came.

    Args:
        config: of the model; ``monitoring.feed`` says what is watched.
        facts: of the window.
        history: of the windows before, oldest first; each as it was at the age that this one has now, for outcomes go
            on coming.
        now: the present.
        alpha: chance of an alarm where nothing changed, shared among what is tested; the rest is not left to chance.
        reference_duplicates: what :func:`duplicates_expected` gives.
    """
    first = min(
        (text for text in (h.first_time for h in (*history, facts)) if parsed_time(text) is not None),
        key=lambda text: parsed_time(text) or in_utc(now),
        default=None,
    )
    silent = silence_findings(config, facts.newest_prediction, facts.newest_outcome, now, first)
    if facts.rows == 0:
        empty = feed_finding(
            "window",
            None,
            0,
            False,
            "the window has no rows, so nothing is known of its volume, delay, duplicates or columns",
        )
        return [*silent, empty]
    return [
        *silent,
        _volume(config, facts, history, alpha / TESTS),
        _delay(facts, history, alpha / TESTS),
        _duplicates(config, facts, reference_duplicates, alpha / TESTS),
        *_schema(config, facts),
        *_clock(facts, now),
    ]


def _volume(config: ModelConfig, facts: FeedFacts, history: Sequence[FeedFacts], alpha: float) -> Finding:
    """Rows per hour against the windows before.

    Counts are taken as Gamma-Poisson (negative binomial, Greenwood & Yule 1920). A window's log rate then varies by
    about ``1 / rows`` (Poisson) and by the overdispersion between windows, which is estimated from the history
    (moments). Where nothing changed, the new window falls into Student's prediction interval (Hahn 1970).
    """
    change = config.monitoring.feed.volume_change
    if change is None:
        return feed_finding(
            "volume",
            facts.rows_per_hour,
            facts.rows,
            False,
            "the volume is not watched, for monitoring.feed.volume_change is not set",
        )
    before = [h for h in history[-REMEMBERED:] if _positive(h.rows_per_hour)]
    if not _positive(facts.rows_per_hour):
        return feed_finding(
            "volume",
            None,
            facts.rows,
            False,
            "the rows of the window all have one time, or times that go back, so a volume per hour is not known",
        )
    if len(before) < HISTORY:
        return feed_finding(
            "volume",
            facts.rows_per_hour,
            facts.rows,
            False,
            (
                f"{facts.rows_per_hour:,.1f} rows an hour; {plural(len(before), 'window')} before "
                f"{'has' if len(before) == 1 else 'have'} a volume and {HISTORY} "
                "are needed to judge it"
            ),
        )
    rates = np.array([h.rows_per_hour for h in before], float)
    usual, low, high, p_value = _predicted(
        float(facts.rows_per_hour or 0.0), rates, np.array([h.rows for h in before], float), facts.rows, alpha
    )
    ratio = float(facts.rows_per_hour or 0.0) / usual
    alarm = bool(p_value <= alpha and (ratio > 1 + change or ratio < 1 / (1 + change)))
    sentence = (
        f"{facts.rows_per_hour:,.1f} rows an hour, {ratio:.2f} times the {usual:,.1f} of the {len(before)} windows "
        f"before ({low:,.1f} to {high:,.1f} would be usual)"
    )
    return feed_finding(
        "volume",
        facts.rows_per_hour,
        facts.rows,
        alarm,
        sentence,
        reference=usual,
        limit=usual / (1 + change) if ratio < 1 else usual * (1 + change),
        low=low,
        high=high,
    )


def _delay(facts: FeedFacts, history: Sequence[FeedFacts], alpha: float) -> Finding:
    """The 90th percentile of the outcomes' delay against the windows before: Student's prediction bound of its
    logarithm (Hahn 1970).

    Only a rise is an alarm: a young window has just its quick outcomes, and looks fast.
    """
    before = [
        float(h.label_delay_p90)
        for h in history[-REMEMBERED:]
        if h.label_delay_p90 is not None and h.label_delay_p90 > 0
    ]
    if facts.label_delay_p90 is None:
        return feed_finding(
            "delay of outcomes",
            None,
            facts.rows,
            False,
            "no row of the window has an outcome yet, so their delay is not known",
        )
    told = (
        f"nine outcomes of ten came within {span(facts.label_delay_p90)}, half within "
        f"{span(facts.label_delay_median or 0.0)}, of those that have come"
    )
    if facts.label_delay_p90 < 0:
        return feed_finding(
            "delay of outcomes",
            facts.label_delay_p90,
            facts.rows,
            True,
            "outcomes are dated before their predictions: a clock is wrong",
        )
    if len(before) < HISTORY:
        return feed_finding(
            "delay of outcomes",
            facts.label_delay_p90,
            facts.rows,
            False,
            (
                f"{told}; {plural(len(before), 'window')} before {'has' if len(before) == 1 else 'have'} a delay and "
                f"{HISTORY} are needed to judge it"
            ),
        )
    usual, _, high, p_value = _predicted(
        max(facts.label_delay_p90, 1e-3), np.array(before), np.full(len(before), np.inf), np.inf, 2 * alpha
    )
    alarm = bool(p_value <= 2 * alpha and facts.label_delay_p90 > usual * (1 + SLOWER))
    return feed_finding(
        "delay of outcomes",
        facts.label_delay_p90,
        facts.rows,
        alarm,
        f"{told}; {span(usual)} is usual, up to {span(high)}",
        reference=usual,
        limit=usual * (1 + SLOWER),
    )


def _predicted(
    value: float, before: np.ndarray, rows: np.ndarray, mine: float, alpha: float
) -> tuple[float, float, float, float]:
    """Usual value, prediction interval at ``1 - alpha`` and two-sided p-value, on the log scale."""
    logs, poisson = np.log(before), float(np.mean(1 / rows))
    count = len(logs)
    between = max(float(np.var(logs, ddof=1)) - poisson, 0.0)
    # Where the history varies less than counts do by chance alone, the chance is what is believed.
    spread = np.sqrt((between + poisson) / count + between + 1 / mine) + 1e-12
    middle = float(logs.mean())
    width = float(t.ppf(1 - alpha / 2, count - 1)) * spread
    p_value = float(2 * t.sf(abs(np.log(value) - middle) / spread, count - 1))
    return float(np.exp(middle)), float(np.exp(middle - width)), float(np.exp(middle + width)), p_value


def _duplicates(config: ModelConfig, facts: FeedFacts, expected: float, alpha: float) -> Finding:
    """The share of repeated rows against the reference's and the configured excess, by the exact binomial test."""
    limit = min(expected + config.monitoring.feed.duplicates, 1.0)
    repeated = round(facts.duplicate_share * facts.rows)
    p_value = float(binom.sf(repeated - 1, facts.rows, limit)) if limit < 1 else 1.0
    sentence = (
        f"{facts.duplicate_share:.1%} of {plural(facts.rows, 'row')} repeat another one, {expected:.1%} of as "
        "many rows of "
        "the reference"
    )
    return feed_finding(
        "duplicates",
        facts.duplicate_share,
        facts.rows,
        bool(facts.duplicate_share > limit and p_value <= alpha),
        sentence,
        reference=expected,
        limit=limit,
    )


def duplicate_share(rows: pd.DataFrame) -> float:
    """Share of (n, inputs) rows that repeat an earlier one; 0 of none."""
    return float(rows.duplicated().mean()) if len(rows) else 0.0


def duplicates_expected(config: ModelConfig, reference: pd.DataFrame, rows: int, seed: int) -> float:
    """Share of repeated rows among as many rows of the reference, over five subsamples: of few values, more rows repeat
    more.

    A reference of fewer rows than ``rows`` is taken whole, which errs to the low side.
    """
    inputs = reference[[c.name for c in config.inputs if c.name in reference]]
    if inputs.empty or rows == 0:
        return 0.0
    if rows >= len(inputs):
        return duplicate_share(inputs)
    return float(np.mean([duplicate_share(inputs.sample(rows, random_state=seed + i)) for i in range(SUBSAMPLES)]))


# -- what is known for sure -----------------------------------------------------------------------------------------


def _schema(config: ModelConfig, facts: FeedFacts) -> list[Finding]:
    known, there = {c.name: c for c in config.inputs}, set(facts.columns)
    strange = sorted(there - set(known))
    lacking = sorted(name for name, c in known.items() if name not in there and not c.nullable)
    silent = sorted(name for name, c in known.items() if name not in there and c.nullable)
    findings = []
    if strange:
        findings.append(
            feed_finding(
                "columns",
                float(len(strange)),
                facts.rows,
                True,
                (
                    f"{', '.join(strange)} came and {'is no input' if len(strange) == 1 else 'are no inputs'} of "
                    "this version"
                ),
            )
        )
    if lacking:
        findings.append(
            feed_finding(
                "columns",
                float(len(lacking)),
                facts.rows,
                True,
                f"{', '.join(lacking)} did not come in any row of the window",
            )
        )
    if silent:
        findings.append(
            feed_finding(
                "columns",
                float(len(silent)),
                facts.rows,
                False,
                (
                    f"{', '.join(silent)} did not come in any row of the window; "
                    f"{'it' if len(silent) == 1 else 'they'} may be missing"
                ),
            )
        )
    if not findings:
        findings.append(
            feed_finding(
                "columns",
                0.0,
                facts.rows,
                False,
                f"{'the input column' if len(known) == 1 else f'all {len(known)} input columns'} came, and no other",
            )
        )
    if len(facts.versions) > 1:
        findings.append(
            feed_finding(
                "versions",
                float(len(facts.versions)),
                facts.rows,
                True,
                f"the window holds answers of {', '.join(facts.versions)}; a window is of one version",
            )
        )
    if facts.rows_missing:
        sentence = (
            f"{plural(facts.rows_missing, 'row')} of the window {'is' if facts.rows_missing == 1 else 'are'} not "
            "in the log any more; the numbers speak of the "
            f"{facts.rows:,} that are left"
        )
        findings.append(feed_finding("rows", float(facts.rows_missing), facts.rows, False, sentence))
    return findings


def _clock(facts: FeedFacts, now: datetime) -> list[Finding]:
    first, last = parsed_time(facts.first_time), parsed_time(facts.last_time)
    if first is None or last is None:
        return [
            feed_finding(
                "clock",
                None,
                facts.rows,
                True,
                f"the times of the window, {facts.first_time!r} to {facts.last_time!r}, cannot be read",
            )
        ]
    ahead = (max(first, last) - in_utc(now)).total_seconds()
    if ahead > CLOCK_SECONDS:
        return [
            feed_finding(
                "clock",
                ahead,
                facts.rows,
                True,
                f"rows of the window are dated {span(ahead)} after now: a clock is wrong",
                limit=CLOCK_SECONDS,
            )
        ]
    back = facts.clock_largest_back_seconds
    sentence = (
        f"times go back {plural(facts.clock_back_steps, 'time')} between rows, by {span(back)} at most"
        if facts.clock_back_steps
        else "times never go back between rows"
    )
    return [
        feed_finding(
            "clock",
            back,
            facts.rows,
            back > CLOCK_SECONDS,
            sentence + (": a clock was set, or rows were logged late" if back > CLOCK_SECONDS else ""),
            limit=CLOCK_SECONDS,
        )
    ]


def _positive(rate: float | None) -> bool:
    return rate is not None and bool(np.isfinite(rate)) and rate > 0
