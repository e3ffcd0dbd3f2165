"""Where a model is worse than it should be: avoidable loss by slice, and a search for slices that have it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

BINS = 6
CATEGORIES = 12
DEPTH = 3
"""Conditions of a slice at most."""
BEAM = 24
CANDIDATES = 5
OVERLAP = 0.5
"""Rows in common, as a share of the smaller slice, above which two slices are the same finding."""
RIDGE = 1.0
"""Prior precision of a correction's log odds: a slice of next to no information does not invent one. One positive among
rows with scores near 0 would else be an infinite weakness."""


@dataclass(frozen=True)
class Condition:
    """Rows whose code in ``column`` (its position) is from ``low`` to ``high``, ends included."""

    column: int
    low: int
    high: int


@dataclass(frozen=True)
class Codes:
    """The (n, c) table as small integers; ``names`` says for each column how a range of codes reads.

    ``ordered[j]`` is the number of codes that have an order; a category has none, and the last code is a missing value.
    """

    table: np.ndarray
    sizes: tuple[int, ...]
    ordered: tuple[int, ...]
    columns: tuple[str, ...]
    edges: tuple[tuple[float, ...], ...]
    categories: tuple[tuple[str, ...], ...]

    def mask(self, conditions: tuple[Condition, ...]) -> np.ndarray:
        """(n,) bool."""
        inside = np.ones(len(self.table), bool)
        for c in conditions:
            inside &= (self.table[:, c.column] >= c.low) & (self.table[:, c.column] <= c.high)
        return inside

    def sentence(self, conditions: tuple[Condition, ...]) -> str:
        return " and ".join(self._words(c) for c in sorted(conditions, key=lambda c: c.column))

    def _words(self, c: Condition) -> str:
        name, last = self.columns[c.column], self.sizes[c.column] - 1
        if c.low == last:
            return f"{name} missing"
        if not self.ordered[c.column]:
            return f"{name} {self.categories[c.column][c.low]}"
        edges = self.edges[c.column]  # open ends, so that no single row's extreme value is told
        if c.low == 0:
            return f"{name} under {edges[c.high]:.4g}"
        if c.high == self.ordered[c.column] - 1:
            return f"{name} at least {edges[c.low - 1]:.4g}"
        return f"{name} {edges[c.low - 1]:.4g} to under {edges[c.high]:.4g}"


@dataclass(frozen=True)
class Loss:
    """Avoidable loss of one slice, a mean over ``rows``, as a share of the mean loss of all rows; ``p_value`` of it being none."""

    value: float
    error: float
    rows: int
    p_value: float


@dataclass(frozen=True)
class Weakness:
    """A candidate of the search with what the other half of the rows says; ``p_value`` is Holm-adjusted."""

    sentence: str
    conditions: tuple[Condition, ...]
    loss: Loss
    p_value: float
    confirmed: bool


def losses(metric: str, label: np.ndarray, score: np.ndarray, threshold: float) -> np.ndarray:
    """(n,) loss of each row: nats, squared error, or the cost of a wrong decision.

    ``error`` weighs a wrongly selected row by the threshold t and a missed one by 1 - t, doubled so that t = 0.5 gives
    the plain error: these are the costs under which t is the right threshold (Elkan 2001). With other weights a better
    probability could make worse decisions, and no slice could be judged.
    """
    if metric == "log_loss":
        safe = np.clip(score, 1e-6, 1 - 1e-6)
        return np.asarray(-np.where(label, np.log(safe), np.log1p(-safe)))
    if metric == "brier":
        return np.asarray((label - score) ** 2)
    decision = score >= threshold
    return np.asarray(2 * np.where(label, (1 - threshold) * ~decision, threshold * decision))


def logit(score: np.ndarray) -> np.ndarray:
    """Log odds of scores held between 1e-6 and 1 - 1e-6: a score of 0 or 1 would otherwise decide a slice by itself."""
    safe = np.clip(score, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(safe) - np.log1p(-safe))


def _sigmoid(odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -35, 35))))


def correction(label: np.ndarray, odds: np.ndarray) -> tuple[float, float]:
    """Intercept and slope that recalibrate log odds on these rows (Cox 1958), drawn a little towards (0, 1).

    Newton's method with halved steps on the logistic log-likelihood with a normal prior; ``label`` (n,) bool and ``odds`` (n,), n > 0.
    """
    beta = np.array([0.0, 1.0])
    design = np.column_stack([np.ones_like(odds), odds])
    ridge = RIDGE * np.array([1.0, max(float((odds**2).mean()), 1e-9)])
    none = beta.copy()

    def cost(at: np.ndarray) -> float:
        z = design @ at
        return float((np.logaddexp(0, z) - label * z).sum() + (ridge * (at - none) ** 2).sum() / 2)

    for _ in range(50):
        p = _sigmoid(design @ beta)
        gradient = design.T @ (label - p) - ridge * (beta - none)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(ridge)
        step, now = np.linalg.solve(hessian, gradient), cost(beta)
        # a full step overshoots where the scores are sure and the labels are not
        while cost(beta + step) > now and float(np.abs(step).max()) > 1e-8:
            step = step / 2
        beta = beta + step
        if float(np.abs(step).max()) < 1e-7:
            break
    return float(beta[0]), float(beta[1])


@dataclass(frozen=True)
class Gain:
    """(m,) for the judged rows: ``loss`` that the correction wins, ``push`` of the residual along it, and the push's variance if the score is right."""

    loss: np.ndarray
    push: np.ndarray
    variance: np.ndarray


