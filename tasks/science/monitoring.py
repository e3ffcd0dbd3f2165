"""One analysis window against the reference window: every finding, alarm or not."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact, norm

from tasks.science.comparison import Interval, metric_interval
from tasks.science.decisions import UNIMPORTANT
from tasks.science.drift import Shift, discoveries, family_wise, shift
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
KINDS = 6
"""Kinds of findings among which ``monitoring.alpha`` is shared in equal parts (Bonferroni): see :func:`examine_window`."""


def examine_window(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, importance: dict[str, float], seed: int
) -> tuple[Finding, ...]:
    """Compare a window with the reference.

    Where nothing changed, any alarm at all has the chance ``monitoring.alpha``: each of the six kinds of findings gets
    a sixth of it, and shares that among its columns (Benjamini & Hochberg, family-wise where nothing changed), metrics
    (Bonferroni) or groups (Holm). An alarm needs a significant change and one of the configured size.

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
    if reference.empty:
        sentence = "the reference window has no rows, so there is nothing to compare with and nothing is concluded"
        return (Finding(kind="data_drift", subject="window", value=None, rows=len(window), alarm=False, sentence=sentence),)
    window = window.assign(**{c.name: np.nan for c in config.inputs if c.name not in window})
    shifts = [shift(reference[c.name], window[c.name], c.name) for c in config.inputs]
    inputs = _input_findings(config, shifts, len(window), importance)
    prediction = _prediction_finding(config, reference, window)
    caution = _caution(inputs, prediction, _outside(config, reference, window, importance))
    labelled = reference[reference[LABEL].notna()]
    return (
        *inputs,
        prediction,
        *_estimates(config, labelled, window, caution, seed),
        *_realized(config, labelled, window, seed),
        *_selection(config, reference, window),
    )


def _input_findings(config: ModelConfig, shifts: list[Shift], rows: int, importance: dict[str, float]) -> list[Finding]:
    limits = config.monitoring
    found = discoveries([s.p_value for s in shifts], limits.alpha / KINDS)
    gone = discoveries([s.missing_p for s in shifts], limits.alpha / KINDS)
    findings = []
    for s, significant, more_missing in zip(shifts, found, gone, strict=True):
        share = importance.get(s.column, 0.0)
        alarm = significant and s.excess > limits.drift_distance
        sentence = f"{s.column}: Jensen-Shannon distance {s.excess:.3f} from the reference, carrying {share:.0%} of the attribution"
        findings.append(
            Finding(kind="data_drift", subject=s.column, value=s.excess, limit=limits.drift_distance, rows=rows, alarm=alarm, importance=share, sentence=sentence)
        )
        if more_missing and abs(s.missing_window - s.missing_reference) > limits.drift_distance:
            text = f"{s.column}: missing in {s.missing_window:.0%} of the rows, {s.missing_reference:.0%} in the reference"
            findings.append(
                Finding(kind="missingness", subject=s.column, value=s.missing_window, reference=s.missing_reference, rows=rows, alarm=True, importance=share, sentence=text)
            )
    return findings


def _prediction_finding(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame) -> Finding:
    s = shift(reference[SCORE], window[SCORE], "score")
    alarm = bool(s.p_value <= config.monitoring.alpha / KINDS and s.excess > config.monitoring.drift_distance)
    means = window[SCORE].mean(), reference[SCORE].mean()
    sentence = f"the mean score is {means[0]:.3f}, {means[1]:.3f} in the reference (Jensen-Shannon distance {s.excess:.3f})"
    return Finding(
        kind="prediction_drift", subject="score", value=s.excess, limit=config.monitoring.drift_distance, rows=len(window), alarm=alarm, sentence=sentence
    )


def _outside(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, importance: dict[str, float]) -> bool:
    """Whether most rows hold a category that the reference has not, in a feature that counts."""
    unseen = np.zeros(len(window), bool)
    for name in config.category_features:
        if importance.get(name, 0.0) > 0:
            unseen |= ~window[name].isin(reference[name].unique()).to_numpy()
    return bool(unseen.mean() > UNSEEN_SHARE)


def _caution(inputs: list[Finding], prediction: Finding, outside: bool) -> str:
    """What a reader of the estimates must know: an estimate trusts the scores, and a broken input makes them wrong."""
    if outside:
        return "; most rows lie outside the reference's support, so this is an extrapolation and its size is uncertain"
    moved = [f for f in inputs if f.alarm and (f.importance or 0.0) >= UNIMPORTANT]
    if not prediction.alarm or not moved:
        return "; this holds where the label follows from the inputs as it did in the reference"
    first = max(moved, key=lambda f: f.importance or 0.0)
    return f"; this trusts scores that moved along with {first.subject}, and is wrong if that input is broken"


def _limit(metric: str, reference: float, tolerated: float) -> float:
    return reference * (1 - tolerated if METRICS[metric].greater_is_better else 1 + tolerated)


def _beyond(metric: str, value: float, limit: float) -> bool:
    return value < limit if METRICS[metric].greater_is_better else value > limit


def _not_judged(kind: Literal["estimated_performance", "realized_performance"], metric: str, rows: int, sentence: str) -> Finding:
    return Finding(kind=kind, subject=metric, value=None, rows=rows, alarm=False, sentence=sentence)


