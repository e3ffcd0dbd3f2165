"""A window's metric from the labels of a few rows: which rows to ask about, and what their labels show.

The rows are a stratified probability sample, so nothing is assumed of the model, of drift, or of how labels follow from
inputs. What the model says of the losses only makes it sharper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t

STRATA = 10
DEFENCE = 0.5
"""Least size of a row, as a part of the mean: the model may be wrong about which rows are surely right."""
LOOKS = (0.5, 0.75, 1.0)
"""Parts of the rounds after which the labels are looked at; each is one look of O'Brien and Fleming's boundary."""
LEAST = 4
"""Rounds before the first look: a stratum's variance needs some labels."""
GRID = 801


@dataclass(frozen=True)
class LabelSample:
    """Rows to ask about, in rounds. Each round holds one row of each stratum, and is itself a stratified sample.

    ``position``, ``stratum``, ``turn``: (k,) each, in the order of asking; ``turn`` counts rounds from 0.
    ``rows``: (strata,) rows of each stratum. A row's inclusion chance is ``rounds / rows[stratum]``.
    """

    position: np.ndarray
    stratum: np.ndarray
    turn: np.ndarray
    rows: np.ndarray

    @property
    def rounds(self) -> int:
        return int(self.turn.max()) + 1 if len(self.turn) else 0

    @property
    def looks(self) -> list[int]:
        """Rounds after which the labels are looked at, ascending."""
        return sorted({max(round(part * self.rounds), min(LEAST, self.rounds)) for part in LOOKS})


@dataclass(frozen=True)
class SampledMean:
    """The mean over all rows, with an interval that holds at every look at once. ``rounds``: those it rests on."""

    value: float
    low: float
    high: float
    rounds: int


