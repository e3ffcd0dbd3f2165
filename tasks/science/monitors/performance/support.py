"""Where an estimate without labels may be believed: do the window's rows lie where the reference has rows?

A range of values does not tell: a column that broke to 0 is within it. What tells is how dense the reference is where
the window's rows are, by a classifier that tells rows of the two apart (Bickel, Brückner & Scheffer 2009).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu
from sklearn.ensemble import HistGradientBoostingClassifier

from tasks.science.monitors.performance.calibration import logistic_fit
from tasks.science.stats.folds import folds, splits
from tasks.spec.model import ModelConfig

ROWS = 4000
"""Rows of either side that the classifier sees at most, a random sample where there are more."""
MANY = 12_000
"""Reference rows at most once they are weighted, or once a column is left out and the label is learned anew."""
FOLDS = 3
TREES = {
    "max_iter": 30,
    "max_leaf_nodes": 8,
    "learning_rate": 0.15,
    "min_samples_leaf": 10,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
RARE = 0.05
"""A row is outside the support where the reference is less than this times as dense as the window."""
OUTSIDE = 0.1
"""Share of rows outside the support from which the score is not believed."""
EFFECTIVE = 100
"""Smallest effective number of labelled reference rows, once they are weighted like the window."""
CLIP = 20.0
LEVEL, APART = 0.01, 0.55
"""Significance, and area, from which the inputs are said to have shifted: under it, weights would only add noise."""
MISSING = -1e12
"""A value below all others: trees part it from them by one cut, and a column of nothing else is a constant."""
UNIMPORTANT = 0.01
"""Share of the attribution under which a feature may leave the support: the score hardly follows it."""


@dataclass(frozen=True)
class Overlap:
    """How the window's rows overlap with the reference's, over ``columns``.

    ``outside``: share of window rows where the reference is :data:`RARE`. ``area``: AUC of the classifier, 0.5 where
    nothing distinguishes the two. ``taken`` (m,): positions of the reference rows that were weighted. ``weight`` (m,):
    their density ratios, clipped, with mean 1. ``effective``: their effective number (Kish 1965). ``broken``: columns
    to leave out to be within the support again. ``without``: the overlap over the others, None where nothing is left.
    """

    columns: tuple[str, ...]
    area: float
    shifted: bool
    outside: float
    taken: np.ndarray
    weight: np.ndarray
    effective: float
    broken: tuple[str, ...] = ()
    without: Overlap | None = None

    @property
    def holds(self) -> bool:
        return self.outside <= OUTSIDE and self.effective >= EFFECTIVE


def overlap(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, attention: dict[str, float], seed: int
) -> Overlap:
    """Over the features that count; where the support is left, the columns that leave it are looked for.

    Args:
        reference: (m, columns) labelled rows; window: (n, columns), features that it lacks being missing.
        attention: share of attribution by feature; without any, every feature counts.
    """
    columns = [f for f in config.features if not attention or attention.get(f, 0.0) >= UNIMPORTANT]
    columns = columns or list(config.features)
    rng = np.random.default_rng(seed)
    taken, seen = (rng.permutation(len(rows))[:ROWS] for rows in (reference, window))
    then, now = (
        encoded(config, reference, reference.iloc[taken], columns),
        encoded(config, reference, window.iloc[seen], columns),
    )
    first = overlap_of(columns, then, now, taken, seed)
    if first.outside <= OUTSIDE:
        if first.shifted and len(reference) > ROWS:  # a calibration on weighted rows wants many
            taken = rng.permutation(len(reference))[:MANY]
            return overlap_of(columns, encoded(config, reference, reference.iloc[taken], columns), now, taken, seed)
        return first
    apart = {c: _apart(then[:, i], now[:, i]) for i, c in enumerate(columns)}
    order = sorted(columns, key=lambda c: -apart[c][1])
    broken = [c for c in order if apart[c][0] > OUTSIDE]
    order = broken + [c for c in order if c not in broken]
    for count in range(max(1, len(broken)), len(columns) // 2 + 1):
        others = [c for c in columns if c not in order[:count]]
        kept = [columns.index(c) for c in others]
        later = overlap_of(others, then[:, kept], now[:, kept], taken, seed)
        if later.holds:
            taken = rng.permutation(len(reference))[:MANY]
            later = overlap_of(
                others, encoded(config, reference, reference.iloc[taken], others), now[:, kept], taken, seed
            )
            return replace(first, broken=tuple(order[:count]), without=later)
    return replace(first, broken=tuple(broken))


def encoded(config: ModelConfig, reference: pd.DataFrame, rows: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """(n, columns) numbers for a classifier; missing is :data:`MISSING`.

    A category is its rank by frequency in the reference; one that the reference does not hold comes last.
    """
    found = np.full((len(rows), len(columns)), MISSING)
    for i, name in enumerate(columns):
        if name not in rows:
            continue
        if config.column(name).kind.numeric:
            found[:, i] = pd.to_numeric(rows[name], errors="coerce").to_numpy(float)
            continue
        known = reference[name].value_counts().index
        codes = pd.Categorical(rows[name], categories=known).codes.astype(float)
        found[:, i] = np.where(codes >= 0, codes, np.where(rows[name].isna(), MISSING, float(len(known))))
    return np.where(np.isfinite(found), found, MISSING)


def _apart(then: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """Share of the window's values where the reference is :data:`RARE`, and the total variation distance."""
    edges = np.unique(np.quantile(then, np.linspace(0, 1, 21)))
    shares = []
    for side in (then, now):
        place = np.searchsorted(edges, side, side="right") + (side > edges[-1])
        shares.append(np.bincount(place, minlength=len(edges) + 2) / len(side))
    before, after = shares
    return float(after[before < RARE * after].sum()), float(np.abs(after - before).sum() / 2)


def overlap_of(columns: list[str], then: np.ndarray, now: np.ndarray, taken: np.ndarray, seed: int) -> Overlap:
    """Cross-fitted classifier, its log-odds recalibrated so that they shrink to nothing where it learned noise."""
    x = np.vstack([then, now])
    side = np.append(np.zeros(len(then)), np.ones(len(now)))
    balance = np.where(side == 1, len(then) / len(now), 1.0)
    fold = folds(len(x), FOLDS, np.random.default_rng(seed))
    score = np.zeros(len(x))
    for fit, held in splits(fold, FOLDS):
        model = HistGradientBoostingClassifier(random_state=seed, **TREES).fit(x[fit], side[fit])
        score[held] = model.decision_function(x[held])
    test = mannwhitneyu(score[side == 1], score[side == 0], alternative="greater")
    area = float(test.statistic / (len(then) * len(now)))
    weights = logistic_fit(np.column_stack([np.ones(len(x)), score]), side, balance)
    ratio = np.exp(
        np.clip(weights[0] + weights[1] * score, -20, 20)
    )  # density of the window over that of the reference
    weight = np.minimum(ratio[side == 0], CLIP)
    weight = weight / weight.mean()
    outside = float((1 / ratio[side == 1] < RARE).mean())
    return Overlap(
        tuple(columns),
        area,
        bool(test.pvalue < LEVEL and area > APART),
        outside,
        taken,
        weight,
        float(weight.sum() ** 2 / (weight**2).sum()),
    )