def avoidable(metric: str, label: np.ndarray, odds: np.ndarray, fit: np.ndarray, judge: np.ndarray, threshold: float) -> Gain:
    """Loss of each judged row less its loss after a correction that was learned on other rows of the slice.

    Log loss is high where the base rate is near one half, however good the model; its mean by slice says where the
    problem is hard, not where the model is weak. What a mere intercept and slope could win back is loss that the model
    need not have had: zero where it is calibrated, whether the rows there are hard or easy, and positive where labels
    are noisier than it believes or where an interaction that it cannot see moves the rate, up or down. As the
    correction comes from other rows, the mean difference is at most zero where nothing is to be won.

    Args:
        odds: (n,) log odds of the scores; ``fit`` and ``judge`` (n,) bool: rows of the slice, apart from each other.
    """
    a, b = correction(label[fit], odds[fit])
    old, new = odds[judge], a + b * odds[judge]
    before, after = _sigmoid(old), _sigmoid(new)
    won = losses(metric, label[judge], before, threshold) - losses(metric, label[judge], after, threshold)
    return Gain(np.asarray(won), np.asarray((label[judge] - before) * (new - old)), np.asarray(before * (1 - before) * (new - old) ** 2))


def judged(gain: Gain, whole: float, entity: np.ndarray | None) -> Loss:
    """Mean avoidable loss with its standard error, and a one-sided test that there is none.

    The test asks whether the residuals go the way of the correction: the score test in the one direction that the other
    half named, twice as sharp in z as a test of the mean gain. Its variance is the larger of what right scores give and
    of what is seen in sums by entity (cluster-robust, Liang & Zeger 1986): with rare outcomes each alone is too small on
    one side. Neither a push nor a gain has the heavy tail of log loss, since both grow with the correction alone.

    Args:
        gain: of n rows; ``entity`` (n,) or None where every row stands alone. ``whole``: the mean loss that shares are taken of.
    """
    n = len(gain.loss)
    if n < 2:
        return Loss(float("nan"), float("nan"), n, 1.0)
    code = np.arange(n) if entity is None else _groups(entity)
    mean, push = float(gain.loss.mean()), float(gain.push.sum())
    error = standard_error(gain.loss, entity)
    spread = float(np.sqrt(max(gain.variance.sum(), (np.bincount(code, weights=gain.push - push / n) ** 2).sum())))
    return Loss(mean / whole, error / whole, n, float(norm.sf(push / spread)) if spread > 0 else 1.0)


def standard_error(values: np.ndarray, entity: np.ndarray | None) -> float:
    """Of the mean of (n,) values, n > 0, from their sums by entity."""
    code = np.arange(len(values)) if entity is None else _groups(entity)
    return float(np.sqrt((np.bincount(code, weights=values - values.mean()) ** 2).sum()) / len(values))


def _groups(entity: np.ndarray) -> np.ndarray:
    """(n,) entity numbers; each unknown entity is one of its own."""
    code = pd.factorize(pd.Series(entity))[0]
    unknown = code < 0
    code[unknown] = code.max(initial=-1) + 1 + np.arange(int(unknown.sum()))
    return np.asarray(np.unique(code, return_inverse=True)[1])


def halves(n: int, entity: np.ndarray | None, seed: int) -> np.ndarray:
    """(n,) bool: a random half of the rows; the rows of one entity stay together."""
    code = np.arange(n) if entity is None else _groups(entity)
    groups = int(code.max(initial=-1)) + 1
    first = np.random.default_rng(seed).permutation(groups) < groups / 2
    return np.asarray(first[code])


