"""What can happen to the groups of a reference: one is new, has vanished, has split, or two have merged.

Every event is a count of rows in a region, in the window beside reference rows that had no part in the fit. The region
is chosen without the rows that are counted, so the p-value is exact where nothing changed. Given both counts together,
all ways to divide these rows into a window and a reference are equally likely (Fisher 1935, the hypergeometric
distribution). That is the distribution over windows that the reference itself would give, without drawing them. A share
of ``monitoring.alpha`` among eight tests and as many groups is far below what some hundred drawn windows can resolve.
An event needs a size, too: a small significant change is no event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.stats import hypergeom

from tasks.science.monitors.groupings.clustering import clustered, nearest
from tasks.science.monitors.groupings.reference import GroupReference

EventKind = Literal["new", "vanished", "split", "merged"]
NEW_SHARE, NEW_ROWS, NEW_RATIO = 0.01, 10, 0.2
"""A new group holds at least these of the window, and the reference at most this part of that share in the same
place."""
NEW_MOST, NEW_SEED, TAKEN = 3, 3, 2.0
"""New groups reported at most; other rows in the ball from which one is grown; density ratio down to which rows are
taken out with it."""
SCANNED = 1000
"""Rows of a window around which is looked at most."""
CHUNK, ROUNDING = 500, 1e-5
VANISHED = 0.1
"""Part of its former share at which a group has vanished."""
SPLIT, SPLIT_SIDE, SPLIT_ROWS = 0.4, 0.2, 40
"""Part of the reference's share left in the gap, share of the group on each side of it, and rows that are needed."""
SLAB = 0.3
"""Share of the reference's group in the region in which a gap is sought."""
APART, TOGETHER, MERGED_ROWS = 0.5, 1.0, 40
"""Rows midway between two groups over those at the sparser of them: apart up to the first, together from the second;
rows that are needed."""
LEFT_EACH, LEFT_BOTH, FOUND_BETWEEN = 0.8, 1 / 3, 0.5
"""Parts of its rows that each of a merged pair, and both together, may have left about their centres; part of what both
lost that must lie between them."""
CROSSED, CROSSED_LEVEL = 0.2, 0.01
"""Where the middle is empty: the part of the smaller group's share of the pair by which the sides' shares must have
changed, and the p-value. It only tells a merger from two groups that came nearer; no alarm rests on it."""
MIDDLE, PEAK = 0.15, 0.15
"""Half widths of the regions midway between two centres and at each, where the centres are 1 apart."""


@dataclass(frozen=True)
class Event:
    kind: EventKind
    groups: tuple[int, ...]
    """Positions of the reference's groups that it happened to; of a new one, the nearest."""
    members: np.ndarray
    """(n,) bool: the window's rows that it is about."""
    share: float
    reference_share: float
    p_value: float
    """Not adjusted; it was held against ``limit``."""
    limit: float
    parts: np.ndarray | None = None
    """(n,) bool, of a split: the rows of the smaller part."""


@dataclass(frozen=True)
class Sides:
    """A window beside the reference, each row with its group and its distances to all centres."""

    reference: GroupReference
    window: np.ndarray
    own: np.ndarray
    distance: np.ndarray
    was: np.ndarray
    was_distance: np.ndarray

    @classmethod
    def of(cls, reference: GroupReference, window: np.ndarray) -> Sides:
        return cls(
            reference, window, *nearest(reference.centres, window), *nearest(reference.centres, reference.placed)
        )


@dataclass(frozen=True)
class WindowEvents:
    events: tuple[Event, ...]
    untold: dict[EventKind, str]
    """Why an event could not be seen in some groups, in words; empty where all were looked at."""


def events(sides: Sides, level: float, rng: np.random.Generator) -> WindowEvents:
    """All events of one window; each of the four kinds has the chance ``level`` of any where nothing changed.

    Two merged groups leave their places and meet in a third; that is one event, not a new group nearest to them, a
    split and two that vanished. In the same way what a group split into is not reported again as new.

    Args:
        sides: (n, d) places of the window's rows, finite, n at least 2, beside the reference.
    """
    untold: dict[EventKind, str] = {}
    joined = merged(sides, level, untold)
    pairs = {j for e in joined for j in e.groups}
    parted = [e for e in split(sides, level, rng, untold) if e.groups[0] not in pairs]
    told = pairs | {e.groups[0] for e in parted}
    gone = [e for e in vanished(sides, level, untold) if e.groups[0] not in pairs]
    new = [e for e in new_groups(sides, level, rng) if e.groups[0] not in told]
    return WindowEvents((*new, *joined, *parted, *gone), untold)


