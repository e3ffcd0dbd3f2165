"""Cluster validity in a window: do the groups of the reference keep their shares, stay apart, come up again, and
explain the label?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from tasks.science.data.tables import LABEL
from tasks.science.monitors.groupings.clustering import adjusted_rand, clustered, coherence, nearest, silhouettes
from tasks.science.monitors.groupings.placed import FEWEST, PlacedWindow
from tasks.science.monitors.groupings.reference import GroupReference, label_table
from tasks.science.stats.intervals import Z, percentiles
from tasks.science.stats.shift import shift
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

RESAMPLES, STARTS = 12, 10
"""Windows drawn of each side, and starts of k-means in each, as many as found the reference's groups. Two starts
both end in a poor place in one of ten windows where groups are unequal."""
LABEL_RESAMPLES = 100
WORSE = 0.2
"""Part of the reference's silhouette, and absolute loss of the adjusted Rand index, that must be lost for an alarm."""
INCOHERENT = 0.5
"""Part of the reference's label coherence that must be lost for an alarm."""


def share_finding(config: ModelConfig, reference: GroupReference, window: PlacedWindow, level: float) -> Finding:
    names = np.array([g.name for g in reference.groups])
    if len(names) < 2:
        return Finding(
            kind="grouping",
            subject="shares",
            value=None,
            rows=window.n,
            alarm=False,
            sentence=f"there is one group, so there are no shares to compare: {reference.choice}",
        )
    s = shift(
        pd.Series(names[window.sides.was], dtype=object), pd.Series(names[window.sides.own], dtype=object), "groups"
    )
    now, was = (np.bincount(o, minlength=len(names)) / len(o) for o in (window.sides.own, window.sides.was))
    most = int(np.abs(now - was).argmax())
    said = (
        f"the groups have other shares by a Jensen-Shannon distance of {s.excess:.3f}; the most changed is "
        f"{names[most]} with {now[most]:.1%}, {was[most]:.1%} in the reference"
    )
    limit = config.monitoring.drift_distance
    return Finding(
        kind="grouping",
        subject="shares",
        value=s.excess,
        limit=limit,
        rows=window.n,
        alarm=bool(s.p_value <= level and s.excess > limit),
        sentence=said,
    )


def validity_findings(
    config: ModelConfig, reference: GroupReference, window: PlacedWindow, level: float, rng: np.random.Generator
) -> list[Finding]:
    """Do the groups still make sense: apart from each other, found again, and of one mind about the label."""
    if len(reference.centres) < 2:
        why = f"there is one group, so it has nothing to be apart from: {reference.choice}"
        return [
            Finding(kind="grouping", subject=s, value=None, rows=window.n, alarm=False, sentence=why)
            for s in ("silhouette", "stability", "label coherence")
        ]
    return [
        _silhouette(window, level),
        _stability(reference, window, level, rng),
        _coherence(config, reference, window, level, rng),
    ]


def _silhouette(window: PlacedWindow, level: float) -> Finding:
    """Simplified silhouette, the window's mean against the reference's: Welch's test (1947), one-sided, and a loss of
    :data:`WORSE` of it."""
    now, was = silhouettes(window.sides.distance), silhouettes(window.sides.was_distance)
    error = float(np.sqrt(now.var(ddof=1) / len(now) + was.var(ddof=1) / len(was)))
    value, before = float(now.mean()), float(was.mean())
    p_value = float(norm.cdf((value - before) / error)) if error > 0 else 1.0
    limit, wide = before - WORSE * abs(before), Z * float(now.std(ddof=1)) / np.sqrt(len(now))
    said = f"the silhouette of the groups is {value:.2f}, {before:.2f} in the reference (1: far apart, 0: no groups)"
    return Finding(
        kind="grouping",
        subject="silhouette",
        value=value,
        low=value - wide,
        high=value + wide,
        reference=before,
        limit=limit,
        rows=window.n,
        alarm=p_value <= level and value < limit,
        sentence=said,
    )