def _estimates(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, caution: str, seed: int) -> list[Finding]:
    label, score, now = reference[LABEL].to_numpy(bool), reference[SCORE].to_numpy(float), window[SCORE].to_numpy(float)
    limits, threshold, findings = config.monitoring, config.threshold, []
    for metric, tolerated in config.watched.items():
        if label.all() or not label.any() or len(np.unique(score)) < 2:
            text = "the reference's labelled rows hold one class or one score only, so performance cannot be estimated"
            findings.append(_not_judged("estimated_performance", metric, len(window), text))
            continue
        known = METRICS[metric].compute(label, score, threshold)
        found = estimate_with_interval(metric, score, label, now, threshold, seed)
        if np.isnan([found.value, found.low, found.high]).any():
            text = f"the scores of the window leave no two classes to tell apart, so {metric} is not estimated"
            findings.append(_not_judged("estimated_performance", metric, len(window), text))
            continue
        limit = _limit(metric, known, tolerated)
        worse_p = 1 - found.greater_p if METRICS[metric].greater_is_better else found.greater_p
        alarm = _beyond(metric, found.value, limit) and worse_p <= limits.alpha / KINDS / len(config.watched)
        sentence = f"{metric} is estimated without labels at {found.value:.3f} (labels will show {found.low:.3f} to {found.high:.3f}), {known:.3f} in the reference{caution}"
        findings.append(
            Finding(
                kind="estimated_performance", subject=metric, value=found.value, low=found.low, high=found.high, reference=known, limit=limit, rows=len(window), alarm=alarm, sentence=sentence
            )
        )
    return findings


def _realized(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, seed: int) -> list[Finding]:
    judged = window[window[LABEL].notna()]
    limits, threshold, findings = config.monitoring, config.threshold, []
    if len(judged) / len(window) < limits.label_share:
        return []
    parts = {"window": judged, "reference": reference}
    label = {name: part[LABEL].to_numpy(float) > 0.5 for name, part in parts.items()}
    score = {name: part[SCORE].to_numpy(float) for name, part in parts.items()}
    one = [name for name, y in label.items() if min(y.sum(), (~y).sum()) < 2]
    level = 1 - limits.alpha / KINDS / len(config.watched)
    for metric, tolerated in config.watched.items():
        if one:
            text = f"{metric} is not computed: the {len(label[one[0]])} labelled rows of the {one[0]} hold one class only, or all but one row"
            findings.append(_not_judged("realized_performance", metric, len(judged), text))
            continue
        now, then = (metric_interval(metric, label[name], score[name], threshold, level, seed) for name in parts)
        shown = metric_interval(metric, label["window"], score["window"], threshold, CONFIDENCE, seed)
        limit = _limit(metric, then.value, tolerated)
        alarm = _beyond(metric, now.value, limit) and _surely_worse(metric, now, then)
        sentence = f"{metric} is {now.value:.3f} ({shown.low:.3f} to {shown.high:.3f}) on {len(judged):,} labelled rows, {then.value:.3f} in the reference"
        findings.append(
            Finding(
                kind="realized_performance", subject=metric, value=now.value, low=shown.low, high=shown.high, reference=then.value, limit=limit, rows=len(judged), alarm=alarm, sentence=sentence
            )
        )
    return findings


def _surely_worse(metric: str, now: Interval, then: Interval) -> bool:
    """Whether the difference of two independent windows excludes 0: MOVER (Zou & Donner 2008) of their own bounds."""
    first, second = (then, now) if METRICS[metric].greater_is_better else (now, then)
    return bool(first.value - second.value > np.hypot(first.value - first.low, second.high - second.value))


def _selection(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame) -> list[Finding]:
    """Selection rate by protected group.

    Fisher's exact test (1935), Holm (1979) over the groups; the 95 % interval shown is that of the ratio to the
    reference's rate, by the delta method on its logarithm (Katz et al. 1978).
    """
    then, now = protected_groups(config, reference), protected_groups(config, window)
    findings, p_values = [], []
    for attribute in config.protected:
        for group in sorted({*then[attribute].dropna(), *now[attribute].dropna()}):
            before = (reference.loc[then[attribute] == group, SCORE] >= config.threshold).to_numpy()
            after = (window.loc[now[attribute] == group, SCORE] >= config.threshold).to_numpy()
            finding, p_value = _group_finding(f"{attribute} {group}", before, after, config.monitoring.selection_change)
            findings.append(finding)
            p_values.append(p_value)
    judged = [i for i, f in enumerate(findings) if f.value is not None]
    stands = family_wise([p_values[i] for i in judged], config.monitoring.alpha / KINDS)
    significant = {i for i, significant in zip(judged, stands, strict=True) if significant}
    return [f.model_copy(update={"alarm": f.alarm and i in significant}) for i, f in enumerate(findings)]


def _group_finding(subject: str, before: np.ndarray, after: np.ndarray, tolerated: float) -> tuple[Finding, float]:
    """The finding, an alarm as far as its size goes, and the p-value. before, after: (n,) and (m,) bool, selected or not."""
    if min(len(before), len(after)) < SMALL_GROUP:
        text = f"{subject}: {len(after)} rows, {len(before):,} in the reference, too few to judge"
        return Finding(kind="selection_rate", subject=subject, value=None, rows=len(after), alarm=False, sentence=text), 1.0
    p_value = float(fisher_exact([[int(part.sum()), int((~part).sum())] for part in (before, after)]).pvalue)
    p, q = (before.sum() + 0.5) / (len(before) + 1), (after.sum() + 0.5) / (len(after) + 1)
    ratio, error = q / p, float(np.sqrt((1 - p) / (p * len(before)) + (1 - q) / (q * len(after))))
    z = norm.ppf(CONFIDENCE)
    alarm = bool(ratio > 1 + tolerated or ratio < 1 / (1 + tolerated))
    text = f"{subject}: {after.mean():.1%} selected, {before.mean():.1%} in the reference"
    low, high = float(p * ratio * np.exp(-z * error)), float(p * ratio * np.exp(z * error))
    finding = Finding(
        kind="selection_rate", subject=subject, value=float(after.mean()), low=low, high=high, reference=float(before.mean()), rows=len(after), alarm=alarm, sentence=text
    )
    return finding, p_value
