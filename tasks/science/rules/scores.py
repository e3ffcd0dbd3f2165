"""Expert rules on what the scores are and how they move: the model is asked about changed rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tasks.science.examination.examination import Examination
from tasks.science.rules.tools import (
    INDIFFERENT,
    SAMPLE,
    RuleFault,
    declared,
    fitting,
    note,
    rows_where,
    scores,
    share_of,
    unchecked,
    unused,
    with_number,
)
from tasks.science.stats.counts import MINIMUM
from tasks.spec.evidence import Measurement, State
from tasks.spec.rules import Case, Direction, Invariance, Monotone, ScoreRange, Vignette
from tasks.spec.wording import plural

PATHS, STEPS = 300, 16
CHANGED_ROWS, VALUES = 1000, 20


def direction(rule: Direction, label: str, examination: Examination, confidence: float) -> Measurement:
    """Share of sampled rows whose score moves the wrong way when the column alone is raised; Clopper-Pearson bounds.

    A quantity is raised by a quarter of its interquartile range, a whole one by whole steps, at least 1 (of a date, a
    day). Where the declared bounds end, the step is taken from below. A boolean goes from false to true.
    """
    if rule.column not in examination.features:
        raise unused(rule.column)
    sample, lower, raised = _raised(rule, examination)
    if len(sample) < MINIMUM:
        return _few(label, rule.tolerance, len(sample))
    asked = [sample.assign(**{rule.column: values}) for values in (raised, lower)]
    after, before = np.split(scores(examination, pd.concat(asked, ignore_index=True)), 2)
    moved = after - before
    if not (np.abs(moved) > INDIFFERENT).any():
        raise unused(rule.column)
    wrong = (-moved if rule.sign == "rises" else moved) - INDIFFERENT
    note(rule, sample, wrong, examination)
    return share_of(label, wrong > 0, sample, rule.tolerance, confidence, examination)


def _raised(rule: Direction, examination: Examination) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """A sample of rows, and for each the lower and the higher value of the column that are compared."""
    column = declared(rule.column, examination)
    if column is not None and column.kind.operand == "truth":
        part = examination.rows[rows_where(rule.rows, examination)].dropna(subset=[rule.column])
        sample = part.sample(min(SAMPLE, len(part)), random_state=examination.seed)
        off, on = (pd.Series(name, index=sample.index, dtype=column.kind.dtype) for name in ("false", "true"))
        return sample, off, on
    sample, values = with_number(rule.column, rule.rows, examination)
    own, step = sample[rule.column].astype(float), _step(values)
    if column is None:
        return sample, own, own + step
    if column.kind.whole:
        step = max(1.0, float(round(step)))
    higher = column.kind.admissible(own + step, column)
    ends = higher <= own  # at the upper bound, where no service takes a higher value
    return sample, own.where(~ends, column.kind.admissible(own - step, column)), higher.where(~ends, own)


def monotone(rule: Monotone, label: str, examination: Examination, confidence: float) -> Measurement:
    """Share of sampled rows whose individual conditional expectation turns back (Goldstein et al. 2015).

    The path runs over 16 even steps and the deciles between the bounds. It turns back where the score lies more than
    ``turn`` on the wrong side of what it had reached before. Bounds of the share: Clopper-Pearson.
    """
    if rule.column not in examination.features:
        raise unused(rule.column)
    sample, steps, paths = paths_of(rule.column, rule.rows, rule.low, rule.high, examination)
    if len(sample) < MINIMUM:
        return _few(label, rule.tolerance, len(sample))
    if len(steps) < 3:
        raise RuleFault(f"{rule.column} has fewer than three values between the bounds of the path; widen low and high")
    if np.ptp(paths, axis=1).max() <= INDIFFERENT:
        raise unused(rule.column)
    if rule.sign == "falls":
        paths = -paths
    back = (np.maximum.accumulate(paths, axis=1) - paths).max(axis=1)
    note(rule, sample, back - rule.turn, examination)
    return share_of(label, back > rule.turn, sample, rule.tolerance, confidence, examination)


def paths_of(
    column: str, where: str, low: float | None, high: float | None, examination: Examination
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Sampled rows, steps of the column, and (rows, steps) scores, asked once for an examination: the rule and its
    picture want the same.

    No scores where rows or steps are too few for a path.
    """

    def ask() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
        sample, values = with_number(column, where, examination, PATHS)
        steps = grid(values, low, high) if len(values) else np.array([])
        if len(sample) < MINIMUM or len(steps) < 2:
            return sample, steps, np.empty((len(sample), 0))
        return sample, steps, scores(examination, repeat(sample, column, list(steps))).reshape(len(sample), len(steps))

    found: tuple[pd.DataFrame, np.ndarray, np.ndarray] = examination.cached(("paths", column, where, low, high), ask)
    return found