def _more(inside: np.ndarray, outside: np.ndarray, n: int, m: int) -> np.ndarray:
    """P-value of at least so many of n rows in a region that holds this many of m others."""
    return np.asarray(hypergeom.sf(inside - 1, n + m, inside + outside, n))


def _fewer(inside: int, outside: int, n: int, m: int) -> float:
    return float(hypergeom.cdf(inside, n + m, inside + outside, n))


def new_groups(sides: Sides, level: float, rng: np.random.Generator) -> list[Event]:
    """Places that are dense in the window and next to empty in the reference.

    A scan over balls (Kulldorff 1997) of some radii around the window's own rows. Where nothing changed, all rows but
    the one in the middle come from one distribution, so the count of window rows in the ball is hypergeometric. Its
    p-value is multiplied by the number of radii and of rows of the window (Bonferroni). From the ball that the
    reference explains least, the group is grown to all rows whose neighbourhood is as much denser in the window. Its
    size decides whether it is a group. It is then taken out, and the scan goes on.
    """
    reference, reach = sides.reference.placed, sides.reference.reach
    found: list[Event] = []
    n, left = len(sides.window), np.ones(len(sides.window), bool)
    limit = level / (len(reach) * n)
    for _ in range(2 * NEW_MOST):
        best = _densest(sides.window, left, reference, reach, limit, rng)
        if best is None or len(found) == NEW_MOST:
            break
        row, radius, p_value = best
        ball = left & (_square(row[None], sides.window)[0] <= radius**2)
        middle = sides.window[ball].mean(axis=0)
        close, close_was = _square(middle[None], sides.window)[0], _square(middle[None], reference)[0]
        wide = max(
            (r for r in reach if (close_was <= r**2).mean() <= NEW_RATIO * (left & (close <= r**2)).mean()),
            default=radius,
        )
        near, near_was = left & (close <= reach[-1] ** 2), close_was <= reach[-1] ** 2
        now, then = (
            _ratio(sides.window[near], sides, left, wide, (1, 0)),
            _ratio(reference[near_was], sides, left, wide, (0, 1)),
        )
        members, members_was = close <= wide**2, close_was <= wide**2
        members[np.flatnonzero(near)] |= now >= 1 / NEW_RATIO
        members &= left
        members_was[np.flatnonzero(near_was)] |= then >= 1 / NEW_RATIO
        was = float(members_was.mean())
        if members.sum() >= max(NEW_ROWS, NEW_SHARE * n) and was <= NEW_RATIO * members.mean():
            closest = int(nearest(sides.reference.centres, sides.window[members].mean(axis=0)[None])[0][0])
            found.append(Event("new", (closest,), members, float(members.mean()), was, p_value, limit))
        left = left & ~members & ~ball
        left[np.flatnonzero(near)[now >= TAKEN]] = False
    return found


def _ratio(middles: np.ndarray, sides: Sides, left: np.ndarray, radius: float, own: tuple[int, int]) -> np.ndarray:
    """How much denser the window is than the reference around each place, without the row that lies there itself.

    One row is added to the reference's count, so that an empty place is no infinite one.
    """
    inside, outside = (
        np.count_nonzero(_square(middles, rows) <= radius**2, axis=1) - self
        for rows, self in zip((sides.window[left], sides.reference.placed), own, strict=True)
    )
    return np.asarray((inside / len(sides.window)) / ((outside + 1) / len(sides.reference.placed)))