def discretise(rows: pd.DataFrame) -> Codes:
    """Six quantile bins a number, the twelve most frequent values a category, and missing values apart.

    Args:
        rows: (n, c) raw rows.
    """
    table, sizes, ordered, edges, categories = [], [], [], [], []
    for name in rows.columns:
        values, names = rows[name], pd.Index([])
        if pd.api.types.is_numeric_dtype(values):
            numbers = values.to_numpy(float, na_value=np.nan)
            known = numbers[~np.isnan(numbers)]
            # an edge at the minimum would leave nothing below it
            inner = [e for e in np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="nearest")) if e > known.min()] if len(known) else []
            code, count = np.searchsorted(np.array(inner), numbers, side="right"), len(inner) + 1
            ordered.append(count)
        else:
            texts = values.astype(object).where(values.notna(), None)
            kept = texts.dropna().astype(str).value_counts().index[:CATEGORIES]
            found = kept.get_indexer(pd.Index(texts.astype(str)))
            code, count, inner, names = np.where(found < 0, len(kept), found), len(kept) + 1, [], kept.append(pd.Index(["of another value"]))
            ordered.append(0)
        table.append(np.where(values.isna(), count, code))
        sizes.append(count + 1)
        edges.append(tuple(float(e) for e in inner))
        categories.append(tuple(str(v) for v in names))
    stacked = np.column_stack(table).astype(np.int64) if table else np.zeros((len(rows), 0), np.int64)
    return Codes(stacked, tuple(sizes), tuple(ordered), tuple(map(str, rows.columns)), tuple(edges), tuple(categories))


@dataclass(frozen=True)
class _Ranges:
    """Every condition that one column can give, as positions in the histograms of all columns laid end to end."""

    column: np.ndarray
    low: np.ndarray
    high: np.ndarray
    offset: np.ndarray

    def condition(self, i: int) -> Condition:
        start = int(self.offset[self.column[i]])
        return Condition(int(self.column[i]), int(self.low[i]) - start, int(self.high[i]) - start)


def _ranges(codes: Codes) -> _Ranges:
    offset = np.concatenate([[0], np.cumsum(codes.sizes)])[:-1].astype(np.int64)
    found = []
    for j, (size, ordered) in enumerate(zip(codes.sizes, codes.ordered, strict=True)):
        spans = [(a, b) for a in range(ordered) for b in range(a, ordered) if b - a < ordered - 1]
        found += [(j, offset[j] + a, offset[j] + b) for a, b in [*spans, *((v, v) for v in range(ordered, size))]]
    table = np.array(found, np.int64).reshape(-1, 3)
    return _Ranges(table[:, 0], table[:, 1], table[:, 2], offset)


