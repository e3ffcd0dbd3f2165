"""Leaks as numbers: what one column, a missing value, a repeated row or the order of the table gives away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from tasks.science.stats.comparison import delong
from tasks.science.stats.intervals import normal_quantile
from tasks.spec.metrics import TargetKind

BINS = 64
CATEGORIES = 255
PRIOR_ROWS = 10
"""Rows of the overall rate that every bin's rate is drawn towards."""
BLOCKS = 20
BLOCK_EVENTS = 20
"""Expected rows of the rarer class in a block; the normal law of a block's rate needs about so many."""


@dataclass(frozen=True)
class ColumnPower:
    """AUC of one column alone on the holdout, one-sided bounds; ``share`` of the model's advantage over 0.5."""

    column: str
    auc: float
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Duplicates:
    """Row patterns on both sides: observed, expected under a random split, and the standard error of the difference."""

    shared: int
    expected: float
    error: float
    p_value: float


@dataclass(frozen=True)
class Jump:
    """The most conspicuous stretch of the table: Cohen's h with bounds adjusted for the search, its place and rows.

    ``detectable`` is the h that two halves of the table need to be significant.
    """

    effect: float
    low: float
    high: float
    rate: float
    expected: float
    place: str
    rows: int
    detectable: float


@dataclass(frozen=True)
class Question:
    """A yes-or-no question about the label: the answers of training (k,) and holdout (n,) rows, and the model's score
    (n,) for yes.
    """

    name: str
    train: np.ndarray
    label: np.ndarray
    score: np.ndarray


QUARTILES = (0.25, 0.5, 0.75)


def questions(
    kind: TargetKind, classes: tuple[str, ...], train_label: np.ndarray, label: np.ndarray, score: np.ndarray
) -> list[Question]:
    """What a column may give away: the label; of several classes, whether it is this one; of a number, whether it is
    above a quartile of training.

    Being above a quartile is rank-based, so it asks the same whatever the number's unit or tail, and its AUC is held to
    the limit of a yes-or-no label's. A question that one side answers one way only is left out.
    """
    if kind == "binary":
        found = [Question("", train_label.astype(bool), label.astype(bool), score)]
    elif kind == "multiclass":
        found = [
            Question(f" for {name} against the rest", train_label == i, label == i, score[:, i])
            for i, name in enumerate(classes)
        ]
    else:
        cuts = np.unique(np.quantile(train_label, QUARTILES))
        found = [Question(f" for being above {cut:.4g}", train_label > cut, label > cut, score) for cut in cuts]
    return [q for q in found if all(y.any() and not y.all() for y in (q.train, q.label))]


def single_columns(
    train: pd.DataFrame,
    train_label: np.ndarray,
    rows: pd.DataFrame,
    label: np.ndarray,
    score: np.ndarray,
    confidence: float,
) -> list[ColumnPower]:
    """How well each column predicts alone: label rate by bin, learned on training rows and judged on the holdout.

    Numbers fall into up to 64 quantile bins, categories are themselves, a missing value is a bin of its own (target
    encoding with a prior, Micci-Barreca 2001). AUC and bounds: DeLong 1988. Because the bins are learned on other
    rows, a useless column comes out at 0.5 however many values it has.

    Args:
        train: (k, c) raw training rows with ``train_label`` (k,) bool.
        rows: (n, c) raw holdout rows with ``label`` (n,) bool and the model's ``score`` (n,), in
            whatever unit.
    """
    if train.shape[1] == 0:
        return []
    scores = [_rates(*_codes(train[c], rows[c]), train_label) for c in train.columns]
    auc, covariance = delong(label, np.vstack([*scores, score]))
    z = normal_quantile(confidence)
    error = np.sqrt(np.maximum(np.diag(covariance), 0))
    advantage = auc[-1] - 0.5
    share = (auc - 0.5) / advantage if advantage > 0 else np.full(len(auc), np.nan)
    return [
        ColumnPower(
            str(c), float(auc[i]), float(auc[i] - z * error[i]), float(min(auc[i] + z * error[i], 1)), float(share[i])
        )
        for i, c in enumerate(train.columns)
    ]


