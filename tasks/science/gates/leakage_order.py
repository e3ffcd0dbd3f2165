"""The label rate along the table, in the order in which its rows are from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.science.data.splitting import period_order
from tasks.science.examination.examination import Examination
from tasks.science.gates.leakage_sides import Sides, searching_error
from tasks.science.stats.intervals import normal_quantile
from tasks.spec.evidence import Measurement, State
from tasks.spec.leakage_gate import LeakageGate
from tasks.spec.targets import BinaryTarget
from tasks.spec.training import TrainingConfig

BLOCKS = 20
BLOCK_EVENTS = 20
"""Expected rows of the rarer class in a block; the normal law of a block's rate needs about so many."""
SORTED = 0.02
"""A stretch whose rate is this near to none or to all looks sorted by the label."""


@dataclass(frozen=True)
class Jump:
    """The most conspicuous stretch of the table: Cohen's h with bounds adjusted for the search, its place and rates.

    ``detectable`` is the h that two halves of the table need to be significant; over halves the scores' own error is
    small.
    """

    effect: float
    low: float
    high: float
    rate: float
    expected: float
    first: int
    last: int
    """The stretch is rows ``first`` up to, and without, ``last``, counted in the order that was given."""
    detectable: float


def label_jump(
    label: np.ndarray,
    expected: np.ndarray,
    entity: np.ndarray | None,
    confidence: float,
    numbers: bool = False,
    when: np.ndarray | None = None,
    learned: int | None = None,
) -> Jump | None:
    """Where, in the given order, the label rate leaves what the scores explain.

    The table is cut into up to 20 blocks. Residuals (label less score) of each block are compared with the rest's, and
    those before each border with those after it: a scan for one change-point or one odd stretch. The z-values carry the
    variance of the scores. They also carry that of sums by entity (cluster-robust, Liang & Zeger 1986), since
    neighbours in a table are often the same person. Bounds are Bonferroni-adjusted for all comparisons.

    Scores err, too. At worst they are what the training rows of a stretch have taught about it, which vary as its own
    labels do. So the variance grows by the rows that are scanned over those that were learned from.

    Of the two sides of a border the smaller one is the odd one, and the later of two equal ones.

    The effect is Cohen's h (1988) between the rate there and the rate that the residuals elsewhere would give. It
    separates 1 % from none as it separates 30 % from 40 %. Of numbers the effect is Cohen's d, the shift of the mean in
    standard deviations of the labels, which the same limits suit.

    Args:
        label: (n,) in the order that is scanned.
        expected: (n,) rates in [0, 1], or ``numbers``.
        entity: (n,), or None.
        when: (n,) ascending; rows of one value are in one block.
        learned: rows that the scores were learned from, where the scanned ones are not among them.

    Returns:
        None where the rarer class fills no two blocks, numbers do not vary, or all rows are of one time.
    """
    n = len(label)
    events = (n if np.ptp(label) > 0 else 0) if numbers else int(min(label.sum(), n - label.sum()))
    count = min(BLOCKS, events // BLOCK_EVENTS)
    if count < 2:
        return None
    edges = borders(n, count, when)
    if len(edges) < 3:
        return None
    residual = label - expected
    residual = residual - residual.mean()
    own = (
        np.full(n, max(float((residual**2).mean()), 1e-12 * float(label.var())))
        if numbers
        else np.clip(expected * (1 - expected), 1e-4, None)
    )
    plain = _variance(residual, own, entity)
    variance = plain * (1 if learned is None else 1 + n / learned)
    inner = edges[1:-1]
    blocks = list(zip(inner, edges[2:], strict=True)) if len(inner) > 1 else []
    runs = [(0, edge) for edge in inner] + blocks
    sums, spread = (np.concatenate([[0.0], np.cumsum(v)]) for v in (residual, variance))
    z, gaps = [], []
    for low, high in runs:
        m, within = high - low, spread[high] - spread[low]
        gaps.append((sums[high] - sums[low]) * (1 / m + 1 / (n - m)))
        z.append(gaps[-1] / np.sqrt(within / m**2 + (spread[-1] - within) / (n - m) ** 2))
    at = int(np.argmax(np.abs(z)))
    (low, high), gap = runs[at], float(gaps[at])
    if low == 0 and high >= n - high:
        low, high, gap = high, n, -gap
    found = float(label[low:high].mean())
    usual, deviation = found - gap, float(label.std())
    if numbers:
        effect = abs(gap) / deviation
    else:
        usual = float(np.clip(usual, 0, 1))
        effect = float(abs(2 * np.arcsin(np.sqrt(found)) - 2 * np.arcsin(np.sqrt(usual))))
    bound = normal_quantile(1 - (1 - confidence) / len(runs) / 2)
    width = bound / abs(z[at]) * effect if z[at] else 0.0
    detectable = float(bound * 2 / np.sqrt(n) * np.sqrt(plain.mean()) / deviation)
    return Jump(effect, effect - width, effect + width, found, usual, low, high, detectable)


def borders(n: int, count: int, when: np.ndarray | None) -> list[int]:
    """Borders of ``count`` blocks of about equal size, or of fewer that each begin with another time."""
    edges = np.linspace(0, n, count + 1).astype(int)
    if when is not None:
        changes = np.concatenate([[0], np.flatnonzero(np.diff(when) > 0) + 1, [n]])
        edges = changes[np.abs(changes[None, :] - edges[:, None]).argmin(axis=1)]
    return [int(edge) for edge in np.unique(edges)]


def _variance(residual: np.ndarray, own: np.ndarray, entity: np.ndarray | None) -> np.ndarray:
    """(n,) variance that each row adds to a sum of residuals: its ``own`` by the score, enlarged where an entity's rows
    go together.

    It follows the score, not the residual: a stretch without any positive would else look like one without any doubt.
    """
    plain = float((residual**2).mean())
    if entity is not None:
        code = pd.factorize(pd.Series(entity))[0]
        known = code >= 0
        sums = np.bincount(code[known], weights=residual[known])
        plain = max(plain, float((sums**2).sum() + (residual[~known] ** 2).sum()) / len(residual))
    return np.asarray(own * max(plain / own.mean(), 1.0))


@dataclass(frozen=True)
class _Side:
    """One stretch of rows that is scanned, in order: labels and scores of one question, whose rows, and when."""

    name: str
    label: np.ndarray
    expected: np.ndarray
    entity: np.ndarray | None
    when: np.ndarray | None
    """(n,) ascending, NaN last; None where nothing says when rows are from, or all are from one time."""
    learned: int | None
    """Rows that the scores were learned from, where these are others."""

    @property
    def dated(self) -> bool:
        return self.when is not None


def label_jumps(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """The label rate along time, or else along the file: each benchmark of the holdout, and training.

    Benchmarks are scanned apart. Where there are several, training is only reported: rows that were collected later
    come from a later world, and a rate that changed with it is what retraining is for. A model that fits its training
    rows closely hides a jump there, but not on the holdout. A jump fails in any benchmark; that the largest one cannot
    be judged is insufficient evidence. Stretches that ``excused_jumps`` names are left out, and said.
    """
    e = sides.examination
    count = pd.Series(e.benchmark).value_counts()
    kinds = len(e.classes) or 1
    error = 2 * searching_error(config) / (len(count) + 1) / kinds
    expected = np.asarray(e.predict(sides.train), float)
    found: list[Measurement] = []
    for code in range(kinds):
        label, train_label, score, predicted = _rates(e, sides.train_label, expected, code)
        for name in count.index:
            at = e.benchmark == name
            rows, learned = f"the {name} rows", len(train_label)
            side = _ordered(sides.config, rows, label, score, e.entity, e.period, at, learned)
            measured = _scan(config, sides.config, side, code, error)
            if name == count.index[0] or measured[0].state == "fail":
                found += measured
        whole = np.ones(len(train_label), bool)
        side = _ordered(
            sides.config, "the training rows", train_label, predicted, e.train_entity, e.train_period, whole
        )
        training = _scan(config, sides.config, side, code, error)
        if len(count) > 1:
            told = "reported and not judged: rows collected later are among them"
            training = [m.model_copy(update={"state": "pass", "label": f"{m.label}, {told}"}) for m in training]
        found += training
    return found


def training_jumps(
    config: LeakageGate,
    model: TrainingConfig,
    label: np.ndarray,
    expected: np.ndarray,
    entity: np.ndarray | None,
    period: np.ndarray | None,
) -> list[str]:
    """What the gate would say of training rows alone: a sentence for each class whose rate jumps.

    Args:
        label: (n,) of the training rows in the order of the file.
        expected: (n,) or (n, k) scores of a model that was not fitted on them.
        entity: (n,) whose row it is.
        period: (n,) as the table has it.
    """
    kinds = len(model.classes) or 1
    error = searching_error(config) / kinds
    found: list[Measurement] = []
    for code in range(kinds):
        one, score = (label == code, expected[:, code]) if model.classes else (label, expected)
        at = np.ones(len(label), bool)
        side = _ordered(model, "the training rows", one.astype(float), score, entity, period, at)
        found += _scan(config, model, side, code, error)
    return [m.label for m in found if m.state == "fail"]


def _rates(
    e: Examination, train_label: np.ndarray, expected: np.ndarray, code: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels of holdout and training and their scores, (n,) and (k,) floats.

    Where there are several classes, those of one class against the rest.
    """
    if e.kind != "multiclass":
        return e.label.astype(float), train_label.astype(float), e.score, expected
    return (e.label == code).astype(float), (train_label == code).astype(float), e.score[:, code], expected[:, code]


def _ordered(
    config: TrainingConfig,
    name: str,
    label: np.ndarray,
    expected: np.ndarray,
    entity: np.ndarray | None,
    period: np.ndarray | None,
    at: np.ndarray,
    learned: int | None = None,
) -> _Side:
    """The rows ``at`` in order of time where that is known and varies, else as the file has them."""
    when = None if period is None else period_order(config, pd.Series(period[at])).to_numpy(float)
    order = np.arange(int(at.sum()))
    if when is not None and len(np.unique(when[~np.isnan(when)])) > 1:
        order = np.argsort(when, kind="stable")
        when = when[order]
    else:
        when = None
    who = None if entity is None else entity[at][order]
    return _Side(name, label[at][order], expected[at][order], who, when, learned)


def _scan(config: LeakageGate, model: TrainingConfig, side: _Side, code: int, error: float) -> list[Measurement]:
    """The largest jump of one side outside what is excused, and what was excused with its reason."""
    n, keep, told = len(side.label), np.ones(len(side.label), bool), []
    place = 100 * (np.arange(n) + 0.5) / max(n, 1) if side.when is None else side.when
    for excuse in config.excused_jumps:
        first, last = (_bound(model, side, bound) for bound in (excuse.first, excuse.last))
        if np.isnan(first + last):
            scale = f"values of {model.data.period}" if side.dated else "per cent of the file"
            label = f"excused_jumps names {_text(excuse.first)} to {_text(excuse.last)}, and these are no {scale}"
            told.append(Measurement(label=label, value=None, rows=n, state="fail"))
            continue
        inside = keep & (place >= first) & (place <= last)
        keep &= ~inside
        if inside.any():
            where = f"from {_text(excuse.first)} to {_text(excuse.last)}" + ("" if side.dated else " % of the file")
            label = f"label rate along {side.name}: left out {where} (excused: {excuse.because})"
            told.append(Measurement(label=label, value=None, rows=int(inside.sum()), state="pass"))
    part = [None if v is None else v[keep] for v in (side.label, side.expected, side.entity, side.when)]
    assert part[0] is not None and part[1] is not None
    when = None if part[3] is None else np.where(np.isnan(part[3]), np.inf, part[3])
    numbers = model.kind == "regression"
    jump = label_jump(part[0], part[1], part[2], 1 - error, numbers, when, side.learned)
    where = "" if jump is None else _place(model, side.name, part[3], place[keep], jump)
    return [_measured(config, model, side, code, jump, where, int(keep.sum())), *told]


def _bound(config: TrainingConfig, side: _Side, bound: str | float) -> float:
    """A bound of an excused jump on the side's scale: as the period's column reads it, or per cent of the file.

    NaN where it cannot be read.
    """
    if not side.dated:
        return float(bound) if isinstance(bound, int | float) else float("nan")
    column = config.column(str(config.data.period))
    if not column.kind.numeric:
        return float(period_order(config, pd.Series([_text(bound)], dtype="str")).iloc[0])
    try:
        return float(column.kind.bound(bound, column))
    except ValueError:
        return float("nan")


def _text(bound: str | float) -> str:
    return str(int(bound)) if isinstance(bound, float) and bound.is_integer() else str(bound)


def _place(config: TrainingConfig, name: str, when: np.ndarray | None, place: np.ndarray, jump: Jump) -> str:
    """Where the jump is, in the words of the period's column or as a share of the file."""
    if when is None:
        return f"rows {place[jump.first]:.0f} % to {place[jump.last - 1]:.0f} % of {name}"
    column = config.column(str(config.data.period))

    def said(value: float) -> str:
        if np.isnan(value):
            return "rows without one"
        if not column.kind.numeric:
            return (column.categories or ())[int(value)]
        return str(column.kind.to_json(value)).removesuffix(".0")  # all digits: 20240131 is a day for many

    return f"{column.name} from {said(when[jump.first])} to {said(when[jump.last - 1])}"


def _measured(
    config: LeakageGate, model: TrainingConfig, side: _Side, code: int, jump: Jump | None, where: str, rows: int
) -> Measurement:
    numbers = model.kind == "regression"
    what = f"rate of {model.classes[code]}" if model.classes else "mean label" if numbers else "label rate"
    name = f"{what} along {side.name}"
    if jump is None:
        label = f"{name}: there are too few rows (of the rarer class) to cut the table into blocks"
        return Measurement(label=label, value=None, limit=config.label_jump, rows=rows, state="insufficient_evidence")
    if jump.low > 0 and jump.effect > config.label_jump:
        state: State = "fail"
    else:
        # no jump was seen; that says something only where one of the limit's size would have been
        state = "pass" if jump.detectable <= config.label_jump else "insufficient_evidence"
    effect = "Cohen's d" if numbers else "Cohen's h"
    label = f"{name}: {jump.rate:.4g} in {where} against {jump.expected:.4g} expected ({effect})"
    if state == "fail":
        label += f"; {_cause(model, side, jump, rows, numbers)}"
    return Measurement(
        label=label,
        quantity=f"label jump, {effect}",
        value=jump.effect,
        low=max(jump.low, 0.0),
        high=jump.high,
        limit=config.label_jump,
        rows=jump.last - jump.first,
        state=state,
    )


def _cause(config: TrainingConfig, side: _Side, jump: Jump, rows: int, numbers: bool) -> str:
    """What such a jump may be, the likeliest first, and what to do."""
    target = config.data.target
    positive = target.positive if isinstance(target, BinaryTarget) else "what is asked"
    causes = []
    if not numbers and not side.dated and min(jump.rate, 1 - jump.rate) < SORTED:
        causes.append("a file ordered by its outcome")
    if jump.last == rows and jump.rate < jump.expected:
        causes.append(f"a follow-up that is not over yet, so that late rows had no time to become {positive}")
    causes.append("a campaign or a way of recording that changed")
    if not side.dated and "a file ordered by its outcome" not in causes:
        causes.append("a file put together from parts, or ordered by its outcome")
    fix = (
        "leave these rows out in data.rows, or excuse the place in excused_jumps"
        if side.dated
        else "name the column that says when a row is from in data.period, mend the file, or excuse the place in "
        "excused_jumps"
    )
    return f"it may be {', or '.join(causes)}: {fix}"
