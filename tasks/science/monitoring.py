"""One analysis window against the reference window: every finding, alarm or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import norm

from tasks.science.comparison import metric_interval
from tasks.science.drift import Shift, discoveries, shift
from tasks.science.estimation import estimate_with_interval
from tasks.science.metrics import METRICS
from tasks.science.slices import protected_groups
from tasks.science.tables import LABEL, SCORE
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig

SMALL_GROUP = 30
CONFIDENCE = 0.975
"""One-sided, so that both bounds together make a 95 % interval."""
UNSEEN_SHARE = 0.5


def examine_window(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, importance: dict[str, float], seed: int
) -> tuple[Finding, ...]:
    """Compare a window with the reference.

    Args:
        config: the model's config.
        reference: (n, columns) raw inputs, ``_score`` and ``_label``.
        window: (m, columns) the same; ``_label`` is missing where the outcome is not known.
        importance: share of attribution by feature.
        seed: of the bootstraps.

    Returns:
        Findings of every kind; what cannot be computed is a finding without a value that says why.
    """
    if len(window) < config.monitoring.minimum_rows:
        sentence = f"the window has {len(window)} rows and {config.monitoring.minimum_rows} are needed, so nothing is concluded"
        return (Finding(kind="data_drift", subject="window", value=None, rows=len(window), alarm=False, sentence=sentence),)
    shifts = [shift(reference[c.name], _column(window, c.name), c.name) for c in config.inputs]
    return (
        *_input_findings(config, shifts, len(window), importance),
        _prediction_finding(config, reference, window),
        *_estimates(config, reference, window, _outside(config, reference, window, importance), seed),
        *_realized(config, reference, window, seed),
        *_selection(config, reference, window),
    )


def _column(window: pd.DataFrame, name: str) -> pd.Series:
    return window[name] if name in window else pd.Series(np.nan, index=window.index)


def _input_findings(config: ModelConfig, shifts: list[Shift], rows: int, importance: dict[str, float]) -> list[Finding]:
    limits = config.monitoring
    found = discoveries([s.p_value for s in shifts], limits.alpha)
    gone = discoveries([s.missing_p for s in shifts], limits.alpha)
    findings = []
    for s, significant, more_missing in zip(shifts, found, gone, strict=True):
        share = importance.get(s.column, 0.0)
        alarm = significant and s.excess > limits.drift_distance
        sentence = f"{s.column}: Jensen-Shannon distance {s.distance:.3f} from the reference, carrying {share:.0%} of the attribution"
        findings.append(
            Finding(kind="data_drift", subject=s.column, value=s.distance, limit=limits.drift_distance, rows=rows, alarm=alarm, importance=share, sentence=sentence)
        )
        if more_missing and abs(s.missing_window - s.missing_reference) > limits.drift_distance:
            text = f"{s.column}: missing in {s.missing_window:.0%} of the rows, {s.missing_reference:.0%} in the reference"
            findings.append(
                Finding(kind="missingness", subject=s.column, value=s.missing_window, reference=s.missing_reference, rows=rows, alarm=True, importance=share, sentence=text)
            )
    return findings


def _prediction_finding(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame) -> Finding:
    s = shift(reference[SCORE], window[SCORE], "score")
    alarm = bool(s.p_value <= config.monitoring.alpha and s.excess > config.monitoring.drift_distance)
    means = window[SCORE].mean(), reference[SCORE].mean()
    sentence = f"the mean score is {means[0]:.3f}, {means[1]:.3f} in the reference (Jensen-Shannon distance {s.distance:.3f})"
    return Finding(
        kind="prediction_drift", subject="score", value=s.distance, limit=config.monitoring.drift_distance, rows=len(window), alarm=alarm, sentence=sentence
    )


def _outside(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, importance: dict[str, float]) -> bool:
    """Whether most rows hold a category that the reference has not, in a feature that counts."""
    unseen = np.zeros(len(window), bool)
    for name in config.category_features:
        if importance.get(name, 0.0) > 0:
            unseen |= ~_column(window, name).isin(reference[name].unique()).to_numpy()
    return bool(unseen.mean() > UNSEEN_SHARE)


def _worse(metric: str, value: float, bound: float, reference: float, tolerated: float) -> tuple[float, bool]:
    """The limit that the tolerance gives, and whether estimate and bound both lie beyond it and the reference."""
    better = METRICS[metric].greater_is_better
    limit = reference * (1 - tolerated if better else 1 + tolerated)
    worse = (value < limit and bound < reference) if better else (value > limit and bound > reference)
    return limit, bool(worse)


def _estimates(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, outside: bool, seed: int) -> list[Finding]:
    label = reference[LABEL].to_numpy(bool)
    if label.all() or not label.any():
        text = "the reference holds one class only, so performance cannot be estimated"
        return [Finding(kind="estimated_performance", subject=m, value=None, rows=len(window), alarm=False, sentence=text) for m in config.monitoring.metrics]
    findings = []
    for metric, tolerated in config.monitoring.metrics.items():
        known = METRICS[metric].compute(label, reference[SCORE].to_numpy(float), config.decision_threshold)
        value, low, high = estimate_with_interval(
            metric, reference[SCORE].to_numpy(float), label, window[SCORE].to_numpy(float), config.decision_threshold, seed
        )
        limit, alarm = _worse(metric, value, high if METRICS[metric].greater_is_better else low, known, tolerated)
        note = "; most rows lie outside the reference's support, so this is an extrapolation" if outside else ""
        sentence = f"{metric} is estimated without labels at {value:.3f} ({low:.3f} to {high:.3f}), {known:.3f} in the reference{note}"
        findings.append(
            Finding(
                kind="estimated_performance", subject=metric, value=value, low=low, high=high, reference=known, limit=limit, rows=len(window), alarm=alarm, sentence=sentence
            )
        )
    return findings


def _realized(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, seed: int) -> list[Finding]:
    judged = window[window[LABEL].notna()]
    if len(judged) / len(window) < config.monitoring.label_share:
        return []
    findings = []
    label, score = judged[LABEL].to_numpy(float) > 0.5, judged[SCORE].to_numpy(float)
    for metric, tolerated in config.monitoring.metrics.items():
        if label.all() or not label.any():
            text = f"the {len(judged)} labelled rows hold one class only, so {metric} is not computed"
            findings.append(Finding(kind="realized_performance", subject=metric, value=None, rows=len(judged), alarm=False, sentence=text))
            continue
        compute: Callable[..., float] = METRICS[metric].compute
        known = compute(reference[LABEL].to_numpy(bool), reference[SCORE].to_numpy(float), config.decision_threshold)
        found = metric_interval(metric, label, score, config.decision_threshold, CONFIDENCE, seed)
        limit, alarm = _worse(metric, found.value, found.high if METRICS[metric].greater_is_better else found.low, known, tolerated)
        sentence = f"{metric} is {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) on {len(judged):,} labelled rows, {known:.3f} in the reference"
        findings.append(
            Finding(
                kind="realized_performance", subject=metric, value=found.value, low=found.low, high=found.high, reference=known, limit=limit, rows=len(judged), alarm=alarm, sentence=sentence
            )
        )
    return findings


def _selection(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame) -> list[Finding]:
    """Selection rate by protected group: log ratio with its delta-method interval (Katz et al. 1978)."""
    then, now = protected_groups(config, reference), protected_groups(config, window)
    z, tolerated, findings = norm.ppf(1 - config.monitoring.alpha / 2), config.monitoring.selection_change, []
    for attribute in config.protected:
        for group in sorted(then[attribute].dropna().unique()):
            before = reference.loc[then[attribute] == group, SCORE] >= config.decision_threshold
            after = window.loc[now[attribute] == group, SCORE] >= config.decision_threshold
            subject = f"{attribute} {group}"
            if min(len(before), len(after)) < SMALL_GROUP:
                text = f"{subject}: {len(after)} rows, too few to judge"
                findings.append(Finding(kind="selection_rate", subject=subject, value=None, rows=len(after), alarm=False, sentence=text))
                continue
            p, q = (before.sum() + 0.5) / (len(before) + 1), (after.sum() + 0.5) / (len(after) + 1)
            ratio, error = q / p, float(np.sqrt((1 - p) / (p * len(before)) + (1 - q) / (q * len(after))))
            low, high = ratio * np.exp(-z * error), ratio * np.exp(z * error)
            alarm = bool((ratio > 1 + tolerated and low > 1) or (ratio < 1 / (1 + tolerated) and high < 1))
            text = f"{subject}: {after.mean():.1%} selected, {before.mean():.1%} in the reference"
            findings.append(
                Finding(
                    kind="selection_rate", subject=subject, value=float(after.mean()), low=float(p * low), high=float(p * high), reference=float(before.mean()), rows=len(after), alarm=alarm, sentence=text
                )
            )
    return findings
