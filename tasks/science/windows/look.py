"""One analysis window against the reference of the version that answered it: every finding, alarm or not, and the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from tasks.science.models.embeddings import embed
from tasks.science.monitors.drift.attribution import attribution_findings
from tasks.science.monitors.drift.findings import KINDS as OF_PROFILES
from tasks.science.monitors.drift.findings import drift_findings
from tasks.science.monitors.drift.multivariate import multivariate_findings
from tasks.science.monitors.feed.data_quality import quality_findings
from tasks.science.monitors.feed.findings import duplicates_expected, feed_findings
from tasks.science.monitors.forecast.findings import forecast_findings
from tasks.science.monitors.groupings.findings import grouping_findings
from tasks.science.monitors.groupings.reference import GroupReference, nearest
from tasks.science.monitors.performance.findings import performance_findings
from tasks.science.monitors.profiles.profile import Profile
from tasks.science.rules.live import RuleBreak, live_rule_findings
from tasks.science.stats.multiplicity import levels
from tasks.science.windows.reference import EXPLAINED, Reference
from tasks.science.windows.review import review_queue
from tasks.spec.arrivals import FeedFacts
from tasks.spec.evidence import Finding, FindingKind, Plot, WindowReport
from tasks.spec.forecast import Forecast
from tasks.spec.groupings import EmbeddingMap, GroupSummary
from tasks.spec.model import ModelConfig
from tasks.spec.review import ReviewItem
from tasks.spec.rules import ExpertRules

TESTED: tuple[FindingKind, ...] = (
    "realized_performance", "estimated_performance", "estimated_fairness", "estimator", "prediction_drift", "selection_rate", "data_quality", "feed",
    "expert_rule", "attribution_drift", "missingness", "new_category", "out_of_range", "data_drift", "multivariate_drift", "grouping",
)  # fmt: skip
"""Kinds of findings among which ``monitoring.alpha`` is shared in equal parts (Bonferroni); a forecast has a limit of its own."""
OF_LABELS: tuple[FindingKind, ...] = (
    "realized_performance",
    "estimated_performance",
    "estimated_fairness",
    "estimator",
    "forecast",
)
"""What is asked again when labels come; the rest was said when the window was new."""


@dataclass(frozen=True)
class WindowInput:
    """All that is known of one window.

    ``rows`` (n, columns): raw inputs, scores, ``_id``, and ``_label`` where it is known; a random sample where the window has more than
    ``monitoring.sampled_rows``. ``profile``: of all rows. ``facts``: how they came, and of the windows before. ``checks``: what
    the expectations said. ``history``: reports on the same version, one on this very window included where it is looked at again.
    ``past``: p-values of the windows before, oldest first.
    """

    number: int
    rows: pd.DataFrame
    profile: Profile
    facts: FeedFacts
    facts_before: Sequence[FeedFacts]
    checks: Sequence[dict[str, Any]]
    rules: ExpertRules | None
    pipeline: Pipeline
    predict: Callable[[pd.DataFrame], np.ndarray]
    explain: Callable[[pd.DataFrame, int], pd.DataFrame]
    """Attributions (r, features) of raw rows under a seed."""
    history: Sequence[WindowReport]
    past: Sequence[Mapping[str, float]]
    recent: pd.DataFrame
    """Labelled rows of the version's last windows before this one, which may contradict what is estimated."""
    now: datetime


