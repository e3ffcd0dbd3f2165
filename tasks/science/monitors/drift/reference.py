"""What the distances of a window are where nothing changed: played on the reference's own cells, once per version."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator
from scipy.stats import chi2, gamma

from tasks.science.monitors.drift.distances import (
    LN2,
    ColumnLayout,
    cells,
    divergence,
    kolmogorov_smirnov,
    stability_index,
    wasserstein,
)
from tasks.science.monitors.profiles.layout import (
    Counted,
    Layout,
    NumberLayout,
    fit_layout,
    load_layout,
)
from tasks.science.monitors.profiles.profile import Profile, load_profile, profile
from tasks.science.stats.shift import category_p_value
from tasks.spec.base import Spec, validate
from tasks.spec.errors import ConfigError
from tasks.spec.formats import DRIFT_REFERENCE, refuse_other_format
from tasks.spec.model import ModelConfig

SIZES = tuple(int(n) for n in np.round(np.geomspace(20, 1_000_000, 17)))
"""Window sizes that are played, each about twice the one before; after the last nothing changes any more."""
LOG_SIZES = np.log(SIZES)
PLAYS = 1000
"""Of the bridge. Of the divergence, fewer for every size: what lies between two sizes uses both, and a column of many
cells is dear."""
PLENTY = 50
"""Expected rows of the smallest cell from which the limit of the divergence's distribution is as good as a play of
it."""
LEVELS = (0.8, 0.5, 0.2, 0.1)
"""Chances of being exceeded at which Kolmogorov-Smirnov's played quantiles are kept; beyond the last the tail's own
form is taken."""
COMMON = 0.05


class Null(Spec):
    """One column's distances where nothing changed, in units of ``1/n + 1/m``: so they hardly depend on the sizes."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    """Of the divergence times ``8 ln 2 / (1/n + 1/m)``, by :data:`SIZES`; about k - 1 degrees of freedom of a
    chi-squared."""
    quantiles: tuple[float, ...] = ()
    """Of Kolmogorov-Smirnov's distance over ``sqrt(1/n + 1/m)``, at :data:`LEVELS`; none for categories."""
    widest: float = 0.0
    """Largest F (1 - F) at an edge: the variance that rules the tail."""
    together: float = 1.0
    """Of the two tests of a number: both are below a small u in ``u ** together`` of all plays; 1 if they always agree,
    2 if they are independent."""

    def sampling(self, unit: float, rows: int) -> float:
        """Divergence that sampling alone is expected to show."""
        return self._expected(rows)[0] * unit / (8 * LN2)

    def either_p(self, p_value: float) -> float:
        """Chance that the smaller of a number's two p-values is at most ``p_value``: of either, less of both.

        Both follow a power of the level, the joint tail of Ledford & Tawn (1996); so the less two tests agree far out,
        the more they count as two.
        """
        return float(2 * p_value - p_value**self.together)

    def divergence_p(self, value: float, unit: float, rows: int) -> float:
        """Chance of so large a divergence: a gamma distribution of the played mean and variance (Satterthwaite
        1946)."""
        mean, deviation = self._expected(rows)
        scaled = value * 8 * LN2 / unit
        if (
            mean < 0.5 or not deviation
        ):  # the reference has one cell: a row elsewhere is as likely as to be the first of n + m to fall there
            return float(chi2.sf(scaled, 2))
        return float(gamma.sf(scaled, (mean / deviation) ** 2, scale=deviation**2 / mean))

    def distance_p(self, value: float, unit: float) -> float:
        """Chance of so large a Kolmogorov-Smirnov distance: played quantiles, then ``exp(-x**2 / (2 max F (1 - F)))``,
        the tail of a bridge (Adler 1990)."""
        if not self.quantiles or not self.widest:
            return 1.0
        square, last = value**2 / unit, self.quantiles[-1] ** 2
        if square > last:
            return float(LEVELS[-1] * np.exp(-(square - last) / (2 * self.widest)))
        return float(np.exp(np.interp(square, [0.0, *(q**2 for q in self.quantiles)], np.log([1.0, *LEVELS]))))

    @cached_property
    def _curves(self) -> PchipInterpolator:
        return PchipInterpolator(LOG_SIZES, np.transpose([self.mean, self.deviation]))

    def _expected(self, rows: int) -> tuple[float, float]:
        """Mean and deviation; between the sizes a monotone cubic over the size's logarithm (Fritsch & Butland 1984),
        since they bend where cells fill up."""
        mean, deviation = self._curves(np.clip(np.log(rows), LOG_SIZES[0], LOG_SIZES[-1]))
        return float(mean), float(deviation)


