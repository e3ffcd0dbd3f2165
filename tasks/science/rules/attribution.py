"""Expert rules on what drives the predictions: shares of the mean absolute attribution."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from tasks.science.examination.examination import Examination
from tasks.science.rules.tools import RuleFault, unchecked, unused
from tasks.science.stats.clusters import entities, gathered, shared, totals
from tasks.science.stats.comparison import delong
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.folds import folds
from tasks.science.stats.intervals import normal_quantile
from tasks.science.stats.jackknife import contributions, t_bounds
from tasks.spec.evidence import Measurement, State
from tasks.spec.rules import ForbiddenDriver, Proxy, RequiredDriver

REPLICATES = 500
ASSOCIATED_ROWS = 5000
FOLDS, BINS, FEW_VALUES = 5, 20, 10


def forbidden(rule: ForbiddenDriver, label: str, examination: Examination, confidence: float) -> Measurement:
    """Share of one column, with bounds from a bootstrap of the explained sample, by entity where there are any."""
    unclear = _unclear(label, rule.share, examination)
    if unclear is not None:
        return unclear
    return _at_most(label, [rule.column], [rule.column], rule.share, examination, confidence)


def required(rule: RequiredDriver, label: str, examination: Examination, confidence: float) -> Measurement:
    """Share of one column from below, with bounds from a bootstrap of the explained sample, by entity where there are
    any.
    """
    if rule.column not in examination.features:
        raise unused(rule.column)
    unclear = _unclear(label, rule.share, examination)
    if unclear is not None:
        return unclear
    value, low, high, rows = driver_share([rule.column], examination, confidence)
    if value == 0:
        raise unused(rule.column)
    people = entities(examination.owners_of(examination.attributions))
    state: State = "fail" if value < rule.share else "pass" if low >= rule.share else "insufficient_evidence"
    return Measurement(
        label=label, value=value, low=low, high=high, limit=rule.share, rows=rows, entities=people, state=state
    )


def proxy(rule: Proxy, label: str, examination: Examination, confidence: float) -> Measurement:
    """Share of the features that give the protected column away.

    The association is judged feature by feature and not on the score. Groups differ in their true drivers, so a good
    model's score separates them as well. A limit on the score would stop good models or let a proxy through. A feature
    whose DeLong bound alone reaches the limit of association counts against a pass, not for a fail.
    """
    odd = [a for a in rule.allowed if a not in examination.rows]
    if odd:
        raise RuleFault(
            f"allowed names {', '.join(odd)}; allowed are input columns: "
            f"{', '.join(map(str, examination.rows.columns))}"
        )
    unclear = _unclear(label, rule.share, examination)
    if unclear is not None:
        return unclear
    features = [f for f in examination.features if f not in rule.allowed]
    found = association(rule.column, features, examination, confidence)
    if found is None:
        why = f"fewer than two groups of {rule.column} have {MINIMUM} rows"
        return unchecked(label, why, len(examination.rows), rule.share)
    sure = [f for f, (auc, _) in found.items() if auc >= rule.association]
    perhaps = [f for f, (_, bound) in found.items() if bound >= rule.association]
    if sure:
        label += f" ({', '.join(f'{f} by AUC {found[f][0]:.2f}' for f in sure)})"
    return _at_most(label, sure, sorted({*sure, *perhaps}), rule.share, examination, confidence)


def association(
    column: str, features: list[str], examination: Examination, confidence: float
) -> dict[str, tuple[float, float]] | None:
    """:func:`_association`, computed once for an examination: the rule and its picture ask the same."""
    name = ("association", column, tuple(features), confidence)
    found: dict[str, tuple[float, float]] | None = examination.cached(
        name, lambda: _association(column, features, examination, confidence)
    )
    return found


def _association(
    column: str, features: list[str], examination: Examination, confidence: float
) -> dict[str, tuple[float, float]] | None:
    """How well each feature alone separates a group of ``column`` from the rest: the largest AUC over groups.

    The feature's values (numbers: 20 quantile bins) are scored by the group's rate in the other folds of five. This is
    cross-fitting, so that many rare values do not look like knowledge. The bound is DeLong's (1988), of rows of
    entities Obuchowski's (1997).

    Returns:
        AUC and upper bound per feature, or None where fewer than two groups are large enough.
    """
    order = np.random.default_rng(examination.seed).permutation(len(examination.rows))[:ASSOCIATED_ROWS]
    groups = _groups(column, examination).iloc[order].reset_index(drop=True)
    counts = groups.value_counts()
    names = [g for g in counts.index if counts[g] >= MINIMUM and len(order) - counts[g] >= MINIMUM]
    if len(counts[counts >= MINIMUM]) < 2:
        return None
    fold = folds(len(order), FOLDS)
    members = [(groups == name).to_numpy(bool, na_value=False) for name in names[: 1 if len(counts) == 2 else None]]
    owners = examination.owners_of(examination.rows.iloc[order])
    z = {}
    for feature in features:
        if feature == column:
            z[feature] = (1.0, 1.0)
            continue
        codes = _codes(examination.rows[feature].iloc[order])
        z[feature] = max(_auc_of_member(member, codes, fold, confidence, owners) for member in members)
    return z


def _auc_of_member(
    member: np.ndarray, codes: np.ndarray, fold: np.ndarray, confidence: float, owners: np.ndarray | None
) -> tuple[float, float]:
    size = int(codes.max()) + 1
    place = fold * size + codes
    hits = np.bincount(place, member, FOLDS * size).reshape(FOLDS, size)
    seen = np.bincount(place, minlength=FOLDS * size).reshape(FOLDS, size)
    hits, seen = hits.sum(axis=0) - hits, seen.sum(axis=0) - seen  # of the other folds
    score = ((hits + hits.sum(axis=1, keepdims=True) / seen.sum(axis=1, keepdims=True)) / (seen + 1))[fold, codes]
    alone = shared(owners)
    if alone is not None:
        value, terms = contributions("roc_auc", member, score, float("nan"))
        return value, t_bounds(gathered(terms, alone), value)(confidence)[1]
    auc, variance = delong(member, score[None, :])
    return float(auc[0]), float(auc[0] + normal_quantile(confidence) * np.sqrt(variance[0, 0]))


def _codes(values: pd.Series) -> np.ndarray:
    """(n,) small integers: quantile bins of numbers, categories else; missing is a value of its own."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > BINS:
        values = pd.qcut(values, BINS, labels=False, duplicates="drop")
    return np.asarray(pd.factorize(values, use_na_sentinel=False)[0])


