"""Whether labels depend on who gave them, among rows that are alike in every input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.tree import DecisionTreeRegressor

from tasks.science.stats.folds import splits

FOLDS = 5
MOST_NAMES = 200
"""Names of a category that are told apart; the rarer ones are one."""
LEAF_ROWS, LEAF_SHARE, LEAVES = 50, 0.05, 4
"""Of the tree that says where labels differ, and which way."""
METHOD = (
    "generalised covariance measure (Shah & Peters 2020) and its weighted form (Scheidegger, Hoerrmann & Buehlmann "
    "2022), boosted trees, 5 folds; difference after Robinson 1988"
)


@dataclass(frozen=True)
class Dependence:
    """How far the labels of one source differ from those of others on rows that are alike."""

    value: float
    """Mean difference, in standard deviations of what the inputs leave unexplained; of several classes, the largest."""
    low: float
    high: float
    p: float
    """Of "the label does not depend on its source, given the row"; against a difference everywhere or somewhere."""
    rows: int
    """Different rows that it rests on."""


def dependence(
    label: np.ndarray, source: np.ndarray, rows: pd.DataFrame, confidence: float, seed: int
) -> Dependence | None:
    """Test that labels do not depend on their source given the row, and measure how far they do.

    Both label and source are reduced to what the inputs leave of them, by models that did not see the row. The mean of
    the product is 0 where the hypothesis holds (Shah & Peters 2020, Annals of Statistics 48). A second test weighs
    the products by what a small tree, fitted on other rows, expects of them. So it sees a difference that one kind
    of rows alone has, or that goes both ways (Scheidegger et al. 2022, JMLR 23).

    Kinds of rows that one source alone labels leave nothing of the source, and say nothing. One source's rows that are
    the same in every input count once, with their mean, and are in one fold. Who sends a row a thousand times says it
    once.

    The difference is the coefficient of the source in a partially linear model (Robinson 1988) with the standard error
    of White (1980). The two tests share the error rate by Bonferroni, and several classes likewise.

    Args:
        label: (n,) bool, class codes or numbers; numbers count by their ranks.
        source: (n,) bool, True where the label is of the source that is asked about.
        rows: (n, columns) inputs.
        confidence: of each bound alone.

    Returns:
        None where one side has fewer than 10 rows, or nothing varies.
    """
    table = _encoded(rows)
    code = table.assign(_side=source).groupby([*table.columns, "_side"], dropna=False, sort=False, observed=True)
    first = code.head(1).index.to_numpy()
    number = code.ngroup().to_numpy()
    columns = _columns(label)
    counts = np.bincount(number)
    order = number[first]
    y = np.column_stack([np.bincount(number, column)[order] / counts[order] for column in columns.T])
    s, table = source[first].astype(float), table.loc[first].reset_index(drop=True)
    if min(s.sum(), len(s) - s.sum()) < 10:
        return None
    fold = _folds(table, seed)
    left = np.column_stack([_residual(column, table, fold, seed) for column in y.T])
    rest = _residual(s, table, fold, seed)
    found = [
        _measured(left[:, k] * rest, rest, left[:, k], table, fold, confidence)
        for k in range(left.shape[1])
        if left[:, k].std() > 0
    ]
    if not found or not np.mean(rest**2) > 0:
        return None
    value, low, high, _ = max(found, key=lambda each: abs(each[0]))
    return Dependence(value, low, high, min(1.0, len(found) * min(each[3] for each in found)), len(s))


def _columns(label: np.ndarray) -> np.ndarray:
    """(n, k) what is compared: the positive class, each of several, or ranks of numbers."""
    if label.dtype == bool:
        return np.asarray(label.astype(float)[:, None])
    if np.issubdtype(label.dtype, np.integer):
        return np.asarray((label[:, None] == np.unique(label)[None, :]).astype(float))
    return np.asarray((rankdata(label) / len(label))[:, None])


def _encoded(rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers as they are, names as pandas categories, of which the rarest are one."""
    done: dict[Any, pd.Series] = {}
    for name in rows:
        column = rows[name]
        if pd.api.types.is_numeric_dtype(column):
            done[name] = column.astype(float)
            continue
        text = column.astype("str").where(column.notna())
        kept = text.value_counts().index[:MOST_NAMES]
        done[name] = text.where(text.isin(kept) | text.isna(), "other names").astype("category")
    return pd.DataFrame(done).reset_index(drop=True)


def _folds(table: pd.DataFrame, seed: int) -> np.ndarray:
    """(n,) fold of each row; rows that are the same are in one."""
    same = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return np.asarray(pd.util.hash_array(same ^ np.uint64(seed)) % FOLDS)


def _residual(target: np.ndarray, table: pd.DataFrame, fold: np.ndarray, seed: int) -> np.ndarray:
    """(n,) what is left of a target after what other folds taught of it."""
    left = np.zeros(len(target))
    for inside, outside in splits(fold, FOLDS):
        if not outside.any():
            continue
        model = HistGradientBoostingRegressor(
            max_iter=200, learning_rate=0.08, max_leaf_nodes=8, min_samples_leaf=40, l2_regularization=1.0,
            early_stopping=True, validation_fraction=0.2, n_iter_no_change=5, categorical_features="from_dtype",
            random_state=seed,
        )  # fmt: skip
        left[outside] = target[outside] - model.fit(table.iloc[inside], target[inside]).predict(table.iloc[outside])
    return left


def _measured(
    product: np.ndarray, rest: np.ndarray, left: np.ndarray, table: pd.DataFrame, fold: np.ndarray, confidence: float
) -> tuple[float, float, float, float]:
    """Difference with its bounds, and the p-value of both tests."""
    n, overlap, spread = len(product), float(np.mean(rest**2)), float(left.std())
    value = float(product.mean()) / overlap
    error = float(np.std(product - value * rest**2)) / (math.sqrt(n) * overlap)
    half = float(norm.ppf(confidence)) * error
    everywhere = 2 * norm.sf(abs(_t(product)))
    expected = _expected(product, table, fold)
    somewhere = norm.sf(_t((product * expected)[expected != 0]))
    return value / spread, (value - half) / spread, (value + half) / spread, min(1.0, 2 * min(everywhere, somewhere))


def _expected(product: np.ndarray, table: pd.DataFrame, fold: np.ndarray) -> np.ndarray:
    """(n,) the product that a tree of the *earlier* folds expects; 0 in the first fold.

    Were each fold's weight learned from all others, two folds would each lean on the other, and the sum would vary more
    than its terms say. One after the other they are martingale differences.
    """
    numbers = table.apply(lambda c: c.cat.codes if isinstance(c.dtype, pd.CategoricalDtype) else c).to_numpy(float)
    weight = np.zeros(len(product))
    for k in range(1, FOLDS):
        before, now = fold < k, fold == k
        if not before.any() or not now.any():
            continue
        leaf = max(LEAF_ROWS, int(LEAF_SHARE * before.sum()))
        tree = DecisionTreeRegressor(max_leaf_nodes=LEAVES, min_samples_leaf=leaf, random_state=0)
        weight[now] = tree.fit(numbers[before], product[before]).predict(numbers[now])
    return weight


def _t(terms: np.ndarray) -> float:
    spread = float(terms.std()) if len(terms) else 0.0
    return float(terms.mean()) * math.sqrt(len(terms)) / spread if spread > 0 else 0.0