def score_range(rule: ScoreRange, label: str, examination: Examination, confidence: float) -> Measurement:
    """Share of rows whose score lies outside the plausible range; Clopper-Pearson bounds."""
    asked = rows_where(rule.rows, examination)
    found = examination.score[asked]
    low, high = (-np.inf if rule.low is None else rule.low), (np.inf if rule.high is None else rule.high)
    note(
        rule,
        examination.rows[asked],
        np.where(np.isfinite(found), np.maximum(low - found, found - high), np.nan),
        examination,
    )
    if len(found) < MINIMUM:
        return _few(label, rule.tolerance, len(found))
    inside = np.isfinite(found) & (found >= low) & (found <= high)  # a NaN is not inside
    return share_of(label, ~inside, examination.rows[asked], rule.tolerance, confidence, examination)


def vignette(rule: Vignette, label: str, examination: Examination, confidence: float) -> Measurement:
    """Two cases, or one and a range, exactly: nothing is estimated, so there is no interval.

    The base is the typical row of the training rows (of the rows, where there are none): median number, most frequent
    category.
    """
    return _judged(rule, label, case_scores(rule, examination), examination)


def _judged(rule: Vignette, label: str, found: tuple[float, ...], examination: Examination) -> Measurement:
    if rule.between is not None:
        value, (low, high) = found[0], rule.between
        limit = low if value < low else high
        return Measurement(
            label=label, value=value, limit=limit, rows=1, state="pass" if low <= value <= high else "fail"
        )
    assert rule.above is not None
    value = found[0] - found[1]
    differing = sorted({*rule.case, *rule.above})
    if abs(value) <= INDIFFERENT and not set(differing) & set(examination.features):
        raise unused(" and ".join(differing))
    state: State = "pass" if value > INDIFFERENT and value >= rule.margin else "fail"
    return Measurement(label=label, value=value, limit=rule.margin, rows=1, state=state)


def case_scores(rule: Vignette, examination: Examination) -> tuple[float, ...]:
    """The score of the case and, where there is one, of the case that it is held against; asked once for an
    examination.
    """

    def ask() -> tuple[float, ...]:
        rows = examination.rows if examination.train is None else examination.train[list(examination.rows.columns)]
        return _asked(
            rule, examination, examination.cached("typical row", lambda: typical_rows(rows, [np.arange(len(rows))]))
        )[0]

    found: tuple[float, ...] = examination.cached(("cases", rule.model_dump_json()), ask)
    return found


def vignette_states(rule: Vignette, examination: Examination, typical: pd.DataFrame) -> list[State]:
    """Whether each of (k, inputs) typical persons keeps the rule, all asked together; one that cannot be asked breaks
    it.
    """
    try:
        asked = _asked(rule, examination, typical)
    except RuleFault:  # it does not say which of them, so each is asked alone
        return (
            ["fail"]
            if len(typical) == 1
            else [state for i in range(len(typical)) for state in vignette_states(rule, examination, typical.iloc[[i]])]
        )
    return [_state(rule, found, examination) for found in asked]


def _state(rule: Vignette, found: tuple[float, ...], examination: Examination) -> State:
    try:
        return _judged(rule, "", found, examination).state
    except RuleFault:
        return "fail"


def _asked(rule: Vignette, examination: Examination, typical: pd.DataFrame) -> list[tuple[float, ...]]:
    """The scores of the rule's cases for each of (k, inputs) typical persons."""
    cases = [case for case in (rule.case, rule.above) if case is not None]
    laid = pd.concat([_laid_over(typical, case, examination) for case in cases], ignore_index=True)
    return [tuple(float(s) for s in one) for one in scores(examination, laid).reshape(len(cases), len(typical)).T]


