"""Do the same features drive the predictions as in the reference?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.science.stats.intervals import percentiles
from tasks.science.stats.permutation import DRAWS, draws_for, permuted_shares, shares, sizes, unusable, variation
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig

NAMED = 0.01
"""Share of the attribution from which a feature's gain or loss is named."""
SUBJECT, RANKING = "attribution", "ranking of the features"


def attribution_findings(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, alpha: float, seed: int
) -> list[Finding]:
    """Has attribution moved between features?

    The distance is the total variation between the shares of the mean absolute attribution: the part of it that has
    moved from features to others. Its p-value is that of a permutation test over rows (Fisher 1935), exact where the
    rows of both are exchangeable. Its interval is the basic bootstrap's (Davison & Hinkley 1997), which takes off what
    sampling adds. The ranking is compared by NDCG (Järvelin & Kekäläinen 2002) with the reference's shares as gains.

    Args:
        config: of the model; ``monitoring.attribution_change`` is the distance from which it is called drift.
        reference: (m, features) signed attributions of reference rows.
        window: (n, features) the same of rows of the window.
        alpha: chance of a false alarm.
        seed: of the permutations and resamples.
    """
    odd = unusable(reference, window, config.features)
    if odd:
        sentence = f"{odd}, so it is not known whether attribution has moved"
        return [
            Finding(
                kind="attribution_drift",
                subject=SUBJECT,
                value=None,
                limit=config.monitoring.attribution_change,
                rows=len(window),
                alarm=False,
                sentence=sentence,
            )
        ]
    names, floor = list(config.features), config.monitoring.attribution_change
    then, now = sizes(reference, names, seed), sizes(window, names, seed)
    old, new = shares(then.sum(axis=0)), shares(now.sum(axis=0))
    distance = variation(old, new)
    p_value, sampling = _permuted(then, now, distance, alpha if distance > floor else None, seed)
    low, high = _interval(then, now, distance, seed)
    alarm = bool(distance > floor and p_value <= alpha)
    told = (
        f"{distance:.1%} of the attribution has moved between features since the reference (sampling alone gives "
        f"{sampling:.1%}; p {_p(p_value)}); "
        f"{floor:.0%} is called drift.{_movers(names, old, new)}"
    )
    measured = Finding(
        kind="attribution_drift",
        subject=SUBJECT,
        value=distance,
        low=low,
        high=high,
        limit=floor,
        rows=len(now),
        alarm=alarm,
        sentence=told,
    )
    return [measured, _ranking(names, old, new, len(now))]


def _permuted(
    then: np.ndarray, now: np.ndarray, distance: float, alpha: float | None, seed: int
) -> tuple[float, float]:
    """The p-value of the distance, and the mean distance that sampling alone gives."""
    found = variation(*permuted_shares(then, now, draws_for(alpha), seed))
    return float((1 + (found >= distance - 1e-12).sum()) / (1 + len(found))), float(found.mean())


def _interval(then: np.ndarray, now: np.ndarray, distance: float, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    sides = [rng.multinomial(len(side), np.full(len(side), 1 / len(side)), size=DRAWS) @ side for side in (then, now)]
    found = 2 * distance - variation(*(shares(side) for side in sides))
    low, high = np.clip(percentiles(found), 0.0, 1.0)
    return min(float(low), distance), max(float(high), distance)


def _movers(names: list[str], old: np.ndarray, new: np.ndarray) -> str:
    moved = new - old
    order = np.argsort(moved, kind="stable")
    parts = []
    for word, places in (("gained", order[::-1][:3]), ("lost", order[:3])):
        named = [
            f"{names[i]} ({old[i]:.0%} to {new[i]:.0%})"
            for i in places
            if (moved[i] if word == "gained" else -moved[i]) >= NAMED
        ]
        if named:
            parts.append(f"{', '.join(named)} {word}")
    return f" {'; '.join(parts)}." if parts else ""


def _ranking(names: list[str], old: np.ndarray, new: np.ndarray, rows: int) -> Finding:
    discount = 1 / np.log2(np.arange(2, len(names) + 2))
    now, best = np.argsort(-new, kind="stable"), np.argsort(-old, kind="stable")
    value = float((old[now] * discount).sum() / (old[best] * discount).sum())
    first = [", ".join(names[i] for i in order[:3]) for order in (now, best)]
    told = (
        f"the features stand in an order like the reference's by NDCG {value:.3f} (1 is the same); first come "
        f"{first[0]}"
    ) + ("" if first[0] == first[1] else f", in the reference {first[1]}")
    return Finding(
        kind="attribution_drift", subject=RANKING, value=value, reference=1.0, rows=rows, alarm=False, sentence=told
    )


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"
