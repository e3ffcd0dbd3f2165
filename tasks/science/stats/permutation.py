"""Permutation tests on rows of attributions: shares of features, their distance, and rows dealt out anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tasks.science.stats.counts import MINIMUM
from tasks.spec.wording import plural

DRAWS = 499
"""Permutations and resamples where no alarm hangs on their number."""
MOST_DRAWS = 200_000
MOST_ROWS = 2000
"""Explained rows of one side that are looked at; more are sampled."""
CHUNK = 500


def unusable(reference: pd.DataFrame, window: pd.DataFrame, features: tuple[str, ...]) -> str:
    """Why the attributions of two sides cannot be compared, as the beginning of a sentence; empty where they can."""
    for name, side in (("window", window), ("reference", reference)):
        if len(side) < MINIMUM:
            verb = "is" if len(side) == 1 else "are"
            return f"{plural(len(side), 'row')} of the {name} {verb} explained and {MINIMUM} are needed"
        absent, strange = [f for f in features if f not in side], [str(c) for c in side if c not in features]
        if absent or strange:
            return f"the attributions of the {name} " + (
                f"lack {', '.join(absent)}" if absent else f"name {', '.join(strange)}, which the model does not use"
            )
        if not np.isfinite(side.to_numpy(float)).all():
            return f"the attributions of the {name} hold values that are NaN or infinite"
        if not side.to_numpy(float).any():
            return f"nothing is attributed to any feature in the {name}"
    return ""


def sizes(explained: pd.DataFrame, names: list[str], seed: int) -> np.ndarray:
    """(n, features) absolute attributions of at most :data:`MOST_ROWS` rows."""
    part = explained if len(explained) <= MOST_ROWS else explained.sample(MOST_ROWS, random_state=seed)
    return np.asarray(np.abs(part[names].to_numpy(float)))


def shares(sums: np.ndarray) -> np.ndarray:
    """Shares (..., features) of what each feature carries; 0 where nothing is attributed."""
    whole = sums.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(sums, whole, out=np.zeros_like(sums), where=whole > 0))


def variation(a: np.ndarray, b: np.ndarray) -> Any:
    """Total variation: half the sum of the absolute differences of shares (..., features)."""
    return 0.5 * np.abs(a - b).sum(axis=-1)


def permuted_shares(then: np.ndarray, now: np.ndarray, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares (draws, features) of both sides after their rows were dealt out anew."""
    rng = np.random.default_rng(seed)
    pooled, taken = np.concatenate([then, now]), len(now)
    whole, found = pooled.sum(axis=0), []
    for start in range(0, draws, CHUNK):
        place = rng.random((min(CHUNK, draws - start), len(pooled)))
        mine = place <= np.partition(place, taken - 1, axis=1)[:, taken - 1 : taken]
        found.append(mine.astype(float) @ pooled)
    sums = np.concatenate(found)
    return shares(np.maximum(whole - sums, 0.0)), shares(sums)


def draws_for(alpha: float | None) -> int:
    """Permutations with which a p-value can reach ``alpha`` with room to spare; few where none is asked for."""
    return DRAWS if alpha is None else int(min(max(DRAWS, np.ceil(3 / alpha)), MOST_DRAWS))