def draw_sample(
    size: np.ndarray, most: int, rng: np.random.Generator, apart: np.ndarray | None = None, strata: int = STRATA
) -> LabelSample:
    """At most ``most`` of n rows, each with a chance near that of the optimal allocation.

    Rows are ordered by size and cut into strata of equal total size, from which equally many are drawn without
    replacement. So chances are nearly proportional to size. That is optimal where size is the standard deviation of
    what labels decide (Godambe & Joshi 1965; Särndal, Swensson & Wretman 1992, section 12.4). No chance exceeds 1, and
    none is below :data:`DEFENCE` of the mean.

    Args:
        size: (n,) standard deviation of each row's loss, by what is known before.
        apart: (n,) bool, rows that get strata of their own, such as those of a kind that the reference lacks.

    Returns:
        an empty sample where there are fewer than four rows to ask, or to ask about.
    """
    strata = min(strata, most // LEAST, len(size) // LEAST)
    if strata < 1:
        none = np.empty(0, int)
        return LabelSample(none, none, none, none)
    rounds = min(most // strata, len(size) // strata)
    s = np.where(np.isfinite(size), np.maximum(size, 0.0), 0.0)
    s = np.maximum(s, DEFENCE * s.mean()) if s.mean() > 0 else np.ones(len(s))
    while (s > (cap := s.sum() / (rounds * strata)) * (1 + 1e-9)).any():
        s = np.minimum(s, cap)
    stratum = _strata(s, strata, rounds, np.zeros(len(s), bool) if apart is None else apart)
    rows = np.bincount(stratum, minlength=strata)
    drawn = np.stack([rng.permutation(np.flatnonzero(stratum == h))[:rounds] for h in range(strata)], axis=1)
    turn = np.repeat(np.arange(rounds), strata)
    return LabelSample(drawn.ravel(), np.tile(np.arange(strata), rounds), turn, rows)


def _strata(size: np.ndarray, strata: int, least: int, apart: np.ndarray) -> np.ndarray:
    """(n,) stratum of each row: equal total size, at least ``least`` rows each, rows apart in strata of their own."""
    share = float(size[apart].sum() / size.sum())
    own = int(np.clip(round(share * strata), 1, strata - 1)) if 0 < share < 1 and strata > 1 else 0
    if own and (apart.sum() < own * least or (~apart).sum() < (strata - own) * least):
        own = 0
    found = np.empty(len(size), int)
    parts = [(np.flatnonzero(~apart), 0, strata - own), (np.flatnonzero(apart), strata - own, own)]
    for rows, first, count in parts if own else [(np.arange(len(size)), 0, strata)]:
        order = rows[np.argsort(size[rows], kind="stable")]
        ends = np.searchsorted(np.cumsum(size[order]), size[order].sum() * np.arange(1, count) / count) + 1
        for i in range(count - 1):  # every stratum, and what is left for those after it, holds rows enough
            low = least * (i + 1) if i == 0 else ends[i - 1] + least
            ends[i] = np.clip(ends[i], low, len(order) - least * (count - 1 - i))
        found[order] = first + np.searchsorted(ends, np.arange(len(order)), side="right")
    return found


def sampled_mean(
    sample: LabelSample,
    low: np.ndarray,
    high: np.ndarray,
    spread: np.ndarray,
    rows: int,
    known: float,
    confidence: float,
    rounds: int | None = None,
) -> SampledMean | None:
    """Mean over all n rows of a number that the sampled rows' labels show, by the first rounds that are answered.

    The difference estimator (Särndal, Swensson & Wretman 1992, section 6.3; as prediction-powered inference,
    Angelopoulos et al. 2023): what was expected of all rows, and by Horvitz-Thompson weights how far the sampled ones
    are from it, with the finite-population correction. The interval holds at all :attr:`LabelSample.looks` at once:
    O'Brien & Fleming's boundary (1979), for t by its significance levels (Jennison & Turnbull 2000, section 3.8), with
    Satterthwaite's degrees of freedom.

    Rare costly errors make a sample's own variance too small just where it missed them. So where the variance that the
    model expects is larger, the geometric mean of both is taken; the sample's own where it is smaller.

    Args:
        low, high: (k,) number less what was expected of the row, in the sample's order; NaN where the row waits for an
            answer. The two differ where nobody can say the label: then they are the least and the largest that it may
            be, and the interval holds whichever it is.
        spread: (k,) standard deviation of it that the model expects; NaN where it expects none.
        rows: n. known: mean of what was expected over all of them.
        confidence: of the two-sided interval.
        rounds: to use at most; all that are answered without a gap otherwise.

    Returns:
        None before the first look.
    """
    waiting = sample.turn[np.isnan(low) | np.isnan(high)]
    answered = min([sample.rounds, *waiting.tolist()] + ([] if rounds is None else [rounds]))
    done = max((look for look in sample.looks if look <= answered), default=0)
    if done < 2:
        return None
    weight, shape = sample.rows / rows, (sample.rounds, len(sample.rows))
    expected = weight**2 * (spread.reshape(shape) ** 2).mean(axis=0)
    values, bounds = [], []
    for side, numbers in ((-1, low), (1, high)):
        table = numbers.reshape(shape)[:done]
        values.append(known + float(weight @ table.mean(axis=0)))
        scatter = weight**2 * table.var(axis=0, ddof=1)
        bounds.append(values[-1] + side * _reach(scatter, expected, sample, done, confidence))
    return SampledMean((values[0] + values[1]) / 2, bounds[0], bounds[1], done)


def _reach(scatter: np.ndarray, expected: np.ndarray, sample: LabelSample, done: int, confidence: float) -> float:
    """Half the width of the interval at one look, from (strata,) weighted variances of a row, seen and expected."""
    now, last = (1 / r - 1 / sample.rows for r in (done, sample.rounds))
    seen, model = float(scatter @ now), float(expected @ now)
    variance = max(seen, float(np.sqrt(seen * model))) if np.isfinite(model) else seen
    if not seen > 0:
        return 0.0 if not model > 0 else float("inf")  # no label differed from what was expected: too few to say
    part = 1.0 if done == sample.rounds else float(scatter @ last) / seen
    level = float(norm.sf(boundary(len(LOOKS) + 1, confidence) / np.sqrt(max(part, 1e-3))))
    freedom = (done - 1) * seen**2 / float(((scatter * now) ** 2).sum())
    return float(t.isf(max(level, 1e-300), freedom) * np.sqrt(variance))


@lru_cache(maxsize=64)
def boundary(looks: int, confidence: float) -> float:
    """O'Brien & Fleming's constant for two-sided looks at equal steps, the last at full information.

    By recursive integration of the density of Brownian motion that has not crossed (Armitage, McPherson & Rowe 1969).
    A first step at which nobody looks leaves it safe.
    """
    if looks < 2:
        return float(norm.isf((1 - confidence) / 2))

    def kept(c: float) -> float:
        grid, step = np.linspace(-c, c, GRID, retstep=True)
        sd = np.sqrt(1 / looks)
        density = norm.pdf(grid, scale=sd)
        weights = np.full(GRID, step)
        weights[[0, -1]] /= 2
        move = norm.pdf(grid[:, None] - grid[None, :], scale=sd)
        for _ in range(looks - 1):
            density = move @ (density * weights)
        return float(density @ weights)

    return float(brentq(lambda c: kept(c) - confidence, 1.0, 8.0, xtol=1e-4))
