"""Performance of a window by the outcomes that were asked for: a probability sample, so no model has to be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.science.data.protected import protected_groups
from tasks.science.data.tables import LABEL, label_array, score_array
from tasks.science.monitors.performance.direct_loss import LossModel, Moments
from tasks.science.monitors.performance.estimators import reference_losses
from tasks.science.monitors.performance.expected_metrics import EPS, losses
from tasks.science.monitors.performance.realized import (
    beyond,
    interval,
    labelled_part,
    limit_of,
    surely_worse,
    unjudgeable,
)
from tasks.science.monitors.performance.support import encoded
from tasks.science.stats.comparison import Interval
from tasks.science.stats.label_sample import LabelSample, SampledMean, sampled_mean
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.review import LabelRequest
from tasks.spec.wording import plural

KIND = "sampled_performance"
MEANS = {
    "binary": ("log_loss", "brier", "accuracy"),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("mae", "rmse"),
}
"""By kind of target, the metrics that are a mean over rows (of ``rmse`` the square), which a sample can show."""
SHOWN = 0.95
FEW = 15
"""Sampled rows under which nothing is said of a protected group."""


def representative(window: pd.DataFrame, request: LabelRequest | None) -> pd.DataFrame:
    """The window with as large a part of the asked rows labelled as of the others, the first rounds of them.

    Rows were asked for by how uncertain they are. Where their labels are as frequent as everybody's, a stratum counts
    by its rows again. What takes the labelled rows for the window is then not led by what was asked.
    """
    if request is None or "_id" not in window:
        return window
    turn = window["_id"].map({row.id: row.turn for row in request.rows})
    others = window.loc[turn.isna(), LABEL].notna()
    kept = np.floor((float(others.mean()) if len(others) else 1.0) * request.rounds + 1e-9)
    return window.assign(**{LABEL: window[LABEL].where(turn.isna() | (turn < kept))})


def settled(finding: Finding) -> bool:
    """Whether a sample says on which side of its limit a metric is; what it leaves open silences no estimate."""
    if finding.value is None or finding.limit is None or finding.low is None or finding.high is None:
        return False
    return finding.alarm or not any(beyond(finding.subject, end, finding.limit) for end in (finding.low, finding.high))


@dataclass(frozen=True)
class RowLosses:
    """What each of n rows adds to a metric, (n,) each: ``expected`` and ``spread``, its standard deviation, by the
    model; ``least`` and ``largest`` over the labels that it may have. ``shown`` gives the losses of (n,) labels."""

    expected: np.ndarray
    spread: np.ndarray
    least: np.ndarray
    largest: np.ndarray
    shown: Callable[[np.ndarray], np.ndarray]


def row_losses(
    config: ModelConfig, metric: str, rows: pd.DataFrame, reference: pd.DataFrame, fitted: LossModel | None = None
) -> RowLosses | None:
    """See :class:`RowLosses`; None where the metric is no mean over rows, or some score is missing.

    Args:
        rows: scored. reference: labelled and scored rows. fitted: the model of a regression's errors; fitted here
            without it.
    """
    score = score_array(config, rows)
    if metric not in MEANS[config.kind] or not np.isfinite(score).all():
        return None
    if config.kind == "regression":
        return _of_numbers(config, metric, rows, score, reference, fitted)
    if config.kind == "binary":
        if metric == "accuracy":
            taken = score >= config.threshold
            pair = np.stack([~taken, taken], axis=1).astype(float)
        else:
            pair = np.stack(losses(metric, score), axis=1)
        return _of_classes(np.stack([1 - score, score], axis=1), pair)
    if metric == "accuracy":
        return _of_classes(score, np.eye(score.shape[1])[score.argmax(axis=1)])
    return _of_classes(score, -np.log(np.clip(score, EPS, 1.0)))


def _of_classes(chance: np.ndarray, loss: np.ndarray) -> RowLosses:
    """From (n, classes) chances of each class, and the loss that it would be."""
    mean = (chance * loss).sum(axis=1)
    spread = np.sqrt(np.maximum((chance * loss**2).sum(axis=1) - mean**2, 0.0))

    def shown(label: np.ndarray) -> np.ndarray:
        known = np.isfinite(label) & (label >= 0)
        code = np.where(known, label, 0).astype(int)
        return np.where(known, loss[np.arange(len(loss)), code], np.nan)

    return RowLosses(mean, spread, loss.min(axis=1), loss.max(axis=1), shown)


def _of_numbers(
    config: ModelConfig,
    metric: str,
    rows: pd.DataFrame,
    score: np.ndarray,
    reference: pd.DataFrame,
    fitted: LossModel | None,
) -> RowLosses:
    known = labelled_part(reference)
    fitted = fitted or reference_losses(config, known, config.seed)
    x = np.column_stack([encoded(config, known, rows, list(config.features)), score])
    m = Moments.of(fitted.lines(), fitted.says(x), score)
    square = np.maximum(m.square, m.size**2)
    low, high = (getattr(config.data.target, end, None) for end in ("minimum", "maximum"))
    ends = np.array([-np.inf if low is None else low, np.inf if high is None else high])
    farthest = np.abs(score[:, None] - ends).max(axis=1)
    nearest = np.maximum(np.maximum(ends[0] - score, score - ends[1]), 0.0)
    if metric == "mae":
        spread = np.sqrt(np.maximum(square - m.size**2, (0.3 * m.size) ** 2))
        return RowLosses(m.size, spread, nearest, farthest, lambda label: np.abs(label - score))
    return RowLosses(square, np.sqrt(2) * square, nearest**2, farthest**2, lambda label: (label - score) ** 2)


def sampled_findings(
    config: ModelConfig,
    reference: pd.DataFrame,
    window: pd.DataFrame,
    request: LabelRequest | None,
    unsure: frozenset[str],
    alpha: float,
    fitted: LossModel | None = None,
) -> list[Finding]:
    """Watched metrics of the whole window by the answers to a request; none before its first look is answered.

    An alarm needs a value beyond the tolerated one, and a difference to the reference whose interval excludes 0. Each
    metric has a share of ``alpha``, over all looks at the window.

    Args:
        window: (n, columns) inputs, scores, ``_id``, and labels where they are known. Labels that nobody asked for are
            no part of the sample.
        unsure: ids of rows whose label nobody can say; the interval holds whatever it is.
    """
    if request is None or window.empty or "_id" not in window:
        return []
    found, known = [], labelled_part(reference)
    for metric, tolerated in config.watched.items():
        by_row = row_losses(config, metric, window, known, fitted)
        if by_row is None or unjudgeable(config, metric, known, "reference"):
            continue
        answers = _Answers.of(config, window, request, unsure, by_row)
        level = 1 - alpha / len(config.watched)
        strict, shown = (answers.mean(c, metric) for c in (2 * level - 1, SHOWN))
        if strict is None or shown is None:
            continue
        if not np.isfinite([strict.low, strict.high, shown.low, shown.high]).all():
            found.append(_open(metric, shown, answers, request))
            continue
        then = interval(config, metric, known, level, config.seed)
        limit = limit_of(metric, then.value, tolerated)
        now = Interval(strict.value, strict.low, strict.high, "sample")
        asked = shown.rounds * len(request.strata)
        text = (
            f"{metric} of all {len(window):,} rows is {shown.value:.3f} ({shown.low:.3f} to {shown.high:.3f}) by "
            f"{asked} of the {len(request.rows)} outcomes that were asked for{answers.unsaid(shown.rounds)}, "
            f"{then.value:.3f} in the reference; {_settled(metric, shown, limit, shown.rounds == request.rounds)}"
            f"{_by_group(config, window, answers, metric)}"
        )
        found.append(
            Finding(
                kind=KIND,
                subject=metric,
                value=shown.value,
                low=shown.low,
                high=shown.high,
                reference=then.value,
                limit=limit,
                rows=asked,
                alarm=beyond(metric, now.value, limit) and surely_worse(metric, now, then),
                sentence=text,
            )
        )
    return found


@dataclass(frozen=True)
class _Answers:
    """The sampled rows' losses less what was expected, in the order of asking; NaN where an answer is awaited."""

    sample: LabelSample
    low: np.ndarray
    high: np.ndarray
    spread: np.ndarray
    place: np.ndarray
    """(k,) position in the window; -1 where the row is there no more."""
    expected: np.ndarray
    """(n,) of all rows."""

    @staticmethod
    def of(
        config: ModelConfig, window: pd.DataFrame, request: LabelRequest, unsure: frozenset[str], by_row: RowLosses
    ) -> _Answers:
        ids = [row.id for row in request.rows]
        place = pd.Index(window["_id"]).get_indexer(ids)
        there = place >= 0
        shown = by_row.shown(np.asarray(label_array(config, window[LABEL]), dtype=float))[place]
        nobody = np.isnan(shown) & np.array([name in unsure for name in ids])
        low = np.where(nobody, by_row.least[place], shown) - by_row.expected[place]
        high = np.where(nobody, by_row.largest[place], shown) - by_row.expected[place]
        widest = float((by_row.least - by_row.expected).min()), float((by_row.largest - by_row.expected).max())
        sample = LabelSample(
            place,
            np.array([row.stratum for row in request.rows]),
            np.array([row.turn for row in request.rows]),
            np.array(request.strata),
        )
        low, high = (np.where(there, side, end) for side, end in zip((low, high), widest, strict=True))
        return _Answers(sample, low, high, np.where(there, by_row.spread[place], np.nan), place, by_row.expected)

    def mean(self, confidence: float, metric: str, of: np.ndarray | None = None) -> SampledMean | None:
        """Of the metric over all rows, or over those ``of`` a group, (n,) bool."""
        inside = np.ones(len(self.expected), bool) if of is None else of
        sampled = np.where(self.place >= 0, inside[self.place], True)
        low, high, spread = (np.where(sampled, side, 0.0 * side) for side in (self.low, self.high, self.spread))
        known = float((self.expected * inside).mean())
        found = sampled_mean(self.sample, low, high, spread, int(self.sample.rows.sum()), known, confidence)
        if found is None:
            return None
        ends = np.array([found.value, found.low, found.high]) / inside.mean()
        if metric == "rmse":  # its square is the mean, and the root keeps the order of the ends
            ends = np.sqrt(np.maximum(ends, 0.0))
        return SampledMean(float(ends[0]), float(ends[1]), float(ends[2]), found.rounds)

    def unsaid(self, rounds: int) -> str:
        """How many of the answers are that nobody can say."""
        count = int((self.low != self.high)[self.sample.turn < rounds].sum())
        return f", {count} of which nobody can say" if count else ""