def _codes(train: pd.Series, other: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """(k,) and (n,) small integers: the bin of each value, bins learned from ``train``."""
    if pd.api.types.is_numeric_dtype(train) and pd.api.types.is_numeric_dtype(other):
        known = train.dropna().to_numpy(float)
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1))) if len(known) else np.array([0.0])
        first, second = (
            np.searchsorted(edges, s.to_numpy(float, na_value=np.nan), side="right") for s in (train, other)
        )
        missing = len(edges) + 1
    else:
        codes, names = pd.factorize(pd.concat([_text(train), _text(other)], ignore_index=True))
        count = np.bincount(codes[: len(train)][codes[: len(train)] >= 0], minlength=len(names))
        kept = np.argsort(-count, kind="stable")[: min(CATEGORIES, int((count > 0).sum()))]
        place = np.zeros(len(names) + 1, np.intp)  # 0 for a value that training lacks
        place[kept] = np.arange(len(kept)) + 1
        first, second = place[codes[: len(train)]], place[codes[len(train) :]]
        missing = len(kept) + 1
    return np.where(train.isna(), missing, first), np.where(other.isna(), missing, second)


def _text(values: pd.Series) -> pd.Series:
    return values if isinstance(values.dtype, pd.StringDtype) else values.astype(str).where(values.notna())


def _rates(train: np.ndarray, other: np.ndarray, label: np.ndarray) -> np.ndarray:
    size = int(max(train.max(initial=0), other.max(initial=0))) + 1
    count, positive = np.bincount(train, minlength=size), np.bincount(train, weights=label, minlength=size)
    rate = (positive + PRIOR_ROWS * label.mean()) / (count + PRIOR_ROWS)
    return np.asarray(rate[other])


def duplicates(
    train: pd.DataFrame,
    train_label: np.ndarray,
    rows: pd.DataFrame,
    label: np.ndarray,
    train_entity: np.ndarray | None,
    entity: np.ndarray | None,
) -> Duplicates:
    """Row patterns (columns and label) that both sides hold, against what a random split gives.

    Coarse data repeat themselves honestly. Let a pattern occur c times in all, and rows go to the holdout with
    probability q. It then falls on both sides with probability 1 - q^c - (1 - q)^c. The number of patterns on both
    sides is a Poisson-binomial count, judged by its normal law with continuity correction.

    Holdout rows copied into training always lie on both sides. Repetitions within one entity count once, since an
    entity is never divided. Rows that were doubled before the split look like honest repetition and are not seen here.

    Args:
        train: (k, c) training rows, with ``train_label`` (k,) bool.
        rows: (n, c) holdout rows of the same columns, with ``label`` (n,) bool.
        train_entity, entity: (k,) and (n,), or None.
    """
    keys = pd.util.hash_pandas_object(pd.concat([train, rows], ignore_index=True), index=False).to_numpy()
    table = pd.DataFrame(
        {"key": keys, "label": np.concatenate([train_label, label]), "holdout": np.arange(len(keys)) >= len(train)}
    )
    if entity is not None and train_entity is not None:
        who = pd.Series(np.concatenate([train_entity, entity]))
        table = table[who.isna().to_numpy() | ~table.assign(who=who).duplicated().to_numpy()]
    split = float(table["holdout"].mean())
    count = table.groupby(["key", "label"])["holdout"].agg(["sum", "size"])
    count = count[count["size"] > 1]
    inside, size = count["sum"].to_numpy(), count["size"].to_numpy()
    shared = int(((inside > 0) & (inside < size)).sum())
    both = 1 - split**size - (1 - split) ** size
    error = float(np.sqrt((both * (1 - both)).sum()))
    excess = shared - float(both.sum())
    p_value = float(norm.sf((excess - 0.5) / error)) if error > 0 else 1.0
    return Duplicates(shared, float(both.sum()), error, p_value)


def shared_entities(train_entity: np.ndarray, entity: np.ndarray) -> tuple[int, int]:
    """Distinct entities on both sides, and holdout rows that belong to them; unknown entities are left out."""
    known = pd.Series(entity).dropna()
    both = known[known.isin(pd.Series(train_entity).dropna().unique())]
    return int(both.nunique()), len(both)


def missing_by_kind(train: pd.DataFrame, served: pd.DataFrame, column: str, others: list[str]) -> float:
    """How much of ``column`` training would lead one to miss in rows of the served kind, 0 to 1.

    The missing share by bin of one other column, learned in training and applied to the served rows; of the other
    columns, the one that explains most. A site that never asks a question lacks its answer in training too.
    """
    gone = train[column].isna().to_numpy()
    return max((float(_rates(*_codes(train[o], served[o]), gone).mean()) for o in others), default=0.0)