def _groups(column: str, examination: Examination) -> pd.Series:
    """The protected groups where the model declares them; else the values, numbers split at their median."""
    declared = examination.config.protected if examination.config else {}
    for name, spec in declared.items():
        if spec.column == column and name in examination.groups:
            return examination.groups[name]
    values = examination.rows[column]
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > FEW_VALUES:
        return (
            (values > values.median()).map({True: "above the median", False: "up to the median"}).where(values.notna())
        )
    return values


def _unclear(label: str, limit: float, examination: Examination) -> Measurement | None:
    size = examination.attributions
    missing = set(examination.features) - set(size.columns)
    if len(size) == 0 or missing or not np.isfinite(size.to_numpy()).all():
        return unchecked(label, "the attributions are incomplete", len(size), limit)
    people = entities(examination.owners_of(size))
    if people is not None and people < MINIMUM:
        which = f"{people} {examination.entity_name}"
        why = f"the {len(size):,} explained rows are of {which}; at least {MINIMUM} are needed"
        return unchecked(label, why, len(size), limit)
    return None


def _at_most(
    label: str, sure: list[str], perhaps: list[str], limit: float, examination: Examination, confidence: float
) -> Measurement:
    value, low, _, rows = driver_share(sure, examination, confidence)
    _, _, high, _ = driver_share(perhaps, examination, confidence)
    people = entities(examination.owners_of(examination.attributions))
    state: State = "fail" if value > limit else "pass" if high <= limit else "insufficient_evidence"
    return Measurement(
        label=label, value=value, low=low, high=high, limit=limit, rows=rows, entities=people, state=state
    )


@lru_cache(maxsize=4)
def _draws(seed: int, units: int) -> np.ndarray:
    """(replicates, units) how often each row, or each entity with its rows, is in each bootstrap sample; every rule
    looks at the same samples.
    """
    return (
        np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=REPLICATES).astype(float)
    )  # else each product would convert them


def driver_share(columns: list[str], examination: Examination, confidence: float) -> tuple[float, float, float, int]:
    """Share of the mean absolute attribution that some columns carry, its percentile bootstrap bounds, and the rows.

    Rows are drawn, or entities with all their rows (Davison & Hinkley 1997, section 3.8; Field & Welsh 2007). Columns
    that the model does not see carry nothing.
    """
    size = examination.attributions.abs()
    rows, owned = len(size), size.columns.isin(columns)
    both = np.column_stack([size.to_numpy()[:, owned].sum(axis=1), size.to_numpy().sum(axis=1)])
    part, whole = both.sum(axis=0)
    both = totals(both, shared(examination.owners_of(size)))
    draws = _draws(examination.seed, len(both)) @ both
    shares = np.divide(draws[:, 0], draws[:, 1], out=np.zeros(REPLICATES), where=draws[:, 1] > 0)
    low, high = np.quantile(shares, [1 - confidence, confidence])
    return float(part / whole) if whole > 0 else 0.0, float(low), float(high), rows
