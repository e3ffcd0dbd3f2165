"""What several expert rules need: which rows they speak of, scores that can be judged, and bounds of a share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from pydantic import Field

from tasks.science.examination.examination import Examination
from tasks.science.examination.targets import wrong_scores
from tasks.science.examination.verdicts import judge
from tasks.science.stats.clusters import Effect, entities, worth
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.intervals import exact_share
from tasks.spec.cells import category_text
from tasks.spec.columns import KINDS
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Measurement, State
from tasks.spec.rules import Case, Direction, Invariance, Monotone, Rule, ScoreRange, Value

SAMPLE = 500
INDIFFERENT = 1e-9
SHOWN = 20
ROW_RULES = (Direction, Monotone, ScoreRange, Invariance)
"""Rules that a single row keeps or breaks."""


class RuleFault(Exception):
    """A rule that cannot be asked of this model; the message says why and what is allowed."""


def rows_where(expression: str, examination: Examination) -> np.ndarray:
    """(n,) bool: the rows that a rule speaks of."""
    if expression == "all":
        return np.ones(len(examination.rows), bool)
    try:
        return examination.fulfilled(expression, "rows")
    except ConfigError as error:
        raise RuleFault(str(error)) from None


def with_number(
    column: str, where: str, examination: Examination, size: int = SAMPLE
) -> tuple[pd.DataFrame, pd.Series]:
    """A sample of the rows whose ``column`` is a number, and all numbers of the column in the rows asked for."""
    part = examination.rows[rows_where(where, examination)]
    values = pd.to_numeric(part[column], errors="coerce")
    if len(part) and values.notna().sum() == 0 and part[column].notna().any():
        raise RuleFault(f"{column} holds no numbers, and this rule needs a numeric column")
    numbers = values.dropna()
    return part.loc[numbers.index].sample(min(size, len(numbers)), random_state=examination.seed), numbers


def scores(examination: Examination, rows: pd.DataFrame) -> np.ndarray:
    """(n,) scores, or (n, k) of several classes; anything that is none of its kind breaks the rule."""
    found = np.asarray(examination.predict(rows), dtype=float)
    wrong = wrong_scores(examination, found, len(rows))
    if wrong:
        raise RuleFault(f"of the rows that this rule asks about, {wrong}")
    return found


def unused(column: str) -> RuleFault:
    return RuleFault(
        f"the model does not use {column}, so it cannot follow this rule; use it as a feature or drop the rule"
    )


def declared(column: str, examination: Examination) -> Column | None:
    """The declaration of an input column; None where no config was given."""
    return (
        None if examination.config is None else next((c for c in examination.config.inputs if c.name == column), None)
    )


class Unchecked(Measurement):
    """A rule that could not be asked of these rows; the label says why as well. ``why`` is not stored."""

    why: str = Field(exclude=True)


def unchecked(
    label: str, why: str, rows: int, limit: float | None = None, state: State = "insufficient_evidence"
) -> Unchecked:
    """What stands in a measurement's place, with the reason in brackets behind the rule's own words."""
    return Unchecked(label=f"{label} ({why})", value=None, limit=limit, rows=rows, state=state, why=why)


def share(
    label: str,
    broken: int,
    rows: int,
    tolerance: float,
    confidence: float,
    effect: Effect | None = None,
    people: int | None = None,
) -> Measurement:
    """A share of rows with one-sided bounds of Clopper & Pearson (1934), of so many rows over a design effect (Korn &
    Graubard 1998).

    Args:
        effect: of the share, where several rows are of one entity.
        people: entities that the rows are of, where that is known.
    """
    by = 1.0 if effect is None else effect.at(confidence)
    low, high = exact_share(broken / by, rows / by, confidence)
    state = judge(broken / rows, high, tolerance, greater_is_better=False)
    return Measurement(
        label=label,
        value=broken / rows,
        low=low,
        high=high,
        limit=tolerance,
        rows=rows,
        entities=people,
        state=state,
    )


def share_of(
    label: str, broken: np.ndarray, rows: pd.DataFrame, tolerance: float, confidence: float, examination: Examination
) -> Measurement:
    """:func:`share` of (n,) looked-at rows that break a rule, by the entities that they are of."""
    count, owners = int(broken.sum()), examination.owners_of(rows)
    people = entities(owners)
    if people is not None and people < MINIMUM:
        why = f"the {len(rows):,} rows are of {people} {examination.entity_name}; at least {MINIMUM} are needed"
        return unchecked(label, why, len(rows), tolerance)
    effect = worth(broken - count / len(rows), owners)
    return share(label, count, len(rows), tolerance, confidence, effect, people)


def note(rule: Rule, rows: pd.DataFrame, excess: np.ndarray, examination: Examination) -> None:
    """Keep which of (n,) looked-at rows break a rule, and by how much: those whose ``excess`` is positive, or NaN."""
    broken = ~(excess <= 0)
    examination.cached(("broken", rule), lambda: pd.Series(excess[broken], index=rows.index[broken], dtype=float))


def broken_rows(rule: Rule, examination: Examination) -> pd.Series:
    """By how much each row breaks a rule that was checked before, on the index of the rows; none for rules that no
    single row can break.
    """
    found: pd.Series = (
        examination.cached(("broken", rule), lambda: pd.Series(dtype=float))
        if isinstance(rule, ROW_RULES)
        else pd.Series(dtype=float)
    )
    return found


def fitting(column: str, value: Value, examination: Examination) -> object:
    """The value as the column holds it.

    Raises:
        RuleFault: the column does not exist, or cannot hold the value; the message lists what is allowed.
    """
    rows = examination.rows
    if column not in rows:
        raise no_input(column, rows.columns)
    spec = declared(column, examination)
    if value is None:
        if spec is not None and not spec.nullable:
            raise _never_missing(column)
        return np.nan
    if pd.api.types.is_numeric_dtype(rows[column]):
        return _quantity(column, value, spec)
    if spec is not None and (known := spec.kind.known_names(spec)):
        return _name(column, value, known)
    allowed = set(rows[column].dropna().unique().astype(str))
    if examination.train is not None:
        allowed |= set(examination.train[column].dropna().unique().astype(str))
    return _name(column, value, allowed)


def fitting_declaration(column: str, value: Value, columns: Sequence[Column]) -> None:
    """Refuse what a column can never hold, before there are rows; see :func:`fitting`."""
    spec = next((c for c in columns if c.name == column), None)
    if spec is None:
        raise no_input(column, [c.name for c in columns])
    if value is None and not spec.nullable:
        raise _never_missing(column)
    if value is not None and spec.kind.numeric:
        _quantity(column, value, spec)
    elif value is not None and (known := spec.kind.known_names(spec)):
        _name(column, value, known)


def no_input(column: str, allowed: Iterable[str]) -> RuleFault:
    return RuleFault(f"{column!r} is no input column; allowed: {', '.join(map(str, allowed))}")


def _never_missing(column: str) -> RuleFault:
    return RuleFault(f"{column} is never missing; give it a value, or declare the column nullable")


def _name(column: str, value: Value, allowed: Iterable[str]) -> str:
    text, names = category_text(value), sorted(set(allowed))
    if text not in names:
        raise RuleFault(
            f"{column} has no value {text!r}; allowed: "
            f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        )
    return text


def _quantity(column: str, value: int | float | str, spec: Column | None) -> float:
    kind = KINDS["number"] if spec is None else spec.kind
    low, high = (None, None) if spec is None else (spec.low, spec.high)
    try:
        found = float(value) if spec is None else kind.bound(value, spec)
    except ValueError:
        raise RuleFault(f"{column} is of type {kind.name}, and {value!r} is no {kind.noun}") from None
    if (low is not None and found < low) or (high is not None and found > high):
        raise RuleFault(
            f"{column} is {kind.text(found)}; allowed: {'any' if low is None else kind.text(low)} to "
            f"{'any' if high is None else kind.text(high)}"
        )
    return float(found)


def range_words(low: float | None, high: float | None) -> str:
    """Between two ends, or on one side of one."""
    if low is None or high is None:
        return f"at least {low:g}" if low is not None else f"at most {high:g}"
    return f"between {low:g} and {high:g}"


def case_words(case: Case) -> str:
    """A case as a person would say it."""
    return ", ".join(f"{name} {'missing' if value is None else value}" for name, value in case.items())