def invariance(rule: Invariance, label: str, examination: Examination, confidence: float) -> Measurement:
    """Share of sampled rows whose score moves by more than allowed when the column alone takes another value;
    Clopper-Pearson bounds.

    A row moves by the range of its scores over the values; where all classes are asked, by that of the class that moves
    most. A model that does not use the column keeps the rule.
    """
    part = examination.rows[rows_where(rule.rows, examination)]
    sample = part.sample(min(CHANGED_ROWS, len(part)), random_state=examination.seed)
    values = [fitting(rule.column, v, examination) for v in rule.values] if rule.values else _seen(part[rule.column])
    if len(sample) < MINIMUM:
        return _few(label, rule.tolerance, len(sample))
    if len(values) < 2:
        raise RuleFault(f"{rule.column} has fewer than two values in the rows; name two under values")
    asked = scores(examination, pd.concat([repeat(sample, rule.column, values), sample], ignore_index=True))
    found, own = np.split(asked.reshape(len(asked), -1), [-len(sample)])
    moved = np.ptp(np.concatenate([found.reshape(len(sample), len(values), -1), own[:, None]], axis=1), axis=1).max(
        axis=1
    )
    note(rule, sample, moved - rule.at_most, examination)
    return share_of(label, moved > rule.at_most, sample, rule.tolerance, confidence, examination)


def _few(label: str, limit: float, rows: int) -> Measurement:
    return unchecked(label, f"{plural(rows, 'row')}; at least {MINIMUM} are needed", rows, limit)


def _step(values: pd.Series) -> float:
    """A quarter of the interquartile range; of the non-zero values where most are zero."""
    for part in (values, values[values != 0]):
        width = float(part.quantile(0.75) - part.quantile(0.25)) if len(part) else 0.0
        if width > 0:
            return width / 4
    return 1.0


def grid(values: pd.Series, low: float | None = None, high: float | None = None) -> np.ndarray:
    """(k,) 16 even steps and the deciles between the bounds, or the 1st and 99th percentile; whole numbers for a whole
    column.
    """
    start = float(values.quantile(0.01)) if low is None else low
    end = float(values.quantile(0.99)) if high is None else high
    inner = values[(values >= start) & (values <= end)]
    found = np.concatenate(
        [np.linspace(start, end, STEPS), np.quantile(inner, np.arange(0.1, 1, 0.1)) if len(inner) else []]
    )
    if (values == values.round()).all():
        found = found.round()
    return np.unique(found[(found >= start) & (found <= end)])


def repeat(sample: pd.DataFrame, column: str, values: list[object]) -> pd.DataFrame:
    """Every row once for each value, row by row."""
    repeated = sample.loc[sample.index.repeat(len(values))].reset_index(drop=True)
    return repeated.assign(**{column: pd.Series(values * len(sample), dtype=_wide(sample[column]))})


def _seen(values: pd.Series) -> list[object]:
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > 5:
        return list(values.quantile([0.05, 0.25, 0.5, 0.75, 0.95], interpolation="nearest").unique())
    return list(values.value_counts().index[:VALUES])


def typical_rows(rows: pd.DataFrame, groups: list[np.ndarray]) -> pd.DataFrame:
    """(k, inputs) the typical row of each of k groups of positions: median of numbers (a value that occurs), most
    frequent category, missing where most are.
    """
    table = {}
    for name, values in rows.items():
        missing, middles, number = values.isna().to_numpy(), [], pd.api.types.is_numeric_dtype(values)
        codes, names = pd.factorize(
            values[:0] if number else values, sort=True
        )  # of equally frequent categories, the first in order
        for group in groups:
            middle: object = np.nan
            if missing[group].mean() <= 0.5:
                middle = (
                    values.iloc[group].quantile(0.5, interpolation="nearest")
                    if number
                    else names[int(np.bincount(codes[group][~missing[group]]).argmax())]
                )
            middles.append(middle)
        table[name] = pd.Series(middles, dtype=values.dtype)
    return pd.DataFrame(table)


def _laid_over(typical: pd.DataFrame, case: Case, examination: Examination) -> pd.DataFrame:
    changed = {name: fitting(name, value, examination) for name, value in case.items()}
    return typical.assign(
        **{
            name: pd.Series([value] * len(typical), index=typical.index, dtype=_wide(typical[name]))
            for name, value in changed.items()
        }
    )


def _wide(column: pd.Series) -> Any:
    """The column's type, with room for a fraction or a missing value."""
    return float if pd.api.types.is_numeric_dtype(column) else column.dtype