def _settled(metric: str, shown: SampledMean, limit: float, last: bool) -> str:
    worse = [beyond(metric, end, limit) for end in (shown.low, shown.high)]
    if all(worse):
        return f"it is beyond its limit of {limit:.3f}"
    if not any(worse):
        return f"it is within its limit of {limit:.3f}"
    return f"that leaves open whether it is within its limit of {limit:.3f}" + (
        "" if last else " until more answers come"
    )


def _by_group(config: ModelConfig, window: pd.DataFrame, answers: _Answers, metric: str) -> str:
    """The metric of each protected group, simultaneous over those that are told; rare groups are named alone."""
    parts = []
    for attribute, names in protected_groups(config, window).items():
        told, few = [], []
        groups = [str(name) for name in names.dropna().unique()]
        for name in sorted(groups):
            inside = (names == name).to_numpy(bool)
            sampled = answers.place[answers.place >= 0]
            mean = answers.mean(1 - (1 - SHOWN) / len(groups), metric, inside)
            if mean is None or inside[sampled].sum() < FEW or not np.isfinite([mean.low, mean.high]).all():
                few.append(name)
            else:
                told.append(f"{name} {mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})")
        if told:
            parts.append(f"by {attribute}: {', '.join([*told, *(f'{name} has too few' for name in few)])}")
    return "".join(f"; {part}" for part in parts)


def _open(metric: str, shown: SampledMean, answers: _Answers, request: LabelRequest) -> Finding:
    asked = shown.rounds * len(request.strata)
    text = (
        f"{metric} is not known by {plural(asked, 'outcome')} that were asked for{answers.unsaid(shown.rounds)}: they "
        "are too alike to say how the others vary, or the target has no least and largest value"
    )
    return Finding(kind=KIND, subject=metric, value=None, rows=asked, alarm=False, sentence=text)
