"""Which of several changes moved a metric, told apart from what another seed and other rows would have done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t

from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.metrics import METRICS
from tasks.science.stats.shapley import shapley, subsets

ERROR = 0.05
"""How often a change that does nothing may be accused, over all changes of one question together."""
REPLICATES, LEAST = 100, 0.9
"""Of the bootstrap over rows, and the share of them in which the metric has to have a value."""


@dataclass(frozen=True)
class World:
    """What the models of one seed say of the same rows, which none of them was trained on.

    Args:
        label: (n,) as :func:`tasks.science.data.tables.label_array` gives them.
        owner: (n,) names of what is drawn together: an entity, or a row. The same row has the same name in each world.
        answers: by the set of changes that a model has, (n,) or (n, k) scores, or decisions as 0 and 1.
    """

    label: np.ndarray
    owner: np.ndarray
    answers: Mapping[frozenset[str], np.ndarray]


@dataclass(frozen=True)
class Share:
    """What one change did to the metric, in the metric's unit."""

    cause: str
    value: float
    low: float | None
    high: float | None
    """None where the rows give no interval."""
    moved: bool
    """Whether the interval leaves zero out; else it is not told apart from chance."""


@dataclass(frozen=True)
class Attribution:
    """Shares that sum to ``new`` less ``old``, which are means over the seeds."""

    metric: str
    old: float
    new: float
    shares: tuple[Share, ...]
    """The largest first, among those that moved it; then the others."""
    seeds: int
    rows: int
    """Different rows over all seeds."""
    spread: float
    """Standard deviation, over seeds, of the difference between having all changes and none."""


def attributed(causes: Sequence[str], worlds: Sequence[World], metric: str, seed: int) -> Attribution:
    """Share the difference of a metric among changes, with intervals that hold together at 95 %.

    Each seed gives a Shapley value of every change. The variance of their mean has two parts: between seeds, and of the
    rows by a bootstrap that draws owners once for all seeds and all models. What the rows do differs partly from seed
    to seed, so that their sum is no smaller than the variance. Degrees of freedom are Welch-Satterthwaite's, and the
    level is divided by the number of changes (Bonferroni).

    Raises:
        ValueError: there are fewer than two worlds, or the metric has no value in one of them.
    """
    if len(worlds) < 2:
        raise ValueError("shares need at least two seeds, since one says nothing of chance")
    names, owners = _numbered(worlds)
    by_seed = [_values(world, causes, metric, None) for world in worlds]
    if any(not np.isfinite(list(values.values())).all() for values in by_seed):
        raise ValueError(f"{metric} has no value on the rows of one of the seeds")
    per_seed = np.array([[float(share) for share in shapley(causes, values).values()] for values in by_seed])
    drawn = np.array(list(_drawn(causes, worlds, metric, owners, len(names), seed))).reshape(-1, len(causes))
    usable = len(drawn) >= LEAST * REPLICATES and len(names) >= MINIMUM
    shares = []
    for at, cause in enumerate(causes):
        value = float(per_seed[:, at].mean())
        half = _half(per_seed[:, at], drawn[:, at], len(causes)) if usable else None
        low, high = (None, None) if half is None else (value - half, value + half)
        shares.append(Share(cause, value, low, high, half is not None and abs(value) > half))
    none, full = subsets(causes)[0], subsets(causes)[-1]
    ends = np.array([[values[none], values[full]] for values in by_seed])
    return Attribution(
        metric,
        float(ends[:, 0].mean()),
        float(ends[:, 1].mean()),
        tuple(sorted(shares, key=lambda share: (not share.moved, -abs(share.value)))),
        len(worlds),
        len(names),
        float((ends[:, 1] - ends[:, 0]).std(ddof=1)),
    )


def _half(by_seed: np.ndarray, drawn: np.ndarray, causes: int) -> float:
    """Half the width of a share's interval."""
    count = len(by_seed)
    parts = np.array([by_seed.var(ddof=1) / count, drawn.var(ddof=1)])
    if not parts.sum() > 0:  # models that answer the same: a change that does nothing did nothing
        return 0.0
    freedom = parts.sum() ** 2 / (parts**2 / [count - 1, len(drawn) - 1]).sum()
    return float(t.ppf(1 - ERROR / causes / 2, freedom) * np.sqrt(parts.sum()))


def _numbered(worlds: Sequence[World]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Names of owners over all worlds, and of each world's rows the place among them."""
    codes, names = pd.factorize(np.concatenate([np.asarray(world.owner, object) for world in worlds]))
    return np.asarray(names), np.split(codes, np.cumsum([len(world.owner) for world in worlds])[:-1])


def _values(world: World, causes: Sequence[str], metric: str, rows: np.ndarray | None) -> dict[frozenset[str], float]:
    """The metric of each model of a seed on these rows."""
    label = world.label if rows is None else world.label[rows]
    known = {which: world.answers[which] for which in subsets(causes)}
    return {
        which: METRICS[metric].compute(label, found if rows is None else found[rows], 0.5)
        for which, found in known.items()
    }


def _drawn(
    causes: Sequence[str], worlds: Sequence[World], metric: str, owners: Sequence[np.ndarray], count: int, seed: int
) -> Iterator[list[float]]:
    """Shares of drawn rows, means over the seeds; draws in which the metric has no value are left out."""
    rng = np.random.default_rng(seed)
    for _ in range(REPLICATES):
        times = rng.multinomial(count, np.full(count, 1 / count))
        found = []
        for world, places in zip(worlds, owners, strict=True):
            rows = np.repeat(np.arange(len(places)), times[places])
            values = _values(world, causes, metric, rows) if len(rows) else {}
            if not values or not np.isfinite(list(values.values())).all():
                break
            found.append([float(share) for share in shapley(causes, values).values()])
        else:
            yield np.mean(found, axis=0).tolist()
