"""Is a rule refuted by a window, and does it hold less than in the reference? A test for each sort of rule."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from tasks.science.examination.examination import Examination
from tasks.science.rules.attribution import association
from tasks.science.rules.check import spoken_of
from tasks.science.rules.scores import typical_rows, vignette_states
from tasks.science.rules.tools import ROW_RULES, share
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.intervals import normal_quantile
from tasks.science.stats.permutation import MOST_DRAWS, draws_for, permuted_shares, shares, sizes
from tasks.spec.evidence import Measurement
from tasks.spec.rules import ForbiddenDriver, Proxy, RequiredDriver, Rule, Vignette

MOST_BLOCKS = 20
"""Groups of rows of one side that each get a typical person; 6 against 20 tell at a level of 5 in a million."""


# -- refuted on the window ------------------------------------------------------------------------------------------


def refuted(rule: Rule, found: Measurement, now: Examination, level: float) -> bool:
    """Whether the window alone shows that the rule does not hold, at ``level``."""
    assert found.value is not None and found.limit is not None
    if isinstance(rule, ROW_RULES):
        low = share(found.label, round(found.value * found.rows), found.rows, found.limit, 1 - level).low
        return low is not None and bool(low > found.limit)
    if isinstance(rule, ForbiddenDriver | RequiredDriver | Proxy):
        value, error = _ratio(_columns(rule, now, level), now)
        margin = normal_quantile(1 - level) * error
        return bool(value + margin < rule.share if isinstance(rule, RequiredDriver) else value - margin > rule.share)
    return True  # a case is asked exactly


def _columns(rule: ForbiddenDriver | RequiredDriver | Proxy, now: Examination, level: float) -> list[str]:
    """The columns whose share is judged; of a proxy rule, the features that surely give the column away."""
    if not isinstance(rule, Proxy):
        return [rule.column]
    found = _associations(rule, now, level)
    return [f for f, (auc, width) in found.items() if auc - width >= rule.association]


def _associations(rule: Proxy, examination: Examination, level: float) -> dict[str, tuple[float, float]]:
    """AUC of each feature and the width of its one-sided bound, shared among all features (Bonferroni)."""
    features = [f for f in examination.features if f not in rule.allowed]
    found = association(rule.column, features, examination, 1 - level / max(len(features), 1)) or {}
    return {f: (auc, bound - auc) for f, (auc, bound) in found.items()}


def _ratio(columns: list[str], examination: Examination) -> tuple[float, float]:
    """Share of the mean absolute attribution and its standard error, by linearisation of the ratio (Cochran 1977)."""
    size = np.abs(examination.attributions.to_numpy(float))
    whole = size.sum(axis=1)
    part = size[:, examination.attributions.columns.isin(columns)].sum(axis=1)
    if whole.sum() <= 0:
        return 0.0, 0.0
    value = part.sum() / whole.sum()
    return float(value), float(np.std(part - value * whole, ddof=1) / whole.mean() / np.sqrt(len(whole)))


# -- worse than the reference ---------------------------------------------------------------------------------------


def worse(
    rule: Rule, found: Measurement, known: Measurement | None, now: Examination, then: Examination, level: float
) -> bool:
    """Whether the window is worse than the reference, at ``level``; what the reference cannot be asked leaves the
    window's word alone."""
    if known is None or known.value is None:
        return True
    if isinstance(rule, ROW_RULES):
        table = [
            [round(m.value * m.rows), m.rows - round(m.value * m.rows)] for m in (found, known) if m.value is not None
        ]
        return bool(fisher_exact(table, alternative="greater").pvalue <= level)
    if isinstance(rule, Proxy):
        return _proxy_worse(rule, now, then, level)
    if isinstance(rule, ForbiddenDriver | RequiredDriver):
        return _share_moved([rule.column], now, then, level, falls=isinstance(rule, RequiredDriver))
    return _typical_worse(rule, now, then, level)


def _share_moved(columns: list[str], now: Examination, then: Examination, level: float, falls: bool = False) -> bool:
    """Whether some columns carry more, or less, of the attribution than in the reference: a permutation test over
    rows."""
    if (
        not set(now.features) <= set(then.attributions.columns)
        or len(then.attributions) < MINIMUM
        or level < 1 / MOST_DRAWS
    ):
        return True
    names = list(now.features)
    both = [sizes(side.attributions, names, side.seed) for side in (then, now)]
    owned = np.array([n in columns for n in names])
    pairs = [np.column_stack([side[:, owned].sum(axis=1), side[:, ~owned].sum(axis=1)]) for side in both]
    sign = -1.0 if falls else 1.0
    moved = sign * (shares(pairs[1].sum(axis=0))[0] - shares(pairs[0].sum(axis=0))[0])
    if moved <= 0:
        return False
    old, new = permuted_shares(pairs[0], pairs[1], draws_for(level), now.seed)
    chance = sign * (new[:, 0] - old[:, 0])
    return bool((1 + (chance >= moved - 1e-12).sum()) / (1 + len(chance)) <= level)


def _proxy_worse(rule: Proxy, now: Examination, then: Examination, level: float) -> bool:
    """Whether a proxy rule is broken more than in the reference, at half of ``level`` for each of two ways.

    Either the features that give the column away carry more than in the reference. Or the limit is passed only by
    features that give it away more than there (two independent AUCs, DeLong, DeLong & Clarke-Pearson 1988).
    """
    sure = _columns(rule, now, level)
    if _share_moved(sure, now, then, level / 2):
        return True
    mine, known = _associations(rule, now, level / 2), _associations(rule, then, level / 2)
    stayed = [f for f in sure if f in known and mine[f][0] - known[f][0] <= math.hypot(mine[f][1], known[f][1])]
    return _ratio(stayed, now)[0] <= rule.share


def _typical_worse(rule: Vignette, now: Examination, then: Examination, level: float) -> bool:
    """Whether the typical persons of blocks of the window break a vignette more often than those of blocks of the
    reference."""
    size = max(MINIMUM, min(len(now.rows) // 10, len(then.rows) // 20))
    counts = []
    for side in (now, then):
        states = vignette_states(
            rule, spoken_of(rule, side), side.cached(("typical rows", size), partial(_typical_of_blocks, side, size))
        )
        counts.append([states.count("fail"), states.count("pass")])
    return bool(fisher_exact(counts, alternative="greater").pvalue <= level)


def _typical_of_blocks(side: Examination, size: int) -> pd.DataFrame:
    """(blocks, inputs) the typical row of each block of ``size`` rows drawn without replacement; every vignette asks
    the same persons."""
    order = np.random.default_rng(side.seed).permutation(len(side.rows))
    return typical_rows(side.rows, [order[i : i + size] for i in range(0, len(order) - size + 1, size)][:MOST_BLOCKS])