def _square(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(len(a), len(b)) squared distances, in single precision since they are held against a radius by the million; what
    rounding can make is none."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    square = a @ (-2 * b.T)
    square += (a**2).sum(axis=1)[:, None]
    square += (b**2).sum(axis=1)
    square[square <= ROUNDING] = 0
    return np.asarray(square)


def _densest(
    window: np.ndarray,
    left: np.ndarray,
    reference: np.ndarray,
    reach: np.ndarray,
    limit: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float, float] | None:
    """Middle, radius and p-value of the ball that the reference explains least; None where none is a new group."""
    n, m, rows = len(window), len(reference), np.flatnonzero(left)
    if not len(rows) or reach[-1] <= 0:
        return None
    best: tuple[np.ndarray, float, float] | None = None
    middles = rng.permutation(rows)[:SCANNED]
    for start in range(0, len(middles), CHUNK):
        asked = middles[start : start + CHUNK]
        here, there = _square(window[asked], window[left]), _square(window[asked], reference)
        for radius in reach:
            inside, outside = (np.count_nonzero(square <= radius**2, axis=1) for square in (here, there))
            able = (inside > NEW_SEED) & (outside / m <= NEW_RATIO * inside / n)
            if not able.any():
                continue
            p_values = _more(inside[able] - 1, outside[able], n - 1, m)
            i = int(p_values.argmin())
            if p_values[i] <= limit and (best is None or p_values[i] < best[2]):
                best = window[asked[able][i]], float(radius), float(p_values[i])
    return best


def about(sides: Sides, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a group within the 90 % radius of its centre: (n,) bool of the window, (m,) bool of the reference."""
    radius = sides.reference.radius[j, 1]
    return (sides.own == j) & (sides.distance[:, j] <= radius), (sides.was == j) & (sides.was_distance[:, j] <= radius)


def vanished(sides: Sides, level: float, untold: dict[EventKind, str]) -> list[Event]:
    """Groups of which next to nothing is left within the 90 % radius of their centre.

    One-sided Fisher's exact test a group (Bonferroni over them), and at most :data:`VANISHED` of the former share.
    """
    n, m, k = len(sides.window), len(sides.was), len(sides.reference.centres)
    found, small = [], []
    if k < 2:
        return []
    for j in range(k):
        inside, before = about(sides, j)
        was = int(before.sum())
        if _fewer(0, was, n, m) > level / k:
            small.append(sides.reference.groups[j].name)
        p_value = _fewer(int(inside.sum()), was, n, m)
        if p_value <= level / k and inside.mean() <= VANISHED * was / m:
            found.append(Event("vanished", (j,), inside, float(inside.mean()), was / m, p_value, level / k))
    if small:
        untold["vanished"] = f"of group {', '.join(small)} a window of {n} rows may hold none by chance"
    return found


def merged(sides: Sides, level: float, untold: dict[EventKind, str]) -> list[Event]:
    """Pairs that were apart in the reference, both left their places, and are now found between them.

    Only pairs are asked that the reference keeps apart, on the line through both centres. A row of either group lies
    between them where it is about neither centre and its place on that line is within both. These regions are the
    reference's, so the count there has Fisher's exact distribution (Bonferroni over the pairs). A significant count is
    a merger if three things hold as well:

    - Both left: at most :data:`LEFT_EACH` of the former rows of each, and :data:`LEFT_BOTH` of those of both, are left
      about their centres. Else what lies between is a new group or one that moved, or both came nearer and are two
      still.
    - They met: at least :data:`FOUND_BETWEEN` of what both lost lies between them. Else they vanished, or went
      elsewhere.
    - They are one: midway lie as many rows as about the sparser centre, or rows of one have crossed the middle. Two
      groups that only came nearer each keep their side (:data:`CROSSED`, and Fisher's test).

    What is left is counted about the centres and not along the line. A model that asks one question between two groups,
    as trees do, sees what meets midway in each combination of the answers. Some of these places lie far off the line,
    and fall on its ends.
    """
    pairs = [
        (a, b, line)
        for a, b in combinations(range(len(sides.reference.centres)), 2)
        if (line := _along(sides, a, b)) is not None
    ]
    found, small = [], []
    n, m = len(sides.window), len(sides.was)
    for a, b, (t, t_was) in pairs:
        here, there = np.isin(sides.own, (a, b)), np.isin(sides.was, (a, b))
        if here.sum() < MERGED_ROWS:
            small.append(f"{sides.reference.groups[a].name} and {sides.reference.groups[b].name}")
            continue
        (at_a, was_a), (at_b, was_b) = about(sides, a), about(sides, b)
        between, before = here & ~at_a & ~at_b & (t > 0) & (t < 1), there & ~was_a & ~was_b & (t_was > 0) & (t_was < 1)
        p_value = float(_more(between.sum(), before.sum(), n, m))
        left, formerly = (np.array([x.mean(), y.mean()]) for x, y in ((at_a, at_b), (was_a, was_b)))
        gone = bool((left <= LEFT_EACH * formerly).all()) and left.sum() <= LEFT_BOTH * formerly.sum()
        found_there = between.mean() - before.mean() >= FOUND_BETWEEN * (formerly - left).sum()
        closed = (between & (np.abs(t - 0.5) <= MIDDLE)).sum() >= TOGETHER * min(at_a.sum(), at_b.sum())
        if (
            p_value <= level / len(pairs)
            and gone
            and found_there
            and (closed or _crossed(sides.own[here] == b, sides.was[there] == b))
        ):
            found.append(
                Event(
                    "merged", (a, b), between, float(between.mean()), float(before.mean()), p_value, level / len(pairs)
                )
            )
    if small:
        untold["merged"] = f"of groups {'; '.join(small)} the window has fewer than {MERGED_ROWS} rows"
    return found


def _crossed(now: np.ndarray, was: np.ndarray) -> bool:
    """Whether the two sides of a pair hold other shares of it than they did, (n,) and (m,) bool of the one: two-sided
    Fisher's test, and :data:`CROSSED`."""
    n, m, inside, outside = len(now), len(was), np.array(now.sum()), np.array(was.sum())
    p_value = 2 * min(float(_more(inside, outside, n, m)), _fewer(int(inside), int(outside), n, m))
    return bool(p_value <= CROSSED_LEVEL and abs(now.mean() - was.mean()) >= CROSSED * min(was.mean(), 1 - was.mean()))


def _along(sides: Sides, a: int, b: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Places on the line from one centre (0) to the other (1), of all rows of the window and of the reference; None
    where the pair was never apart."""
    start, way = sides.reference.centres[a], sides.reference.centres[b] - sides.reference.centres[a]
    length = float(way @ way)
    there = np.isin(sides.was, (a, b))
    if length <= 0 or there.sum() < MERGED_ROWS:
        return None
    was = (sides.reference.placed - start) @ way / length
    return ((sides.window - start) @ way / length, was) if _valley(was[there]) <= APART else None


def _valley(t: np.ndarray) -> float:
    ends = [(np.abs(t - end) <= PEAK).sum() / PEAK for end in (0.0, 1.0)]
    middle = (np.abs(t - 0.5) <= MIDDLE).sum() / MIDDLE
    return float(middle / min(ends)) if min(ends) else float("inf") if middle else 0.0


def split(sides: Sides, level: float, rng: np.random.Generator, untold: dict[EventKind, str]) -> list[Event]:
    """Groups with a gap in the middle where the reference has none.

    One half of the group's window rows, beside the rows that were fitted, says where to look: a direction, and a region
    on it. The region holds :data:`SLAB` of the reference's rows, has window rows on both sides, and is the one that the
    half leaves emptiest. The other half is counted there against the compared reference rows (sample splitting, Cox
    1975; Fisher's exact test, Bonferroni over groups).
    """
    fitted_own, k = nearest(sides.reference.centres, sides.reference.fitted)[0], len(sides.reference.centres)
    found, small = [], []
    for j in range(k):
        rows, was, fitted = (
            np.flatnonzero(sides.own == j),
            sides.reference.placed[sides.was == j],
            sides.reference.fitted[fitted_own == j],
        )
        if min(len(rows), len(was), len(fitted)) < SPLIT_ROWS:
            small.append(sides.reference.groups[j].name)
            continue
        rows = rng.permutation(rows)
        looked, tested = np.array_split(rows, 2)
        gap = _gap(sides.window[looked], fitted, rng)
        if gap is None:
            continue
        way, low, high = gap
        at, before = sides.window[rows] @ way, was @ way
        inside, stayed = ((at >= low) & (at <= high)).mean(), int(((before >= low) & (before <= high)).sum())
        counted = sides.window[tested] @ way
        p_value = _fewer(int(((counted >= low) & (counted <= high)).sum()), stayed, len(tested), len(was))
        sides_of = min((at < low).mean(), (at > high).mean())
        if p_value <= level / k and inside <= SPLIT * stayed / len(was) and sides_of >= SPLIT_SIDE:
            members, parts = np.zeros(len(sides.window), bool), np.zeros(len(sides.window), bool)
            members[rows] = True
            middle = (low + high) / 2
            parts[rows] = at > middle if (at > middle).mean() <= 0.5 else at <= middle
            found.append(Event("split", (j,), members, float(inside), stayed / len(was), p_value, level / k, parts))
    if small:
        untold["split"] = f"of group {', '.join(small)} there are fewer than {SPLIT_ROWS} rows"
    return found


def _gap(looked: np.ndarray, fitted: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float, float] | None:
    """Direction and ends of the region that the window leaves emptiest; None where no region has rows on both sides."""
    best, least = None, SLAB
    for way in _directions(looked, fitted, rng):
        at, was = looked @ way, fitted @ way
        for start in np.arange(0.1, 0.91 - SLAB, 0.05):
            low, high = np.quantile(was, [start, start + SLAB])
            inside = float(((at >= low) & (at <= high)).mean())
            if inside < least and min((at < low).mean(), (at > high).mean()) >= SPLIT_SIDE:
                best, least = (way, float(low), float(high)), inside
    return best


def _directions(looked: np.ndarray, fitted: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Between the two means of the window's rows, and where their variance grew most against the reference's."""
    two = clustered(looked, 2, 3, rng).cluster_centers_
    if (way := two[1] - two[0]).any():
        yield way / np.linalg.norm(way)
    yield np.linalg.eigh(np.atleast_2d(np.cov(looked.T)) - np.atleast_2d(np.cov(fitted.T)))[1][:, -1]