@dataclass(frozen=True)
class ColumnDrift:
    """One column of a window against the reference.

    ``distance`` is Jensen-Shannon's (base 2) as it is; ``excess`` without what sampling adds.
    """

    column: str
    p_value: float
    distance: float
    excess: float
    psi: float
    ks: float | None
    wasserstein: float | None
    chi_squared_p: float | None
    one_cell: bool
    """All rows of both windows lie in one cell, so nothing can differ."""


@dataclass(frozen=True)
class DriftReference:
    """The reference of one version as all its windows are compared with it."""

    layout: Layout
    profile: Profile
    nulls: dict[str, Null]
    seed: int

    def document(self) -> dict[str, Any]:
        nulls = {name: null.model_dump(mode="json") for name, null in self.nulls.items()}
        return {
            "format": DRIFT_REFERENCE.number,
            "seed": self.seed,
            "layout": self.layout.document(),
            "profile": self.profile.document(),
            "nulls": nulls,
        }

    def shift(self, layout: ColumnLayout, window: Profile) -> ColumnDrift:
        """Compare one column; both have rows."""
        before, after = cells(layout, self.profile), cells(layout, window)
        null, unit = self.nulls[layout.name], 1 / before.sum() + 1 / after.sum()
        used = before + after > 0
        found = float(divergence(before, after))
        p_value, ks, moved, chi_squared = null.divergence_p(found, unit, window.rows), None, None, None
        if isinstance(layout, NumberLayout):
            bins = [p.counts[f"bins:{layout.name}"] for p in (self.profile, window)]
            if min(part.sum() for part in bins):
                ks = kolmogorov_smirnov(*bins)
                by_ks = null.distance_p(ks, 1 / bins[0].sum() + 1 / bins[1].sum())
                p_value = null.either_p(min(p_value, by_ks))
            moved = wasserstein(layout, self.profile, window)
        else:
            chi_squared = category_p_value(np.array([before, after])[:, used]) if used.sum() > 1 else 1.0
        excess = float(np.sqrt(max(found - null.sampling(unit, window.rows), 0.0)))
        same = used.sum() < 2 and (ks or 0.0) == 0.0
        return ColumnDrift(
            layout.name, p_value, found**0.5, excess, stability_index(before, after), ks, moved, chi_squared, bool(same)
        )


def load_drift_reference(document: dict[str, Any]) -> DriftReference:
    """Raises ConfigError where it was written in another format, or is none."""
    refuse_other_format(document, DRIFT_REFERENCE, "Fit it again on the version's reference.")
    try:
        nulls = {name: validate(null, Null, f"the drift reference, {name}") for name, null in document["nulls"].items()}
        return DriftReference(
            load_layout(document["layout"]), load_profile(document["profile"]), nulls, document["seed"]
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"the document is no drift reference ({type(error).__name__}: {error}). Fit it again on the "
            "version's reference."
        ) from None


def fit_reference(config: ModelConfig, reference: pd.DataFrame, seed: int) -> DriftReference:
    """Layout, profile and null distributions of a version's reference in one go; see :func:`fit_layout` and
    :func:`fit_drift`."""
    counted: Counted = {}
    layout = fit_layout(config, reference, counted)
    return fit_drift(config, profile(layout, reference, counted=counted), layout, seed)


