"""The estimator for one window: from the score, the score on a weighted reference, the other inputs, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
from scipy.stats import norm

from tasks.science.data.tables import LABEL, label_array, score_array
from tasks.science.monitors.performance.calibration import Calibration, chosen_calibration
from tasks.science.monitors.performance.confidence_based import ConfidenceBasedEstimator, PerformanceEstimate
from tasks.science.monitors.performance.direct_loss import LossModel, Moments, contradicts, estimate_loss, fit_losses
from tasks.science.monitors.performance.multiclass import estimate_classes, fit_classes
from tasks.science.monitors.performance.realized import labelled_part
from tasks.science.monitors.performance.support import Overlap, encoded, overlap
from tasks.science.monitors.performance.without_score import EstimatorWithoutScore
from tasks.science.stats.multiplicity import family_wise
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

LEAST, WINDOW = 100, 30
"""Labelled reference rows, and rows of a window, under which nothing is estimated."""
LOSS_ROWS = 10_000
"""Reference rows that a model of losses learns from."""
CONTRADICTED = 0.01
"""Chance that labelled rows that follow the estimate are taken to contradict it."""
LEAST_TO_CONTRADICT = 30
"""Labelled rows below which they cannot contradict an estimate."""
HOLDS = "this holds where the label follows from the inputs as it did in the reference"


@dataclass(frozen=True)
class EstimatorChoice:
    """The estimator that a window allows, or the reason why there is none."""

    estimate: Callable[[str], PerformanceEstimate] | None
    """Estimates one metric by name; None where the estimator abstains."""
    why: str
    """Why it abstains, or the assumption that the estimate rests on."""
    score_believed: bool
    """Whether the estimate is computed from the score."""
    overlap: Overlap | None = None
    """How the window's inputs overlap with the reference's; None where that was not computed."""


def choose_estimator(
    config: ModelConfig,
    reference: pd.DataFrame,
    window: pd.DataFrame,
    attention: dict[str, float],
    seed: int,
    recent: pd.DataFrame | None = None,
    losses: LossModel | None = None,
) -> EstimatorChoice:
    """Check support, shift and contradiction, in this order, and choose the best estimator that is left.

    Args:
        reference: (m, columns) scored rows; those with a label count. window: (n, columns) scored rows.
        attention: share of attribution by feature; a feature under 1 % may leave the support.
        recent: labelled, scored rows of the last windows; the window's own labelled rows are always looked at.
        losses: for regression, what :func:`reference_losses` gave; fitted here without it.
    """
    known = labelled_part(reference)
    reason = _unfit(config, known, window)
    if reason:
        return EstimatorChoice(None, reason, False)
    support = overlap(config, known, window, attention, seed)
    if not support.holds:
        return _from_other_inputs(config, known, window, support, seed)
    taken, weight = (support.taken, support.weight) if support.shifted else (np.arange(len(known)), None)
    found, contradiction = _believed(config, known, window, taken, weight, recent, seed, losses)
    if contradiction:
        return EstimatorChoice(None, contradiction, False, support)
    why = HOLDS
    if support.shifted:
        why = (
            "the inputs have shifted, so the reference is weighted to resemble the window and is worth "
            f"{support.effective:,.0f} rows; {why}"
        )
    return EstimatorChoice(found, why, True, support)


def _unfit(config: ModelConfig, known: pd.DataFrame, window: pd.DataFrame) -> str:
    if len(window) < WINDOW:
        return f"the window has {plural(len(window), 'row')} and {WINDOW} are needed"
    if len(known) < LEAST:
        return f"the reference has {plural(len(known), 'labelled row')} and {LEAST} are needed"
    label, score, now = label_array(config, known[LABEL]), score_array(config, known), score_array(config, window)
    if not np.isfinite(score).all() or not np.isfinite(now).all():
        return "some scores are missing or infinite"
    if len(np.unique(label)) < 2 or len(np.unique(score)) < 2:
        return "the reference's labelled rows hold one class or one score only"
    if config.kind == "multiclass" and (label < 0).any():
        return f"{int((label < 0).sum())} labels of the reference are of no class that the config names"
    return ""


def _from_other_inputs(
    config: ModelConfig, known: pd.DataFrame, window: pd.DataFrame, support: Overlap, seed: int
) -> EstimatorChoice:
    left = (
        f"{support.outside:.0%} of the rows lie where the reference has next to none"
        if support.outside
        else f"the reference, weighted to resemble the window, is worth only {support.effective:.0f} rows"
    )
    named = f", by {', '.join(support.broken)}" if support.broken else ""
    if config.kind != "binary" or support.without is None:
        return EstimatorChoice(None, f"{left}{named}", False, support)
    others = support.without
    columns, now = list(others.columns), score_array(config, window)

    @cache
    def fitted() -> EstimatorWithoutScore:  # costly, so only for who asks
        rows = known.iloc[others.taken]
        x, y = encoded(config, known, rows, columns), label_array(config, rows[LABEL])
        return EstimatorWithoutScore(
            x,
            score_array(config, rows),
            y,
            encoded(config, known, window, columns),
            others.weight if others.shifted else None,
            seed,
        )

    why = (
        f"the score is not believed, for {left}{named}; it is judged by the other {plural(len(columns), 'input')}, "
        "which "
        "holds where the label follows from them as it did in the reference"
    )
    return EstimatorChoice(lambda metric: fitted().estimate(metric, now, config.threshold), why, False, support)


def _believed(
    config: ModelConfig,
    known: pd.DataFrame,
    window: pd.DataFrame,
    taken: np.ndarray,
    weight: np.ndarray | None,
    recent: pd.DataFrame | None,
    seed: int,
    losses: LossModel | None,
) -> tuple[Callable[[str], PerformanceEstimate], str]:
    """The estimator from the score, and why labelled rows contradict it; empty where they do not."""
    label, score, now = label_array(config, known[LABEL]), score_array(config, known), score_array(config, window)
    rows = labelled_part(
        window
        if recent is None
        else pd.concat([recent, window]).drop_duplicates("_id" if "_id" in window and "_id" in recent else None)
    )
    effective = float(len(taken) if weight is None else weight.sum() ** 2 / (weight**2).sum())
    if config.kind == "regression":
        return _by_losses(config, known, window, rows, taken, weight, seed, losses)
    known_label = label_array(config, rows[LABEL]) if len(rows) else np.empty(0)
    if config.kind == "multiclass":
        classes = fit_classes(score[taken], label[taken], weight)
        ask: Callable[[str], PerformanceEstimate] = lambda metric: estimate_classes(metric, classes, score, now)  # noqa: E731
        if len(rows) >= LEAST_TO_CONTRADICT:
            served = score_array(config, rows)
            p, top = classes.probability(served), served.argmax(axis=1)
            sure = p[np.arange(len(p)), top]
            p_values = _p_values(
                sure,
                known_label == top,
                lambda slope: classes.variance(served, p, slope[:, None] * np.eye(p.shape[1])[top]),
            )
            return _with_rows(ask, effective), _contradiction(p_values, len(rows))
        return _with_rows(ask, effective), ""
    calibration = chosen_calibration(score[taken], label[taken], weight, seed)
    ask = ConfidenceBasedEstimator(calibration, score, config.threshold).window(now, seed).estimate
    if len(rows) < LEAST_TO_CONTRADICT:
        return _with_rows(ask, effective), ""
    return _with_rows(ask, effective), contradiction(
        calibration, score_array(config, rows), np.asarray(known_label, dtype=bool)
    )


def _with_rows(ask: Callable[[str], PerformanceEstimate], rows: float) -> Callable[[str], PerformanceEstimate]:
    return lambda metric: replace(ask(metric), rows=rows)


def contradiction(calibration: Calibration, score: np.ndarray, label: np.ndarray) -> str:
    """Why (n,) labels contradict the calibrated probabilities, in words; empty where they do not.

    Calibration in the large, and Spiegelhalter's test (1986) of the Brier score against its expectation; Holm over
    both. Their variances include the sampling error of the calibration.
    """
    p = calibration.probability(score)
    return _contradiction(_p_values(p, label, lambda slope: calibration.variance(score, slope)), len(label))


def _p_values(p: np.ndarray, label: np.ndarray, uncertainty: Callable[[np.ndarray], float]) -> dict[str, float]:
    found = {}
    for name, slope in (("their share", np.ones(len(p))), ("their spread around it", 1 - 2 * p)):
        error = np.sqrt(float(slope**2 @ (p * (1 - p))) + uncertainty(slope))
        gap = float(slope @ (label - p))
        found[name] = float(2 * norm.sf(abs(gap) / error)) if error > 0 else float(gap == 0)
    return found


def _contradiction(p_values: dict[str, float], rows: int) -> str:
    stands = [
        name
        for name, significant in zip(p_values, family_wise(list(p_values.values()), CONTRADICTED), strict=True)
        if significant
    ]
    if not stands:
        return ""
    return (
        f"{rows:,} labelled rows contradict it, by {' and '.join(stands)} (p {min(p_values.values()):.2g}): the "
        "label no longer follows from the inputs as it did in the reference"
    )


def reference_losses(config: ModelConfig, reference: pd.DataFrame, seed: int) -> LossModel:
    """For regression: the model of losses, which depends on the reference alone and is costly."""
    known = labelled_part(reference)
    taken = np.sort(np.random.default_rng(seed).permutation(len(known))[:LOSS_ROWS])
    rows = known.iloc[taken]
    score = score_array(config, rows)
    x = np.column_stack([encoded(config, known, rows, list(config.features)), score])
    return fit_losses(x, score, label_array(config, rows[LABEL]), taken, seed)


def _by_losses(
    config: ModelConfig,
    known: pd.DataFrame,
    window: pd.DataFrame,
    rows: pd.DataFrame,
    taken: np.ndarray,
    weight: np.ndarray | None,
    seed: int,
    losses: LossModel | None,
) -> tuple[Callable[[str], PerformanceEstimate], str]:
    fitted = losses or reference_losses(config, known, seed)
    place = np.full(len(known), -1)
    place[fitted.taken] = np.arange(len(fitted.taken))
    both = place[taken] >= 0
    lines = fitted.lines(place[taken][both], None if weight is None else weight[both])

    def moments(part: pd.DataFrame) -> Moments:
        served = score_array(config, part)
        return Moments.of(
            lines, fitted.says(np.column_stack([encoded(config, known, part, list(config.features)), served])), served
        )

    now, then, score = moments(window), Moments.of(lines, fitted.answers, fitted.score), score_array(config, window)
    reason = ""
    if len(rows) >= LEAST_TO_CONTRADICT:
        served = score_array(config, rows)
        p_values = contradicts(lines, moments(rows), served, label_array(config, rows[LABEL]))
        reason = _contradiction(p_values, len(rows))
    return lambda metric: estimate_loss(metric, lines, now, score, then, fitted.score), reason