def label_jump(
    label: np.ndarray, expected: np.ndarray, entity: np.ndarray | None, confidence: float, numbers: bool = False
) -> Jump | None:
    """Where, in the order of the table, the label rate leaves what the scores explain.

    The table is cut into up to 20 blocks. Residuals (label less score) of each block are compared with the rest's, and
    those before each border with those after it: a scan for one change-point or one odd stretch. The z-values carry the
    variance of the scores. They also carry that of sums by entity (cluster-robust, Liang & Zeger 1986), since
    neighbours in a table are often the same person. Bounds are Bonferroni-adjusted for all comparisons.

    The effect is Cohen's h (1988) between the rate there and the rate that the residuals elsewhere would give. It
    separates 1 % from none as it separates 30 % from 40 %. Of numbers the effect is Cohen's d, the shift of the mean in
    standard deviations of the labels, which the same limits suit.

    Args:
        label: (n,) in the order of the table.
        expected: (n,) rates in [0, 1], or ``numbers``.
        entity: (n,), or None.

    Returns:
        None where the rarer class fills no two blocks, or numbers do not vary.
    """
    n = len(label)
    events = (n if np.ptp(label) > 0 else 0) if numbers else int(min(label.sum(), n - label.sum()))
    count = min(BLOCKS, events // BLOCK_EVENTS)
    residual = label - expected
    residual = residual - residual.mean() if n else residual
    if count < 2:
        return None
    own = (
        np.full(n, max(float((residual**2).mean()), 1e-12 * float(label.var())))
        if numbers
        else np.clip(expected * (1 - expected), 1e-4, None)
    )
    variance = _variance(residual, own, entity)
    edges = np.linspace(0, n, count + 1).astype(int).tolist()
    runs = [(0, edges[i]) for i in range(1, count)] + (
        [(edges[i], edges[i + 1]) for i in range(1, count)] if count > 2 else []
    )
    sums, spread = (np.concatenate([[0.0], np.cumsum(v)]) for v in (residual, variance))
    z = []
    for low, high in runs:
        m, within = high - low, spread[high] - spread[low]
        gap = (sums[high] - sums[low]) * (1 / m + 1 / (n - m))
        z.append(gap / np.sqrt(within / m**2 + (spread[-1] - within) / (n - m) ** 2))
    at = int(np.argmax(np.abs(z)))
    low, high = runs[at]
    m = high - low
    found = label[low:high].mean()
    usual = float(found - (sums[high] - sums[low]) * (1 / m + 1 / (n - m)))
    if numbers:
        spread_of_labels = float(label.std())
        effect = abs(float(found) - usual) / spread_of_labels
    else:
        usual, spread_of_labels = float(np.clip(usual, 0, 1)), float(np.sqrt(label.mean() * (1 - label.mean())))
        effect = float(abs(2 * np.arcsin(np.sqrt(found)) - 2 * np.arcsin(np.sqrt(usual))))
    bound = normal_quantile(1 - (1 - confidence) / len(runs) / 2)
    width = bound / abs(z[at]) * effect if z[at] else 0.0
    place = f"rows {100 * low / n:.0f} % to {100 * high / n:.0f} % of the table"
    return Jump(
        effect,
        effect - width,
        effect + width,
        float(found),
        usual,
        place,
        m,
        float(bound * 2 / np.sqrt(n) * np.sqrt(variance.mean()) / spread_of_labels),
    )


def _variance(residual: np.ndarray, own: np.ndarray, entity: np.ndarray | None) -> np.ndarray:
    """(n,) variance that each row adds to a sum of residuals: its ``own`` by the score, enlarged where an entity's rows
    go together.

    It follows the score, not the residual: a stretch without any positive would else look like one without any doubt.
    """
    plain = float((residual**2).mean())
    if entity is not None:
        code = pd.factorize(pd.Series(entity))[0]
        known = code >= 0
        sums = np.bincount(code[known], weights=residual[known])
        plain = max(plain, float((sums**2).sum() + (residual[~known] ** 2).sum()) / len(residual))
    return np.asarray(own * max(plain / own.mean(), 1.0))