def fit_drift(config: ModelConfig, reference: pd.DataFrame | Profile, layout: Layout, seed: int) -> DriftReference:
    """Count the reference, and play for every column and window size what its distances are where nothing changed.

    Args:
        config: the model's config.
        reference: (m, columns) its rows, or their profile by ``layout``.
        layout: fitted on it.
        seed: of the plays.

    Raises:
        ConfigError: the layout is of another model.
    """
    if layout.model != config.name:
        raise ConfigError(
            f"the layout is of {layout.model} and the config of {config.name}; fit the layout on this model's "
            "reference."
        )
    counted = reference if isinstance(reference, Profile) else profile(layout, reference)
    rng = np.random.default_rng(seed)
    columns: tuple[ColumnLayout, ...] = (*layout.numbers, *layout.categories, *layout.scores) if counted.rows else ()
    return DriftReference(layout, counted, {c.name: _null(c, counted, rng) for c in columns}, seed)


def _null(layout: ColumnLayout, reference: Profile, rng: np.random.Generator) -> Null:
    before = cells(layout, reference)
    mean, deviation = played_divergence(before[before > 0], rng)
    if not isinstance(layout, NumberLayout):
        return Null(mean=mean, deviation=deviation)
    bins = reference.counts[f"bins:{layout.name}"]
    if (bins > 0).sum() < 2:
        return Null(mean=mean, deviation=deviation)
    quantiles, widest, together = _played_bridge(layout, bins / bins.sum(), rng)
    return Null(mean=mean, deviation=deviation, quantiles=quantiles, widest=widest, together=together)


def played_divergence(counts: np.ndarray, rng: np.random.Generator) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The reference and a window of every size drawn anew from the reference's shares, so that its own sampling error
    is in it.

    Where all cells hold :data:`PLENTY` in both, nothing is drawn: it is chi-squared with k - 1 degrees of freedom
    (Wilks 1938).
    """
    shares, rows = counts / counts.sum(), int(counts.sum())
    plays = int(np.clip(10_000 // len(counts), 100, 250))
    references = rng.multinomial(rows, shares, size=plays)
    means, deviations = [], []
    for size in SIZES:
        if min(size, rows) * shares.min() >= PLENTY:
            means.append(len(counts) - 1.0)
            deviations.append(float(np.sqrt(2 * (len(counts) - 1))))
            continue
        scaled = divergence(references, rng.multinomial(size, shares, size=plays)) * 8 * LN2 / (1 / size + 1 / rows)
        means.append(float(scaled.mean()))
        deviations.append(float(scaled.std()))
    return tuple(means), tuple(deviations)


def _played_bridge(
    layout: NumberLayout, shares: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[float, ...], float, float]:
    """Brownian bridges at the edges: the limit of Kolmogorov-Smirnov's distance, which smaller windows stay below
    (Stephens 1970)."""
    noise = rng.standard_normal((PLAYS, len(shares))) * np.sqrt(shares)
    noise -= noise.sum(axis=1, keepdims=True) * shares
    farthest = np.abs(np.cumsum(noise, axis=1)).max(axis=1)
    starts = [0, *(i + 1 for i in layout.coarse)]
    wide, held = np.add.reduceat(noise, starts, axis=1), np.add.reduceat(shares, starts)
    chi = (wide[:, held > 0] ** 2 / held[held > 0]).sum(axis=1)
    ranks = [np.argsort(np.argsort(-statistic)) / PLAYS for statistic in (farthest, chi)]
    both = max((np.maximum(*ranks) < COMMON).mean(), COMMON**2)
    together = float(np.log(min(both, COMMON)) / np.log(COMMON))
    below = np.cumsum(shares)
    return (
        tuple(float(q) for q in np.quantile(farthest, 1 - np.array(LEVELS))),
        float((below * (1 - below)).max()),
        together,
    )
