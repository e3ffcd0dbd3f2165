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
    scores = [rates(*codes(train[c], rows[c]), train_label) for c in train.columns]
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


def codes(
    train: pd.Series, other: pd.Series, bins: int = BINS, categories: int = CATEGORIES
) -> tuple[np.ndarray, np.ndarray]:
    """(k,) and (n,) small integers: the bin of each value, bins learned from ``train``.

    Quantile bins of numbers ascend. What is missing is a bin of its own, the last one.
    """
    if pd.api.types.is_numeric_dtype(train) and pd.api.types.is_numeric_dtype(other):
        known = train.dropna().to_numpy(float)
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1))) if len(known) else np.array([0.0])
        first, second = (
            np.searchsorted(edges, s.to_numpy(float, na_value=np.nan), side="right") for s in (train, other)
        )
        missing = len(edges) + 1
    else:
        found, names = pd.factorize(pd.concat([_text(train), _text(other)], ignore_index=True))
        count = np.bincount(found[: len(train)][found[: len(train)] >= 0], minlength=len(names))
        kept = np.argsort(-count, kind="stable")[: min(categories, int((count > 0).sum()))]
        place = np.zeros(len(names) + 1, np.intp)  # 0 for a value that training lacks
        place[kept] = np.arange(len(kept)) + 1
        first, second = place[found[: len(train)]], place[found[len(train) :]]
        missing = len(kept) + 1
    return np.where(train.isna(), missing, first), np.where(other.isna(), missing, second)


def _text(values: pd.Series) -> pd.Series:
    return values if isinstance(values.dtype, pd.StringDtype) else values.astype(str).where(values.notna())


def rates(train: np.ndarray, other: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The label rate of each other row's bin, learned from (k,) training bins and labels, with a prior."""
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
    return max((float(rates(*codes(train[o], served[o]), gone).mean()) for o in others), default=0.0)
