"""How far apart are two profiles in one column? Distances over cells and edges; no rows are read."""

from __future__ import annotations

import numpy as np
from scipy.special import entr

from tasks.science.monitors.profiles.layout import CategoryLayout, NumberLayout
from tasks.science.monitors.profiles.profile import Profile

ColumnLayout = NumberLayout | CategoryLayout
LN2 = float(np.log(2))


def cells(layout: ColumnLayout, profile: Profile) -> np.ndarray:
    """(k,) rows by cell: a number's wide bins, what is missing, what is unreadable or infinite; a category's names,
    unlisted names, missing."""
    if isinstance(layout, CategoryLayout):
        return profile.counts[f"names:{layout.name}"]
    bins, odd = profile.counts[f"bins:{layout.name}"], profile.odd(layout.name)
    wide = np.add.reduceat(bins, [0, *(i + 1 for i in layout.coarse)])
    return np.array([*wide, odd["missing"], odd["unreadable"] + odd["minus_infinity"] + odd["infinity"]])


def divergence(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits (Lin 1991) between (..., k) counts, each with rows."""
    p, q = (part / part.sum(axis=-1, keepdims=True) for part in (one, other))
    found = (entr((p + q) / 2).sum(axis=-1) - (entr(p).sum(axis=-1) + entr(q).sum(axis=-1)) / 2) / LN2
    return np.asarray(np.clip(found, 0.0, 1.0))


def stability_index(reference: np.ndarray, window: np.ndarray) -> float:
    """PSI over cells that either has rows in, half a row added to each so that it is finite (Siddiqi 2006)."""
    used = reference + window > 0
    p, q = ((part[used] + 0.5) / (part[used] + 0.5).sum() for part in (reference, window))
    return float(((q - p) * np.log(q / p)).sum())


def kolmogorov_smirnov(reference: np.ndarray, window: np.ndarray) -> float:
    """Largest difference of two distribution functions at the edges between (k,) bins.

    The largest anywhere is more by at most the greatest share that one of them has in a bin, a hundredth where values
    differ.
    """
    shares = [np.cumsum(part)[:-1] / part.sum() for part in (reference, window)]
    return float(np.abs(shares[0] - shares[1]).max(initial=0.0))


def wasserstein(layout: NumberLayout, reference: Profile, window: Profile) -> float | None:
    """Earth mover's distance of the finite values, in the column's unit: the area between the distribution functions.

    Sums by bin give the area within a bin exactly, sign included. It is the distance where the functions do not cross
    within; where they do, straight lines between the edges are taken (Vallender 1974 for the area).
    """
    if not layout.edges:
        return None
    edges, parts = np.array(layout.edges), []
    for profile in (reference, window):
        counts = profile.counts[f"bins:{layout.name}"]
        rows = counts.sum()
        if not rows:
            return None
        sums = profile.sums[f"bins:{layout.name}"].astype(float) * layout.quantum
        parts.append((np.cumsum(counts) / rows, counts / rows, sums / rows))
    # distances to the center, so that large numbers close together keep their digits
    edges = edges - layout.center
    gap = parts[0][0] - parts[1][0]
    moved = parts[0][2] - parts[1][2]
    below = edges[0] * gap[0] - moved[0]
    above = -moved[-1] - edges[-1] * gap[-2]
    inside = edges[1:] * gap[1:-1] - edges[:-1] * gap[:-2] - moved[1:-1]
    start, stop, width = gap[:-2], gap[1:-1], np.diff(edges)
    straight = width * (start**2 + stop**2) / (2 * (np.abs(start) + np.abs(stop)) + 1e-300)
    crossing = start * stop < 0
    area = np.where(crossing, np.maximum(np.abs(inside), straight), np.abs(inside))
    return float(abs(below) + abs(above) + area.sum())