def _stability(reference: GroupReference, window: PlacedWindow, level: float, rng: np.random.Generator) -> Finding:
    """Adjusted Rand index of the reference's groups with groups found anew on the window.

    :data:`RESAMPLES` resamples of the window beside as many windows of the same size from the reference's compared
    rows. An alarm asks for two things: the window's median is below what the reference's windows predict for one more
    (Student's prediction bound), and :data:`WORSE` below their median. The index is skewed, and that floor covers what
    the bound does not. Medians, since k-means may end in a poor place in a few resamples of a window whose groups hold.
    """
    k, n = len(reference.centres), min(window.n, 1000)

    def found_again(placed: np.ndarray) -> float:
        drawn = placed[rng.integers(0, len(placed), n)]
        return adjusted_rand(nearest(reference.centres, drawn)[0], clustered(drawn, k, STARTS, rng).labels_)

    now = np.array([found_again(window.sides.window) for _ in range(RESAMPLES)])
    was = np.array([found_again(reference.placed) for _ in range(RESAMPLES)])
    value, before = float(np.median(now)), float(np.median(was))
    bound = before - float(student.ppf(1 - level, RESAMPLES - 1)) * float(was.std(ddof=1)) * np.sqrt(1 + 1 / RESAMPLES)
    limit = float(min(bound, before - WORSE))
    low, high = percentiles(now)
    said = (
        f"groups found anew on the window agree with the reference's by an adjusted Rand index of {value:.2f} "
        f"({low:.2f} to {high:.2f} over resamples), {before:.2f} on windows of the reference (1: the same, 0: as by "
        "chance)"
    )
    return Finding(
        kind="grouping",
        subject="stability",
        value=value,
        low=low,
        high=high,
        reference=before,
        limit=limit,
        rows=window.n,
        alarm=value < limit,
        sentence=said,
    )


def _coherence(
    config: ModelConfig, reference: GroupReference, window: PlacedWindow, level: float, rng: np.random.Generator
) -> Finding:
    """Share of the label's variance that the groups explain: bootstrap standard errors of both, a one-sided normal
    test, and a loss of :data:`INCOHERENT` of it."""
    k, label = (
        len(reference.centres),
        label_table(config, window.rows) if LABEL in window.rows else np.full((window.n, 1), np.nan),
    )
    known, known_was = np.isfinite(label).all(axis=1), np.isfinite(reference.label).all(axis=1)
    if min(known.sum(), known_was.sum()) < FEWEST:
        said = (
            f"{plural(int(known.sum()), 'row')} of the window and {int(known_was.sum())} of the reference are "
            "labelled and "
            f"{FEWEST} are needed, so nothing is concluded about the labels of groups"
        )
        return Finding(
            kind="grouping", subject="label coherence", value=None, rows=int(known.sum()), alarm=False, sentence=said
        )
    now, was = (window.sides.own[known], label[known]), (window.sides.was[known_was], reference.label[known_was])
    value, before = (coherence(own, of, k) for own, of in (now, was))
    if not np.isfinite(value) or not np.isfinite(before):
        where = "window" if not np.isfinite(value) else "reference"
        return Finding(
            kind="grouping",
            subject="label coherence",
            value=None,
            rows=int(known.sum()),
            alarm=False,
            sentence=f"all labels of the {where} are the same, so there is nothing for groups to explain",
        )
    drawn = [
        np.array([coherence(own[i], of[i], k) for i in rng.integers(0, len(own), (LABEL_RESAMPLES, len(own)))])
        for own, of in (now, was)
    ]
    error = float(np.sqrt(np.nanvar(drawn[0]) + np.nanvar(drawn[1])))
    p_value = float(norm.cdf((value - before) / error)) if error > 0 else 1.0
    low, high = percentiles(drawn[0])
    limit = before * INCOHERENT
    said = f"the groups explain {value:.1%} of the label's variance, {before:.1%} in the reference"
    return Finding(
        kind="grouping",
        subject="label coherence",
        value=value,
        low=low,
        high=high,
        reference=before,
        limit=limit,
        rows=int(known.sum()),
        alarm=p_value <= level and value < limit,
        sentence=said,
    )
