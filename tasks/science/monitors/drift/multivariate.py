"""Did the inputs change together, where no column shows it alone?

A classifier between windows, and what few directions leave unexplained.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata, ttest_ind
from sklearn.decomposition import PCA

from tasks.science.monitors.drift.distances import LN2
from tasks.science.monitors.profiles.layout import readable
from tasks.science.stats.folds import folds, splits
from tasks.science.stats.intervals import Z
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

FOLDS = 5
KEPT = 0.65
"""Share of the variance that the directions of the reconstruction hold, as in NannyML."""
EXTREME = 0.995
"""Quantile of the errors at which each is held, so that a few rows far out do not decide a mean."""
NAMED = 3
PAIRS, VALUES, COMMON = 300, 10, 0.01
"""Products of two columns at most, drawn at random where there are more. Then, of values with a term of their own: how
many a column has at most, and the share of rows from which a value is common."""
RIDGE = 0.01
SHUFFLES = 200
"""Shuffled labels, whose spread gives the p-value by a normal tail."""


def multivariate_findings(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, alpha: float, seed: int
) -> list[Finding]:
    """Two findings on the model's features taken together; ``alpha`` is shared between them (Bonferroni).

    Args:
        config: the model's config.
        reference, window: (m, columns) and (n, columns) raw inputs; of more than ``monitoring.sampled_rows``, so many
            drawn at random are used.
        alpha: chance of a false alarm.
        seed: of the sample, the folds and the classifier.
    """
    rng, limits = np.random.default_rng(seed), config.monitoring
    small = min(len(reference), len(window))
    text = ""
    if small < limits.minimum_rows:
        text = (
            f"the {'window' if len(window) == small else 'reference'} has {plural(small, 'row')} and "
            f"{limits.minimum_rows} are "
            "needed, so the inputs are not compared together"
        )
    parts = [
        part
        if len(part) <= limits.sampled_rows
        else part.iloc[np.sort(rng.choice(len(part), limits.sampled_rows, replace=False))]
        for part in (reference, window)
    ]
    columns = [f for f in config.features if f in reference and f in window]
    features = _encoded(config, columns, *parts) if not text else np.empty((0, 0))
    absent = sorted(set(config.features) - set(columns))
    varying = [] if text else [i for i in range(len(columns)) if pd.Series(features[:, i]).nunique(dropna=False) > 1]
    if not text and len(varying) < 2:
        text = (
            f"{len(varying)} of {plural(len(config.features), 'feature')} vary in these windows and two are "
            "needed, so the "
            "inputs are not compared together"
        )
    if text:
        return [_nothing(name, len(window), text) for name in ("classifier", "reconstruction")]
    told = (
        f"; without {', '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not in both windows"
        if absent
        else ""
    )
    features, names = features[:, varying], [columns[i] for i in varying]
    cut = len(parts[0])
    return [
        _classifier(config, features, cut, names, told, alpha / 2, rng),
        _reconstruction(config, features, cut, told, alpha / 2, rng),
    ]


def _nothing(name: str, rows: int, text: str) -> Finding:
    return Finding(kind="multivariate_drift", subject=name, value=None, rows=rows, alarm=False, sentence=text)


def _encoded(config: ModelConfig, columns: list[str], reference: pd.DataFrame, window: pd.DataFrame) -> np.ndarray:
    """(m + n, columns) numbers, NaN where missing: a category as its rank by frequency in both together, so that the
    encoding does not know which is which."""
    numbers = set(config.numeric_features)
    found = []
    for name in columns:
        if name in numbers:
            both = np.concatenate([readable(part[name])[0].astype(float) for part in (reference, window)])
            found.append(np.where(np.isfinite(both), both, np.nan))
        else:
            joined = pd.concat([part[name].astype(object) for part in (reference, window)], ignore_index=True)
            codes, distinct = pd.factorize(joined)
            order = np.argsort(
                np.argsort(-np.bincount(codes[codes >= 0], minlength=len(distinct)), kind="stable"), kind="stable"
            )
            found.append(np.where(codes < 0, np.nan, np.append(order, -1)[codes]))
    return np.column_stack(found) if found else np.empty((len(reference) + len(window), 0))


def _classifier(
    config: ModelConfig,
    features: np.ndarray,
    cut: int,
    names: list[str],
    told: str,
    alpha: float,
    rng: np.random.Generator,
) -> Finding:
    """Can a classifier tell the windows apart (Friedman 2004; Lopez-Paz & Oquab 2017)? See :func:`cross_fitted`.

    The limit is the AUC of a shift of a normal number by ``monitoring.drift_distance``.
    """
    label = np.arange(len(features)) >= cut
    limit = float(norm.cdf(2 * config.monitoring.drift_distance * np.sqrt(LN2)))
    value, variance, drops = cross_fitted(features, label, rng)
    p_value = float(norm.sf((value - 0.5) / np.sqrt(variance)))
    half = Z * float(np.sqrt(variance))
    alarm = bool(p_value <= alpha and value > limit)
    first = [names[i] for i in np.argsort(-drops)[:NAMED] if drops[i] > 0]
    by = f", first of all by {', '.join(first)}" if alarm and first else ""
    text = (
        f"in {value:.1%} of the pairs a classifier picks the window's row out of one of each (50% where nothing "
        f"changed, {limit:.1%} is tolerated){by}{told}"
    )
    low, high = max(value - half, 0.0), min(value + half, 1.0)
    return Finding(
        kind="multivariate_drift",
        subject="classifier",
        value=value,
        low=low,
        high=high,
        reference=0.5,
        limit=limit,
        rows=int(label.sum()),
        alarm=alarm,
        sentence=text,
    )


def cross_fitted(features: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> tuple[float, float, np.ndarray]:
    """Mean AUC over folds, its variance where nothing changed, and by column how much AUC is lost without the column's
    terms.

    A linear discriminant (Fisher 1936, with a ridge) on ranks, their squares, products of pairs, shares of common
    values and missingness. It sees columns that move alone and columns that come to move together. Cross-fitted: each
    row is judged by a fit that has not seen it. The variance is that of shuffled labels, refitted. The folds learn from
    each other's rows, so their AUCs agree more than independent ones.

    Args:
        features: (n, columns) numbers, NaN where missing.
        label: (n,) bool with both values.
    """
    design, owners = _terms(features, rng)
    fold = folds(len(label), FOLDS, rng)
    labels = np.column_stack([label, *(rng.permutation(label) for _ in range(SHUFFLES))])
    share = label.mean()
    target = np.where(labels, 1 / share, -1 / (1 - share))
    held = [kept for _, kept in splits(fold, FOLDS)]
    parts = [design[kept] for kept in held]
    grams = [part.T @ part for part in parts]
    sides = [part.T @ target[kept] for part, kept in zip(parts, held, strict=True)]
    ridge = RIDGE * len(label) * np.eye(design.shape[1])
    found, drops = np.zeros(labels.shape[1]), np.zeros(features.shape[1])
    for k, part in enumerate(parts):
        weights = np.linalg.solve(sum(grams) - grams[k] + ridge, sum(sides) - sides[k])
        truth, scores = labels[held[k]], part @ weights
        here = np.array([_auc(truth[:, i], scores[:, i]) for i in range(labels.shape[1])])
        found += here / FOLDS
        if k == 0:
            for i in range(features.shape[1]):
                used = (owners == i).any(axis=1)
                drops[i] = here[0] - _auc(truth[:, 0], scores[:, 0] - part[:, used] @ weights[used, 0])
    return float(found[0]), float(((found[1:] - 0.5) ** 2).mean()), drops


def _terms(features: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n, terms) of mean 0 and variance 1, and (terms, 2) the columns that each is made of."""
    rows, columns = features.shape
    known = ~np.isnan(features)
    normal = np.zeros((rows, columns))
    terms, owners = [], []
    for i in range(columns):
        values = features[known[:, i], i]
        normal[known[:, i], i] = norm.ppf((rankdata(values) - 0.5) / len(values))
        terms.append(normal[:, i])
        owners.append((i, i))
        if not known[:, i].all():
            terms.append(~known[:, i])
            owners.append((i, i))
        common, counts = np.unique(values, return_counts=True)
        for value in common[(counts > COMMON * rows)][:VALUES]:
            terms.append(features[:, i] == value)
            owners.append((i, i))
    pairs = [(i, j) for i in range(columns) for j in range(i, columns)]
    for place in np.sort(rng.permutation(len(pairs))[:PAIRS]):
        i, j = pairs[place]
        terms.append(normal[:, i] * normal[:, j])
        owners.append((i, j))
    design = np.column_stack(terms).astype(float)
    design -= design.mean(axis=0)
    spread = design.std(axis=0)
    return design[:, spread > 0] / spread[spread > 0], np.array(owners)[spread > 0]


