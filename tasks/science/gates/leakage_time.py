"""Whether rows from about the same time stand on both sides of a random split and tell each other's answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t as student

from tasks.science.data.splitting import period_order
from tasks.science.gates.leakage_learner import encoded, learned
from tasks.science.gates.leakage_order import borders
from tasks.science.gates.leakage_sides import Sides
from tasks.science.stats.folds import folds
from tasks.spec.evidence import Measurement, State
from tasks.spec.leakage_gate import LeakageGate

BLOCKS = 8
ROWS = 4_000


def neighbours_on_both_sides(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """How much better the columns seem to explain the label where neighbours in time were learned from.

    The training rows are cross-validated twice by one small learner: in random folds, as the split is, and in blocks of
    neighbouring time (Roberts et al. 2017, Ecography 40). The difference of the squared errors, as a share of the
    label's variance, is the optimism of a random split. Its bound is Student's over the blocks. Of independent rows the
    two are alike.

    Of an entity one row takes part, since whose rows stand together is judged by themselves. Rows of fewer than eight
    times have no neighbours, and a split by time divides none.
    """
    e, data = sides.examination, sides.config.data
    if data.period is None or data.split.by == "time" or e.train_period is None:
        return []
    when = period_order(sides.config, pd.Series(e.train_period)).to_numpy(float)
    taken = _taken(when, e.train_entity, e.seed)
    edges = borders(len(taken), BLOCKS, when[taken])
    if len(edges) <= BLOCKS:
        return []
    label = _label(sides, taken)
    block = np.repeat(np.arange(BLOCKS), np.diff(edges))
    drawn = folds(len(taken), BLOCKS, np.random.default_rng(e.seed))
    train = sides.train[sides.features].iloc[taken]
    gap = _errors(train, label, block, e.seed) - _errors(train, label, drawn, e.seed)
    means = np.array([gap[block == b].mean() for b in range(BLOCKS)]) / max(float(label.astype(float).var()), 1e-12)
    value = float(means.mean())
    width = float(student.ppf(config.confidence, BLOCKS - 1) * means.std(ddof=1) / np.sqrt(BLOCKS))
    excuse = config.excused.get(data.period)
    state: State = "fail" if value > config.neighbours and value > width and excuse is None else "pass"
    name = f"share of the label's variance that random folds seem to explain, and blocks of {data.period} do not,"
    if excuse is not None:
        name += f" (excused: {excuse})"
    if state == "fail":
        name += (
            "; a random split puts neighbours in time on both sides, so the holdout is answered from the rows beside "
            "it: write split: {by: time, ...}"
        )
    return [
        Measurement(
            label=name,
            quantity="share of variance",
            value=value,
            low=value - width,
            high=value + width,
            limit=config.neighbours,
            rows=len(taken),
            state=state,
        )
    ]


def _taken(when: np.ndarray, entity: np.ndarray | None, seed: int) -> np.ndarray:
    """Positions of the rows that take part, in order of time: a random row of each entity, of known time."""
    order = np.random.default_rng(seed).permutation(len(when))
    order = order[~np.isnan(when[order])]
    if entity is not None:
        who = pd.Series(entity[order])
        order = order[(who.isna() | ~who.duplicated()).to_numpy()]
    order = order[:ROWS]
    return np.asarray(order[np.argsort(when[order], kind="stable")])


def _label(sides: Sides, taken: np.ndarray) -> np.ndarray:
    """(m,) what is predicted: the number, or the answer to the question that divides the rows most evenly."""
    if sides.examination.kind == "regression":
        return np.asarray(sides.train_label[taken], float)
    asked = min(sides.asked, key=lambda q: abs(float(q.train.mean()) - 0.5))
    return np.asarray(asked.train[taken], bool)


def _errors(train: pd.DataFrame, label: np.ndarray, fold: np.ndarray, seed: int) -> np.ndarray:
    """(m,) squared error of each row by a learner that has not seen its fold."""
    found = np.empty(len(label))
    for part in range(BLOCKS):
        out = fold == part
        first, second = encoded(train[~out], train[out], label[~out])
        found[out] = (learned(first, label[~out], second, seed) - label[out]) ** 2
    return found
