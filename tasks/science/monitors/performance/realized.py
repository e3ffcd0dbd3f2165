"""Performance where labels are there, for every kind of target."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.science.data.tables import LABEL, label_array, score_array
from tasks.science.monitors.performance.expected_metrics import Expected, expected
from tasks.science.monitors.performance.multiclass import expected_classes
from tasks.science.stats.comparison import Interval, metric_interval
from tasks.science.stats.intervals import BOUND
from tasks.science.stats.metrics import METRICS, NEED_CLASSES, measurable
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural


def greater_is_better(metric: str) -> bool:
    return METRICS[metric].greater_is_better


def limit_of(metric: str, reference: float, tolerated: float) -> float:
    """The value from which a metric is worse than tolerated; r2 is held against what it leaves unexplained."""
    if metric == "r2":
        return 1 - (1 - reference) * (1 + tolerated)
    return reference * (1 - tolerated if greater_is_better(metric) else 1 + tolerated)


def beyond(metric: str, value: float, limit: float) -> bool:
    return value < limit if greater_is_better(metric) else value > limit


def labelled_part(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows[LABEL].notna()]


def measured(config: ModelConfig, metric: str, rows: pd.DataFrame) -> Expected:
    """The metric of labelled rows, with the terms that give its variance (see :class:`Expected`)."""
    label, score = label_array(config, rows[LABEL]), score_array(config, rows)
    if config.kind == "multiclass":
        return expected_classes(metric, np.eye(len(config.classes))[label], score)
    if config.kind == "binary":
        return expected(metric, label.astype(float), score, config.threshold)
    return errors_of(metric, label, score)


def errors_of(metric: str, label: np.ndarray, score: np.ndarray) -> Expected:
    """``mae``, ``rmse`` or ``r2`` of (n,) numbers."""
    error, none = label - score, np.zeros(len(label))
    if metric == "mae":
        return Expected(float(np.abs(error).mean()), none, np.abs(error))
    square = float((error**2).mean())
    if metric == "rmse":
        return Expected(float(np.sqrt(square)), none, error**2 / (2 * np.sqrt(square)) if square > 0 else none)
    spread = (label - label.mean()) ** 2
    whole = float(spread.mean())
    if not whole > 0:
        return Expected(float("nan"), none, none)
    return Expected(1 - square / whole, none, -(error**2 - square / whole * spread) / whole)


def interval(config: ModelConfig, metric: str, rows: pd.DataFrame, confidence: float, seed: int) -> Interval:
    """The metric of labelled rows with one-sided bounds: the examination's own."""
    return metric_interval(
        metric, label_array(config, rows[LABEL]), score_array(config, rows), config.threshold, confidence, seed
    )


def unjudgeable(config: ModelConfig, metric: str, rows: pd.DataFrame, where: str) -> str:
    """Why a metric cannot be measured on the labelled rows, in words; empty where it can.

    A metric that needs no second class, such as log-loss, is measured where the labels hold one class only.
    """
    if len(rows) < 2:
        return f"the {where} holds {plural(len(rows), 'labelled row')}"
    label, score = label_array(config, rows[LABEL]), score_array(config, rows)
    if config.kind == "multiclass" and (label < 0).any():
        return f"{int((label < 0).sum())} labels of the {where} are of no class that the config names"
    if not np.isfinite(score).all():
        return f"some scores of the {where} are missing or infinite"
    if metric not in NEED_CLASSES or config.kind == "regression":
        return ""
    if config.kind == "binary" and min(label.sum(), (~label).sum()) < 2:
        return f"the {len(label):,} labelled rows of the {where} hold one class only, or all but one row"
    if config.kind == "multiclass" and not measurable(metric, label, score):
        return f"the {len(label):,} labelled rows of the {where} do not hold every class"
    return ""


def realized_findings(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, alpha: float, seed: int
) -> list[Finding]:
    """Watched metrics of the labelled rows against the reference; none until ``label_share`` of the window is labelled.

    An alarm needs a value beyond the tolerated one and a difference whose interval excludes 0, at a share of ``alpha``
    a metric.
    """
    judged, known = labelled_part(window), labelled_part(reference)
    if not len(window) or len(judged) / len(window) < config.monitoring.label_share:
        return []
    level, findings = 1 - alpha / len(config.watched), []
    for metric, tolerated in config.watched.items():
        reason = unjudgeable(config, metric, judged, "window") or unjudgeable(config, metric, known, "reference")
        if reason:
            findings.append(_unknown(metric, len(judged), f"{metric} is not computed: {reason}"))
            continue
        now, then = (interval(config, metric, rows, level, seed) for rows in (judged, known))
        if not np.isfinite([now.value, then.value]).all():
            findings.append(
                _unknown(
                    metric,
                    len(judged),
                    f"{metric} has no value on the {len(judged):,} labelled rows of the window, or on the reference's",
                )
            )
            continue
        shown = interval(config, metric, judged, BOUND, seed)
        limit = limit_of(metric, then.value, tolerated)
        alarm = beyond(metric, now.value, limit) and surely_worse(metric, now, then)
        sentence = (
            f"{metric} is {now.value:.3f} ({shown.low:.3f} to {shown.high:.3f}) on {len(judged):,} labelled rows, "
            f"{then.value:.3f} in the reference"
        )
        findings.append(
            Finding(
                kind="realized_performance",
                subject=metric,
                value=now.value,
                low=shown.low,
                high=shown.high,
                reference=then.value,
                limit=limit,
                rows=len(judged),
                alarm=alarm,
                sentence=sentence,
            )
        )
    return findings


def _unknown(metric: str, rows: int, sentence: str) -> Finding:
    return Finding(kind="realized_performance", subject=metric, value=None, rows=rows, alarm=False, sentence=sentence)


def surely_worse(metric: str, now: Interval, then: Interval) -> bool:
    """Whether the difference of two independent windows excludes 0: MOVER (Zou & Donner 2008) of their own bounds."""
    first, second = (then, now) if greater_is_better(metric) else (now, then)
    return bool(first.value - second.value > np.hypot(first.value - first.low, second.high - second.value))
