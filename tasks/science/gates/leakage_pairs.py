"""Leaks that no column gives away alone: pairs of columns, what lifts the whole model, and patterns of gaps.

Each search looks at the training rows alone, one half of which learns and the other judges. What it finds is confirmed
on the holdout, once, so that the number of pairs looked at costs no false accusations.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from tasks.science.examination.verdicts import judge
from tasks.science.gates.leakage_checks import Question, codes, rates, single_columns
from tasks.science.gates.leakage_learner import encoded, learned
from tasks.science.gates.leakage_sides import Sides
from tasks.science.stats.comparison import delong
from tasks.science.stats.intervals import normal_quantile
from tasks.spec.evidence import Measurement, State
from tasks.spec.leakage_gate import LeakageGate

SEARCHED_ROWS = 20_000
LEARNED_ROWS = 6_000
SEARCHED_COLUMNS = 63
"""So that there are at most 1,953 pairs; of more columns, those that predict best alone."""
CELL_ROWS = 20
"""Rows of the learning half in a cell of a pair, on average; 4 to 16 bins a column follow from it."""
TOGETHER = 0.05
"""AUC that a pair must have over the better of its columns, to be told beside them."""
ASKED = 4
"""Questions about the label that are looked into, of a target with many: those that the model answers best."""


def telling_pairs(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """The pair of columns that tells most: it fails as a single column does, if neither of the two is told alone."""
    asked = sorted(sides.asked, key=lambda q: -_auc(q.label, q.score))[:ASKED]
    told = [m for q in asked if (m := _pair(config, sides, q)) is not None]
    return _worst(told)


def _pair(config: LeakageGate, sides: Sides, question: Question) -> Measurement | None:
    e = sides.examination
    pair = _best_pair(sides, question)
    if pair is None:
        return None
    bins = _bins(len(sides.train))
    train, rows = (pd.DataFrame(index=range(len(side))) for side in (sides.train, e.rows))
    parts = [codes(sides.train[c], e.rows[c], bins, bins) for c in pair]
    for name, (first, second) in zip(pair, parts, strict=True):
        train[name], rows[name] = first.astype(str), second.astype(str)
    train["together"], rows["together"] = (part[pair[0]] + "/" + part[pair[1]] for part in (train, rows))
    powers = single_columns(train, question.train, rows, question.label, question.score, config.confidence)
    *alone, both = powers
    state = judge(both.auc, both.high, config.single_column_auc, False)
    best = max(p.auc for p in alone)
    if both.auc - best < TOGETHER:
        state = "pass"  # what one of them tells is judged where single columns are
    label = f"AUC of {pair[0]} and {pair[1]} together{question.name} ({best:.3f} by the better of them alone)"
    if state == "fail":
        label += f"; {FIX}"
    return _measurement(label, both.auc, both.low, both.high, config.single_column_auc, len(rows), state, pair, config)


FIX = (
    "columns that tell so much are often known only after the outcome: declare them available: after, leave them out "
    "of features, or excuse them by name"
)


def _best_pair(sides: Sides, question: Question) -> tuple[str, str] | None:
    """The pair whose joint bins, learned on one half of the training rows, order the other half best."""
    rng = np.random.default_rng(sides.examination.seed)
    order = rng.permutation(len(sides.train))[:SEARCHED_ROWS]
    half = len(order) // 2
    train, label = sides.train.iloc[order], question.train[order]
    first, second = label[:half], label[half:]
    if len(sides.features) < 2 or not (0 < first.sum() < len(first) and 0 < second.sum() < len(second)):
        return None
    bins = _bins(half)
    found = {c: np.concatenate(codes(train[c].iloc[:half], train[c].iloc[half:], bins, bins)) for c in sides.features}
    alone = {c: _cell_auc(code, half, label) for c, code in found.items()}
    kept = sorted(sides.features, key=lambda c: -alone[c])[:SEARCHED_COLUMNS]
    size = {c: int(found[c].max()) + 1 for c in kept}
    power = {(a, b): _cell_auc(found[a] * size[b] + found[b], half, label) for a, b in combinations(kept, 2)}
    a, b = max(power, key=lambda pair: power[pair])
    return (a, b) if sides.features.index(a) < sides.features.index(b) else (b, a)


def _bins(rows: int) -> int:
    return int(np.clip(np.sqrt(rows / CELL_ROWS), 4, 16))


def _cell_auc(cell: np.ndarray, half: int, label: np.ndarray) -> float:
    """AUC on the second half of cells ordered by their label rate on the first, from counts by cell."""
    size = int(cell.max()) + 1
    rate = rates(cell[:half], np.arange(size), label[:half])
    positive = np.bincount(cell[half:], weights=label[half:], minlength=size)
    negative = np.bincount(cell[half:], minlength=size) - positive
    order = np.argsort(rate, kind="stable")
    positive, negative = positive[order], negative[order]
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def lifting_columns(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """One or two columns without which a model of all features would not predict suspiciously well.

    What is reached is the AUC of the model itself on the holdout, or of a small learner on all features. One column is
    a leak where that is surely ``lifted_auc``; two are where it is the limit of a single column. Two honest columns may
    be nearly all that a weaker model knows. Which columns the learner leans on is found by permuting each (Breiman
    2001) in the judging half. That it falls without them is seen by learning again. The learner may be weaker than the
    model: it counts how far it falls. Excused columns stay in the model, and the others are asked what they add to
    them.
    The difference of the two AUCs on the holdout is DeLong's (1988), paired.

    Not asked of a regression, where one or two columns that explain most of a number are usual.
    """
    if sides.examination.kind == "regression":
        return []
    asked = sorted(sides.asked, key=lambda q: -_auc(q.label, q.score))[:ASKED]
    return _worst([m for q in asked if (m := _lift(config, sides, q)) is not None])


def _lift(config: LeakageGate, sides: Sides, question: Question) -> Measurement | None:
    e = sides.examination
    order = np.random.default_rng(e.seed).permutation(len(sides.train))[:LEARNED_ROWS]
    train, label = sides.train[sides.features].iloc[order], question.train[order]
    half = len(order) // 2
    if len(sides.features) < 2 or len(np.unique(label[half:])) < 2:
        return None
    first, second = encoded(train.iloc[:half], train.iloc[half:], label[:half])
    whole = _auc(label[half:], learned(first, label[:half], second, e.seed))
    asked_from = min(config.lifted_auc, config.single_column_auc)
    if max(whole, _auc(question.label, question.score)) < asked_from:
        label_text = f"AUC of all features together{question.name}, in training rows that were held back"
        return Measurement(label=label_text, quantity="roc_auc", value=whole, limit=asked_from, rows=half, state="pass")
    open_ones = [f for f in sides.features if f not in config.excused]

    def fall(columns: tuple[str, ...]) -> float:
        rest = [i for i, f in enumerate(sides.features) if f not in columns]
        return whole - _auc(label[half:], learned(first[:, rest], label[:half], second[:, rest], e.seed))

    found = _leant_on(first, label[:half], second, label[half:], sides.features, e.seed)
    suspects = tuple(sorted([f for f in found if f in open_ones][:2], key=sides.features.index))
    if not suspects or len(suspects) == len(sides.features):
        return None
    # both only where the model misses each of them: an honest second column loses little while the first is there
    named = tuple(f for f in suspects if fall((f,)) > config.lift / 2) or suspects
    return _confirmed(config, sides, question, named, train, label)


def _leant_on(
    first: np.ndarray, label: np.ndarray, second: np.ndarray, judged: np.ndarray, names: list[str], seed: int
) -> list[str]:
    """The columns from the one whose permutation costs most AUC; all are permuted in one pass of scoring."""
    rng = np.random.default_rng(seed)
    damaged = []
    for i in range(second.shape[1]):
        changed = second.copy()
        changed[:, i] = rng.permutation(changed[:, i])
        damaged.append(changed)
    scores = learned(first, label, np.vstack(damaged), seed).reshape(len(damaged), -1)
    cost = [-_auc(judged, score) for score in scores]
    return [names[i] for i in np.argsort(-np.array(cost), kind="stable")]


def _confirmed(
    config: LeakageGate,
    sides: Sides,
    question: Question,
    named: tuple[str, ...],
    train: pd.DataFrame,
    label: np.ndarray,
) -> Measurement:
    e = sides.examination
    first, rows = encoded(train, e.rows[sides.features], label)
    rest = [i for i, f in enumerate(sides.features) if f not in named]
    scores = [learned(first[:, c], label, rows[:, c], e.seed) for c in (list(range(len(sides.features))), rest)]
    auc, covariance = delong(question.label, np.vstack([*scores, question.score]))
    lift, z = float(auc[0] - auc[1]), normal_quantile(config.confidence)
    error = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    low, high = (lift + k * z * error for k in (-1, 1))
    reached = max(float(auc[0]), float(auc[2]))
    surely = max(float(auc[i] - z * np.sqrt(max(covariance[i, i], 0.0))) for i in (0, 2))
    far = reached >= config.single_column_auc or (len(named) == 1 and surely >= config.lifted_auc)
    sure = far and lift > config.lift and low > 0
    what = " and ".join(named)
    label_text = (
        f"AUC that {what} give a model of all features{question.name}, which has {auc[0]:.3f} with and {auc[1]:.3f} "
        f"without {'them' if len(named) > 1 else 'it'}"
    )
    if reached > auc[0]:
        label_text += f" (the examined model itself has {reached:.3f})"
    if sure:
        label_text += f"; {FIX}"
    state: State = "fail" if sure else "pass"
    if not far:
        label_text = f"AUC of all features together{question.name}, on the holdout"
        least = config.lifted_auc if len(named) == 1 else config.single_column_auc
        return Measurement(
            label=label_text, quantity="roc_auc", value=reached, limit=least, rows=len(rows), state="pass"
        )
    return _measurement(label_text, lift, low, high, config.lift, len(rows), state, named, config)


def patterns_of_gaps(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """Which values are missing, all columns together: two gaps may tell what neither of them does alone."""
    e = sides.examination
    gaps = [f for f in sides.features if sides.train[f].isna().any() or e.rows[f].isna().any()]
    if len(gaps) < 2:
        return []
    train, rows = (side[gaps].isna().astype("float64") for side in (sides.train, e.rows))
    weights = 2.0 ** np.arange(len(gaps)) % 1_000_003
    train["together"], rows["together"] = ((part.to_numpy() @ weights).astype(str) for part in (train, rows))
    told = []
    for q in sorted(sides.asked, key=lambda q: -_auc(q.label, q.score))[:ASKED]:
        *alone, both = single_columns(train, q.train, rows, q.label, q.score, config.confidence)
        state = judge(both.auc, both.high, config.missingness_auc, False)
        best = max(p.auc for p in alone)
        if both.auc - best < TOGETHER:
            state = "pass"  # what one of them tells is judged where single gaps are
        label = (
            f"AUC of the mere fact which values are missing, of {', '.join(gaps)} together{q.name} "
            f"({best:.3f} by the best of them alone)"
        )
        told.append(
            _measurement(
                label, both.auc, both.low, both.high, config.missingness_auc, len(rows), state, tuple(gaps), config
            )
        )
    return _worst(told)


def _measurement(
    label: str,
    value: float,
    low: float,
    high: float,
    limit: float,
    rows: int,
    state: State,
    columns: tuple[str, ...],
    config: LeakageGate,
) -> Measurement:
    if state != "pass" and all(c in config.excused for c in columns):
        state, label = "pass", f"{label} (excused: {'; '.join(config.excused[c] for c in columns)})"
    return Measurement(
        label=label, quantity="roc_auc", value=value, low=low, high=high, limit=limit, rows=rows, state=state
    )


def _worst(told: list[Measurement]) -> list[Measurement]:
    """Those that do not pass; where all pass, the one that is nearest to its limit."""
    bad = [m for m in told if m.state != "pass"]
    return bad or sorted(told, key=lambda m: (m.value or 0.0) - (m.limit or 0.0))[-1:]


def _auc(label: np.ndarray, score: np.ndarray) -> float:
    return float(delong(label, score[None, :])[0][0])