def _auc(label: np.ndarray, score: np.ndarray) -> float:
    ones = int(label.sum())
    if not 0 < ones < len(label):
        return 0.5
    return float((rankdata(score)[label].sum() - ones * (ones + 1) / 2) / (ones * (len(label) - ones)))


def _reconstruction(
    config: ModelConfig, features: np.ndarray, cut: int, told: str, alpha: float, rng: np.random.Generator
) -> Finding:
    """Do the window's rows lie as near to the reference's main directions as its own held-out rows do?

    Directions, scales and the hold on extremes come from a half of the reference; its other half and the window are
    compared by Welch's test (1947) of their mean error. The limit is the shift of a normal number by
    ``monitoring.drift_distance``, in standard deviations of the held-out errors.
    """
    order = rng.permutation(cut)
    fit, held, window = features[order[: cut // 2]], features[order[cut // 2 :]], features[cut:]
    errors = _errors(fit, held, window)
    rows, limit = len(window), float(2 * config.monitoring.drift_distance * np.sqrt(2 * LN2))
    if errors is None:
        return _nothing(
            "reconstruction",
            rows,
            (
                "the reference's features do not vary enough to have main directions, so no row's distance from them "
                "is compared"
            ),
        )
    spread = float(errors[0].std(ddof=1))
    if spread < 1e-9 or errors[1].std() < 1e-9:
        return _nothing(
            "reconstruction",
            rows,
            (
                "the distance from the reference's main directions is the same in every row of a window, so it is "
                "not compared"
            ),
        )
    p_value = float(ttest_ind(errors[1], errors[0], equal_var=False).pvalue)
    moved = float(errors[1].mean() - errors[0].mean()) / spread
    half = Z * float(np.sqrt(errors[1].var(ddof=1) / rows + spread**2 / len(held))) / spread
    way = "farther from" if moved > 0 else "nearer to"
    text = (
        f"rows lie {abs(moved):.2f} standard deviations {way} the reference's main directions than its own held-out "
        f"rows ({limit:.2f} is tolerated){told}"
    )
    alarm = bool(p_value <= alpha and abs(moved) > limit)
    return Finding(
        kind="multivariate_drift",
        subject="reconstruction",
        value=moved,
        low=moved - half,
        high=moved + half,
        reference=0.0,
        limit=limit,
        rows=rows,
        alarm=alarm,
        sentence=text,
    )


def _errors(fit: np.ndarray, *parts: np.ndarray) -> list[np.ndarray] | None:
    """(n,) distance of each part's rows from the directions that hold :data:`KEPT` of the variance of ``fit``; None
    where it has none."""
    missing = np.isnan(fit)
    middle = np.nanmedian(np.where(missing.all(axis=0), 0.0, fit), axis=0)
    filled = np.where(missing, middle, fit)
    # differences first: what is large and close together keeps its digits
    center, spread = filled.mean(axis=0), filled.std(axis=0)
    used = spread > 0
    if used.sum() < 2:
        return None

    def scaled(part: np.ndarray) -> np.ndarray:
        return np.asarray(
            np.clip((np.where(np.isnan(part), middle, part)[:, used] - center[used]) / spread[used], -10, 10)
        )

    whole = scaled(filled)
    pca = PCA(svd_solver="full").fit(whole)
    count = min(int(np.searchsorted(np.cumsum(pca.explained_variance_ratio_), KEPT)) + 1, int(used.sum()) - 1)
    kept = pca.components_[:count]

    def error(part: np.ndarray) -> np.ndarray:
        moved = part - pca.mean_
        return np.asarray(np.linalg.norm(moved - moved @ kept.T @ kept, axis=1))

    highest = np.quantile(error(whole), EXTREME)
    return [np.minimum(error(scaled(part)), highest) for part in parts]