@dataclass(frozen=True)
class WindowResult:
    """What one look gives."""

    findings: tuple[Finding, ...]
    plots: tuple[Plot, ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    map: EmbeddingMap | None = None
    groups: GroupSummary | None = None
    review: tuple[ReviewItem, ...] = ()


def examine_window(config: ModelConfig, reference: Reference, window_input: WindowInput) -> WindowResult:
    """Compare a window with the reference.

    Where nothing changed, any alarm at all has at most the chance ``monitoring.alpha``: each kind in :data:`TESTED` gets an
    equal part of it and shares that among its columns, metrics, groups or rules. What cannot be computed is a
    finding without a value that says why.
    """
    silent = _too_little(config, reference, window_input)
    if silent is not None:
        return WindowResult((*_of_the_feed(config, reference, window_input), silent))
    alpha, seed = share(config), config.seed
    by_kind = levels(alpha, window_input.past, OF_PROFILES)
    drifted = drift_findings(config, reference.drift, window_input.profile, reference.importance, by_kind)
    together = multivariate_findings(config, reference.rows, window_input.rows, alpha, seed)
    rules, plots, breaks = _rules(config, reference, window_input, alpha)
    grouped, summary, drawn, group = _grouped(config, reference, window_input, alpha)
    findings = [
        *_of_the_feed(config, reference, window_input),
        *drifted,
        *together,
        *rules,
        *grouped,
        *_performance(config, reference, window_input),
    ]
    coming, forecasts = forecast_findings(config, window_input.history, findings, window_input.number, seed)
    queue = review_queue(config, reference.rows, window_input.rows, window_input.number, breaks, None, group, seed)
    return WindowResult((*findings, *coming), tuple(plots), tuple(forecasts), drawn, summary, tuple(queue))


def judge_again(
    config: ModelConfig, reference: Reference, window_input: WindowInput, before: WindowReport
) -> WindowResult:
    """The window once its labels came: performance anew; what needs no labels stays as it was seen, and so do its pictures."""
    if _too_little(config, reference, window_input) is not None:
        return WindowResult(before.findings, (), before.forecasts, None, before.groups, before.review)
    kept = [f for f in before.findings if f.kind not in OF_LABELS]
    findings = [*kept, *_performance(config, reference, window_input)]
    coming, _ = forecast_findings(config, window_input.history, findings, window_input.number, config.seed)
    return WindowResult((*findings, *coming), (), before.forecasts, None, before.groups, before.review)


def share(config: ModelConfig) -> float:
    """The part of ``monitoring.alpha`` that one kind of finding has."""
    return config.monitoring.alpha / len(TESTED)


def _too_little(config: ModelConfig, reference: Reference, window_input: WindowInput) -> Finding | None:
    needed, rows = config.monitoring.minimum_rows, window_input.profile.rows
    if rows < needed:
        sentence = f"the window has {rows} rows and {needed} are needed, so nothing is concluded"
    elif reference.rows.empty:
        sentence = "the reference window has no rows, so there is nothing to compare with and nothing is concluded"
    else:
        return None
    return Finding(kind="data_drift", subject="window", value=None, rows=rows, alarm=False, sentence=sentence)


def _of_the_feed(config: ModelConfig, reference: Reference, window_input: WindowInput) -> list[Finding]:
    repeated = (
        0.0
        if reference.rows.empty
        else duplicates_expected(config, reference.rows, len(window_input.rows), config.seed)
    )
    arrived = feed_findings(
        config, window_input.facts, window_input.facts_before, window_input.now, share(config), repeated
    )
    return [*quality_findings(window_input.checks, len(window_input.rows), share(config)), *arrived]


def _performance(config: ModelConfig, reference: Reference, window_input: WindowInput) -> list[Finding]:
    return performance_findings(
        config,
        reference.rows,
        window_input.rows,
        reference.importance,
        share(config),
        config.seed,
        window_input.history,
        window_input.recent,
        reference.losses(config),
    )


def _rules(
    config: ModelConfig, reference: Reference, window_input: WindowInput, alpha: float
) -> tuple[list[Finding], list[Plot], list[RuleBreak]]:
    """Attribution drift, and every expert rule of the version."""
    features = [f for f in config.features if f in window_input.rows]
    if len(features) < len(config.features):
        gone = ", ".join(f for f in config.features if f not in features)
        text = f"the rows of the window lack {gone}, so the version cannot score or explain them, and neither rules nor attributions are checked"
        return (
            [
                Finding(
                    kind="expert_rule",
                    subject="rules",
                    value=None,
                    rows=len(window_input.rows),
                    alarm=False,
                    sentence=text,
                )
            ],
            [],
            [],
        )
    explained = window_input.explain(
        window_input.rows.sample(min(EXPLAINED, len(window_input.rows)), random_state=config.seed), config.seed
    )
    moved = attribution_findings(config, reference.attributions, explained, alpha, config.seed)
    if window_input.rules is None:
        return moved, [], []
    found, plots, breaks = live_rule_findings(
        config,
        window_input.rules,
        window_input.predict,
        window_input.rows,
        reference.rows,
        explained,
        reference.attributions,
        alpha,
        config.seed,
    )
    return [*moved, *found], plots, breaks


def _grouped(
    config: ModelConfig, reference: Reference, window_input: WindowInput, alpha: float
) -> tuple[list[Finding], GroupSummary | None, EmbeddingMap | None, pd.Series | None]:
    groups = reference.groups
    if groups.space is None or not set(config.features) <= set(window_input.rows.columns):
        reason = (
            groups.reason
            or "the rows of the window lack features of the model, so they cannot be laid beside the reference"
        )
        return (
            [
                Finding(
                    kind="grouping",
                    subject="groups",
                    value=None,
                    rows=len(window_input.rows),
                    alarm=False,
                    sentence=reason,
                )
            ],
            None,
            None,
            None,
        )
    placed = embed(window_input.pipeline, config, window_input.rows, groups.space)
    findings, summary, drawn = grouping_findings(
        config, groups, placed, window_input.rows, alpha, config.seed, window_input.number
    )
    return findings, summary, drawn, _names(groups, placed)


def _names(groups: GroupReference, placed: np.ndarray) -> pd.Series:
    """(n,) name of the group in which each row lies; missing for a row beyond where 99 % of the nearest group are."""
    there = np.isfinite(placed).all(axis=1)
    own, distance = nearest(groups.centres, np.where(there[:, None], placed, 0.0))
    inside = there & (distance[np.arange(len(own)), own] <= groups.radius[own, 2])
    return pd.Series([groups.groups[g].name if ok else None for g, ok in zip(own, inside, strict=True)], dtype=object)