def _statistics(flat: np.ndarray, weights: np.ndarray, ranges: _Ranges, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and chi-squared of every condition, within the rows given.

    Rao's score test (1948) of intercept and slope at no correction: twice the log likelihood that the correction of
    :func:`correction` would win in the slice, to first order, without fitting it; with the same prior.

    Args:
        flat: (m, c) codes with their column's offset; ``weights`` (6, m).
    """
    every = flat.ravel()
    sums = [np.bincount(every, minlength=size)] + [np.bincount(every, np.repeat(w, flat.shape[1]), size) for w in weights]
    running = np.concatenate([np.zeros((7, 1)), np.cumsum(np.array(sums), axis=1)], axis=1)
    n, u0, u1, v00, v01, v11, l2 = running[:, ranges.high + 1] - running[:, ranges.low]
    v00, v11 = v00 + RIDGE, v11 + RIDGE * l2 / np.maximum(n, 1) + 1e-9
    determinant = np.maximum(v00 * v11 - v01**2, 1e-6 * v00 * v11)
    return n, (u0**2 * v11 - 2 * u0 * u1 * v01 + u1**2 * v00) / determinant


def search(codes: Codes, label: np.ndarray, odds: np.ndarray, minimum: int, least: float) -> list[tuple[Condition, ...]]:
    """Slices of up to three conditions that look weakest: a beam search, as in slice finding (Chung et al. 2019).

    Each step adds one condition to the most conspicuous slices so far and scores all that arise from histograms.

    Args:
        label: (n,) bool; ``odds`` (n,) log odds, calibrated on the whole; ``minimum``: rows of a slice at least;
            ``least``: avoidable log loss in nats a row below which a slice is no candidate.

    Returns:
        Up to 5 slices, the most conspicuous first, no two of them mostly the same rows.
    """
    p = _sigmoid(odds)
    u: np.ndarray = np.asarray(label - p)
    v: np.ndarray = np.asarray(p * (1 - p))
    weights = np.array([u, u * odds, v, v * odds, v * odds**2, odds**2])
    ranges = _ranges(codes)
    if not len(ranges.column):
        return []
    flat, size = codes.table + ranges.offset, int(sum(codes.sizes))
    beam: list[tuple[Condition, ...]] = [()]
    pool: dict[frozenset[Condition], float] = {}
    for _ in range(DEPTH):
        level: dict[frozenset[Condition], float] = {}
        for parent in beam:
            rows = np.flatnonzero(codes.mask(parent))
            n, chi = _statistics(flat[rows], weights[:, rows], ranges, size)
            used = np.isin(ranges.column, [c.column for c in parent])
            able = (n >= minimum) & (n < len(rows)) & ~used
            # two degrees of freedom are won by chance
            strong = able & ((chi - 2) / np.maximum(2 * n, 1) >= least)
            for i in np.flatnonzero(able)[np.argsort(-chi[able], kind="stable")[: 4 * BEAM]]:
                level[frozenset((*parent, ranges.condition(i)))] = float(chi[i])
            for i in np.flatnonzero(strong)[np.argsort(-chi[strong], kind="stable")[: 4 * CANDIDATES]]:
                pool[frozenset((*parent, ranges.condition(i)))] = float(chi[i])
        beam = _varied(level)
    return _apart(codes, pool)


def _varied(level: dict[frozenset[Condition], float]) -> list[tuple[Condition, ...]]:
    """The most conspicuous slices, at most two by the same columns: ranges of one column are much alike."""
    seen: dict[frozenset[int], int] = {}
    kept: list[tuple[Condition, ...]] = []
    for conditions in sorted(level, key=lambda k: -level[k]):
        columns = frozenset(c.column for c in conditions)
        seen[columns] = seen.get(columns, 0) + 1
        if seen[columns] <= 2:
            kept.append(tuple(conditions))
        if len(kept) == BEAM:
            break
    return kept


def _apart(codes: Codes, pool: dict[frozenset[Condition], float]) -> list[tuple[Condition, ...]]:
    kept: list[tuple[tuple[Condition, ...], np.ndarray]] = []
    for conditions in sorted(pool, key=lambda k: -pool[k]):
        mask = codes.mask(tuple(conditions))
        if all((mask & other).sum() <= OVERLAP * min(mask.sum(), other.sum()) for _, other in kept):
            kept.append((tuple(conditions), mask))
        if len(kept) == CANDIDATES:
            break
    return [conditions for conditions, _ in kept]


def weak_slices(
    rows: pd.DataFrame, label: np.ndarray, score: np.ndarray, entity: np.ndarray | None, metric: str, threshold: float, limit: float, minimum: int, confidence: float, seed: int
) -> list[Weakness]:
    """Find weak slices on one random half of the rows and confirm them on the other.

    The scores are recalibrated as a whole first, so that a slice is weak against the rest and not for a fault that all
    rows share. A candidate is confirmed if its avoidable loss on the unseen half is above ``limit`` (a share of the mean
    loss of all rows) and its p-value, adjusted for all candidates (Holm 1979), is under 1 - ``confidence``.

    Args:
        rows: (n, c) raw rows; ``label`` (n,) bool; ``score`` (n,) in [0, 1]; ``entity`` (n,) or None.
        minimum: rows of a slice at least; half as many in each half.
    """
    first = halves(len(rows), entity, seed)
    raw = logit(score)
    a, b = correction(label[first], raw[first])
    odds = a + b * raw
    whole = float(losses(metric, label, score, threshold).mean())
    nats = float(losses("log_loss", label, score, threshold).mean())
    codes = discretise(rows)
    half = Codes(codes.table[first], codes.sizes, codes.ordered, codes.columns, codes.edges, codes.categories)
    found = search(half, label[first], odds[first], minimum // 2, limit * nats)
    tested = []
    for conditions in found:
        inside = codes.mask(conditions)
        fit, unseen = inside & first, inside & ~first
        gain = avoidable(metric, label, odds, fit, unseen, threshold)
        tested.append(judged(gain, whole, None if entity is None else entity[unseen]))
    adjusted = holm([loss.p_value for loss in tested])
    return [
        Weakness(codes.sentence(c), c, loss, p, bool(p < 1 - confidence and loss.value > limit and loss.rows >= minimum // 4))
        for c, loss, p in zip(found, tested, adjusted, strict=True)
    ]


def holm(p_values: list[float]) -> list[float]:
    """P-values adjusted so that any false confirmation among them is bounded (Holm 1979)."""
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(np.argsort(p_values, kind="stable").tolist()):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted
