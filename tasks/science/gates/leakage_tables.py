"""What is wrong with a table as a whole: rows given twice, labels of other rows, codes that are no values."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from tasks.science.gates.leakage_sides import Sides, searching_error
from tasks.science.stats.comparison import delong
from tasks.science.stats.intervals import normal_quantile
from tasks.spec.data import Column
from tasks.spec.evidence import Measurement, State
from tasks.spec.leakage_gate import LeakageGate

COPIES = 8
"""Rows that were given up to so many times are looked for."""
CHANCE = 0.55
"""A model whose AUC is surely below knows nothing that is of use."""
CODES, CODE_ROWS, CODE_SHARE, OTHER_VALUES = 3, 5, 0.001, 10
"""Codes at one end of a column, the rows and the share of rows that each needs, and values that are none."""


def rows_given_again(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """Whether the same rows were given several times before the split.

    Coarse data repeat themselves honestly. Let n_k be the number of row patterns that are there k times. Of rows that
    were drawn one by one, k! n_k are moments of how often each pattern comes (Good 1953). By Cauchy and Schwarz,
    n_k is at most the root of (k + 1)/k n_(k-1) n_(k+1). Rows given twice fill n_2 and leave n_1 and n_3 behind.

    A pattern is all inputs, the label, the period and the entity. Of entities without a period nothing is asked: a
    person's rows may be equal. Rows that were collected in production are left out, since a client may ask again.
    """
    if sides.config.data.entity is not None and sides.config.data.period is None:
        return []
    size = _repeats(sides).value_counts()
    n = int((size * size.index).sum())
    k = np.arange(1, COPIES + 2)
    there = size.reindex(k, fill_value=0).to_numpy(float)
    below, at, above = there[:-2], there[1:-1], there[2:]
    most = np.sqrt((k[1:-1] + 1) / k[1:-1] * below * above)
    error = np.sqrt(at + most**2 / 4 * (1 / np.maximum(below, 1) + 1 / np.maximum(above, 1)) + 1)
    worst = int(np.argmax((at - most) * k[:-2]))
    copies, excess = int(k[1:-1][worst]), float(at[worst] - most[worst])
    sure = float(norm.sf(excess / error[worst])) < searching_error(config) / len(at)
    value = max(excess, 0.0) * (copies - 1) / max(n, 1)
    state: State = "fail" if sure and value > config.duplicates else "pass"
    label = (
        f"rows that are there exactly {copies} times beyond what single rows give ({int(at[worst]):,} patterns, at "
        f"most {most[worst]:,.0f} expected), as a share of all rows"
    )
    if state == "fail":
        label += f"; the same rows were given {copies} times: remove the copies from the source"
    return [
        Measurement(label=label, quantity="share of rows", value=value, limit=config.duplicates, rows=n, state=state)
    ]


def _repeats(sides: Sides) -> pd.Series:
    """How often each pattern of base rows is there, both sides together."""
    e = sides.examination
    old = np.zeros(len(sides.train), bool) if e.train_collected is None else e.train_collected.astype(bool)
    base = e.benchmark == "holdout" if (e.benchmark == "holdout").any() else np.ones(len(e.rows), bool)
    parts = []
    for frame, label, period, entity, kept in (
        (sides.train, sides.train_label, e.train_period, e.train_entity, ~old),
        (e.rows, e.label, e.period, e.entity, base),
    ):
        more = {"_label": label, "_period": period, "_entity": entity}
        part = frame.reset_index(drop=True).assign(**{n: v for n, v in more.items() if v is not None})
        parts.append(part[kept])
    table = pd.concat(parts, ignore_index=True)
    return pd.Series(pd.util.hash_pandas_object(table, index=False)).value_counts()


def labels_of_other_rows(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """Whether the model knows anything at all about the labels of the holdout.

    Labels that were joined from another table, or by position after a sort, leave a model at chance. The AUC is that of
    the question it answers best, its bounds are DeLong's with a Bonferroni bound for the number of questions.
    """
    z = normal_quantile(1 - (1 - config.confidence) / len(sides.asked))
    found = []
    for q in sides.asked:
        auc, covariance = delong(q.label, np.asarray(q.score, float)[None, :])
        found.append((float(auc[0]), float(np.sqrt(max(covariance[0, 0], 0.0))), q.name))
    auc0, error, name = max(found)
    low, high = auc0 - z * error, min(auc0 + z * error, 1.0)
    state: State = "pass" if low > 0.5 else "fail" if high < CHANCE else "insufficient_evidence"
    label = f"AUC of the model on the holdout{name}"
    if state != "pass":
        label += (
            "; it is no better than chance: the labels may belong to other rows, of another table or in another order, "
            "or the features say nothing about them"
        )
    rows = len(sides.examination.rows)
    return [
        Measurement(label=label, quantity="roc_auc", value=auc0, low=low, high=high, limit=0.5, rows=rows, state=state)
    ]


def codes_that_are_no_values(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """Numbers far outside the others that are there again and again, such as 8888: codes for what is missing.

    They lie at one end, up to three of them, as far from the other values as these are from each other, or farther. A
    bound that the column declares is no code: a scale may end there. Nor is zero, which is "none" for most amounts.
    """
    told = []
    rows = len(sides.train) + len(sides.examination.rows)
    asked = [c for c in sides.config.data.columns if c.name in sides.features and c.kind.numeric]
    for column in asked:
        both = pd.concat([sides.train[column.name], sides.examination.rows[column.name]]).dropna()
        for codes, other, count in codes_at_the_ends(both.to_numpy(float), column):
            told.append(_code(config, column, codes, other, count))
    clean = Measurement(
        label="no number is far outside the others again and again", value=None, rows=rows, state="pass"
    )
    return told or [clean]


def codes_at_the_ends(values: np.ndarray, column: Column) -> list[tuple[list[float], float, int]]:
    """The codes at each end, the nearest value that is none, and the rows that hold a code."""
    found = []
    there, count = np.unique(values, return_counts=True)
    enough = count >= max(CODE_ROWS, CODE_SHARE * len(values))
    for sign in (1, -1):
        value, often, many = (a[::sign] for a in (there, enough, count))
        for codes in range(1, CODES + 1):
            if len(value) - codes < OTHER_VALUES or not often[-codes:].all():
                break
            rest = value[:-codes]
            known = {column.low, column.high, 0.0} & set(value[-codes:].tolist())
            if abs(value[-codes] - rest[-1]) >= abs(rest[-1] - rest[0]) and not known:
                found.append((sorted(value[-codes:].tolist()), float(rest[-1]), int(many[-codes:].sum())))
                break
    return found


def _code(config: LeakageGate, column: Column, codes: list[float], other: float, rows: int) -> Measurement:
    said = [str(column.kind.to_json(v)).removesuffix(".0") for v in (*codes, other)]
    values, way = " and ".join(said[:-1]), "most" if codes[0] > other else "least"
    label = f"{column.name} is {values} in {rows:,} rows and else at {way} {said[-1]}"
    reason = config.excused_values.get(column.name)
    if reason is not None:
        return Measurement(label=f"{label} (excused: {reason})", value=None, rows=rows, state="pass")
    bound = f"maximum: {said[-2]}" if way == "most" else f"minimum: {said[0]}"
    label += (
        "; it looks like a code for what is missing: list it under missing of the column, declare "
        f"{bound} if the scale ends there, or excuse it in excused_values"
    )
    return Measurement(label=label, value=None, rows=rows, state="fail")
