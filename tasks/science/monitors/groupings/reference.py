"""The groups of a model's reference rows: found once, kept, and followed by
:mod:`tasks.science.monitors.groupings.findings`."""

from __future__ import annotations

import base64
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError
from scipy.spatial.distance import pdist

from tasks.science.data.tables import LABEL, SCORE, label_array
from tasks.science.models.embeddings import Represent, Space, embed, fit_space
from tasks.science.monitors.groupings.clustering import adjusted_rand, clustered, nearest, plane_of, silhouettes
from tasks.science.monitors.groupings.words import apart
from tasks.science.stats.intervals import percentiles
from tasks.spec.errors import CorruptionError
from tasks.spec.formats import GROUPINGS, refuse_other_format
from tasks.spec.groupings import Choice, Group
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

FITTED = 4000
"""Reference rows that are used for fitting at most."""
COMPARED = 4000
"""Other reference rows, at most, with which windows are compared: they had no part in the fit, as a window's rows have
none."""
SMALLEST = 200
"""Reference rows below which no groups are sought."""
MOST = 8
RESAMPLES = 25
STABLE = 0.8
"""Mean adjusted Rand index under resampling from which a number of groups is said to hold."""
CLOSE = 0.05
NAMES = "ABCDEFGH"
REACH = (0.05, 0.1, 0.25, 0.5)
KEPT = 2000
"""Fitted rows that are kept for choosing where to look inside a group."""


@dataclass(frozen=True)
class GroupReference:
    """What later windows are held against. Arrays have one row a reference row, without its inputs or its id."""

    model: str
    seed: int
    reason: str
    """Why there is nothing to follow, in a sentence; empty where there is."""
    space: Space | None
    centres: np.ndarray
    """(k, d) in the space."""
    groups: tuple[Group, ...]
    choices: tuple[Choice, ...]
    choice: str
    """Why it is this number of groups, in a sentence."""
    fitted: np.ndarray
    """(f, d) places of rows that the groups were found on."""
    placed: np.ndarray
    """(m, d) places of the rows that windows are compared with."""
    score: np.ndarray
    """(m,) of these, NaN where unknown."""
    label: np.ndarray
    """(m, c) of these: one column, or one a class; NaN where unknown."""
    reach: np.ndarray
    """(4,) ascending: :data:`REACH` quantiles of the distance between two rows of one group, the radii of a
    neighbourhood."""
    radius: np.ndarray
    """(k, 3) distances from the centre within which 50, 90 and 99 % of a group lie."""
    ends: np.ndarray
    """(2, 2) ends of the two axes of every map."""

    def document(self) -> dict[str, Any]:
        """As JSON-able values; :func:`load_groupings` reads it."""
        return {"format": GROUPINGS.number, **{f.name: _plain(getattr(self, f.name)) for f in fields(self)}}


def fit_groupings(config: ModelConfig, represent: Represent, reference: pd.DataFrame, seed: int) -> GroupReference:
    """Find the groups of the reference in the model's own view of it.

    Half of the reference, at most :data:`FITTED` rows, fits the projection and k-means (Lloyd 1982, k-means++ starts).
    Of the other half, at most :data:`COMPARED` rows are what windows are compared with. From 2 to 8 groups are tried. A
    grouping holds where its mean adjusted Rand index with :data:`RESAMPLES` bootstrap fits is at least :data:`STABLE`
    (Hubert & Arabie 1985, Ben-Hur et al. 2002). Each of these is rated by the sum of that index and the simplified
    silhouette, which uses distances to centres instead of all pairs (Vendramin et al. 2010). The fewest groups within
    :data:`CLOSE` of the largest sum are taken. Where none holds there is one group.

    Args:
        reference: (n, columns) raw inputs, ``_score`` and ``_label``.

    Raises:
        ConfigError: a function that the user named for the embedding cannot be used.
    """
    rng = np.random.default_rng(seed)
    if len(reference) < SMALLEST:
        return _nothing(
            config,
            seed,
            f"the reference has {plural(len(reference), 'row')} and {SMALLEST} are needed, so no groups were sought",
        )
    order = rng.permutation(len(reference))
    half = min(FITTED, len(order) // 2)
    fit_rows, other = reference.iloc[np.sort(order[:half])], reference.iloc[np.sort(order[half : half + COMPARED])]
    space = fit_space(represent, config, fit_rows, seed)
    (fitted, fit_rows), (placed, other) = (
        _finite(embed(represent, config, rows, space), rows) for rows in (fit_rows, other)
    )
    if min(len(fitted), len(placed)) < SMALLEST // 4:
        return _nothing(
            config,
            seed,
            (
                f"only {len(fitted) + len(placed)} reference rows have finite numbers in {space.source}, and "
                f"{SMALLEST // 2} are needed, so no groups were sought"
            ),
        )
    if not len(space.components):
        return _nothing(
            config, seed, f"all reference rows have the same place in {space.source}, so there are no groups to follow"
        )
    k, choices, choice = _choose(fitted, rng)
    fit = clustered(fitted, k, 10, rng)
    by_size = np.argsort(-np.bincount(fit.labels_, minlength=k), kind="stable")
    centres = np.asarray(fit.cluster_centers_[by_size], dtype=float)
    return GroupReference(
        model=config.name,
        seed=seed,
        reason="",
        space=space,
        centres=centres,
        groups=_groups(config, centres, fitted, placed, fit_rows, other, _jaccard(centres, fitted, rng)),
        choices=choices,
        choice=choice,
        fitted=fitted[rng.permutation(len(fitted))[:KEPT]],
        placed=placed,
        score=other[SCORE].to_numpy(float),
        label=label_table(config, other),
        reach=_reach(centres, fitted, rng),
        radius=_radii(centres, np.concatenate([fitted, placed])),
        ends=_ends(np.concatenate([fitted, placed])),
    )


def label_table(config: ModelConfig, rows: pd.DataFrame) -> np.ndarray:
    """(n, c) labels as numbers: 0 or 1, the number, or one indicator a class; NaN where unknown."""
    found = label_array(config, rows[LABEL])
    if config.kind != "multiclass":
        return np.asarray(found, dtype=float)[:, None]
    table = np.eye(len(config.classes))[np.maximum(found, 0)]
    table[found < 0] = np.nan
    return np.asarray(table)


def _choose(fitted: np.ndarray, rng: np.random.Generator) -> tuple[int, tuple[Choice, ...], str]:
    """The number of groups, what was tried, and why."""
    choices = []
    for k in range(2, min(MOST, len(fitted) // 25) + 1):
        whole = clustered(fitted, k, 10, rng)
        rand = [adjusted_rand(whole.labels_, labels) for labels, _ in _resampled(k, fitted, rng)]
        low, high = percentiles(np.array(rand))
        silhouette = float(silhouettes(nearest(whole.cluster_centers_, fitted)[1]).mean())
        choices.append(
            Choice(groups=k, stability=float(np.mean(rand)), low=float(low), high=float(high), silhouette=silhouette)
        )
    hold = [c for c in choices if c.stability >= STABLE]
    if not hold:
        best = max(choices, key=lambda c: c.stability)
        return (
            1,
            tuple(choices),
            (
                f"no number of groups from 2 to {choices[-1].groups} holds under resampling (best: {best.groups} "
                f"groups, adjusted Rand index {best.stability:.2f}; {STABLE} is asked), so there is one"
            ),
        )
    most = max(c.stability + c.silhouette for c in hold)
    best = next(c for c in hold if c.stability + c.silhouette >= most - CLOSE)
    words = (
        f"{best.groups} groups: of the numbers that hold under resampling the fewest that come within {CLOSE} of the "
        f"largest sum of adjusted Rand index ({best.stability:.2f}, {best.low:.2f} to {best.high:.2f}) and "
        f"silhouette ({best.silhouette:.2f})"
    )
    return best.groups, tuple(choices), words


def _resampled(k: int, fitted: np.ndarray, rng: np.random.Generator) -> Any:
    """All rows in the groups of each of :data:`RESAMPLES` bootstrap samples, and these groups' centres."""
    for _ in range(RESAMPLES):
        drawn = fitted[rng.integers(0, len(fitted), len(fitted))]
        again = clustered(drawn, k, 3, rng)
        yield nearest(again.cluster_centers_, fitted)[0], again.cluster_centers_


def _jaccard(centres: np.ndarray, fitted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(resamples, k) Jaccard index of each group with the most similar one of a resample."""
    k = len(centres)
    if k == 1:
        return np.ones((1, 1))
    own, found = nearest(centres, fitted)[0], []
    for labels, _ in _resampled(k, fitted, rng):
        both = np.zeros((k, k))
        np.add.at(both, (own, labels), 1)
        found.append((both / (both.sum(axis=1)[:, None] + both.sum(axis=0) - both)).max(axis=1))
    return np.array(found)


def _groups(
    config: ModelConfig,
    centres: np.ndarray,
    fitted: np.ndarray,
    placed: np.ndarray,
    fit_rows: pd.DataFrame,
    other: pd.DataFrame,
    jaccard: np.ndarray,
) -> tuple[Group, ...]:
    rows, both = pd.concat([fit_rows, other]), np.concatenate([fitted, placed])
    own, distance = nearest(centres, both)
    radius, silhouette, label, score = (
        _radii(centres, both),
        silhouettes(distance),
        label_table(config, rows),
        rows[SCORE].to_numpy(float),
    )
    made = []
    for j in range(len(centres)):
        inside = own == j
        low, high = percentiles(jaccard[:, j])
        value, words = _label(config, label[inside])
        made.append(
            Group(
                name=NAMES[j],
                rows=int(inside.sum()),
                share=float(inside.mean()),
                radius=(float(radius[j, 0]), float(radius[j, 1]), float(radius[j, 2])),
                label=value,
                label_words=words,
                score=_mean(score[inside]),
                typical=apart(config, rows[inside], rows[~inside]) if len(centres) > 1 else ("all rows",),
                stability=float(jaccard[:, j].mean()),
                stability_low=float(low),
                stability_high=float(high),
                silhouette=float(silhouette[inside].mean()) if inside.any() else 0.0,
            )
        )
    return tuple(made)


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _label(config: ModelConfig, label: np.ndarray) -> tuple[float | None, str]:
    known = label[np.isfinite(label).all(axis=1)]
    if not len(known):
        return None, "no label is known"
    means = known.mean(axis=0)
    if config.kind == "multiclass":
        return float(means.max()), f"{means.max():.1%} {config.classes[int(means.argmax())]}"
    if config.kind == "regression":
        return float(means[0]), f"mean label {means[0]:.4g}"
    return float(means[0]), f"label rate {means[0]:.1%}"


def _reach(centres: np.ndarray, fitted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    own, _ = nearest(centres, fitted)
    pairs = [pdist(fitted[own == j][rng.permutation(int((own == j).sum()))[:400]]) for j in range(len(centres))]
    weights = np.bincount(own, minlength=len(centres)) / len(own)
    quartiles = np.array([np.quantile(p, REACH) if len(p) else np.zeros(len(REACH)) for p in pairs])
    return np.asarray(weights @ quartiles)


def _radii(centres: np.ndarray, placed: np.ndarray) -> np.ndarray:
    own, distance = nearest(centres, placed)
    return np.array(
        [
            np.quantile(distance[own == j, j], [0.5, 0.9, 0.99]) if (own == j).any() else np.zeros(3)
            for j in range(len(centres))
        ]
    )


def _ends(placed: np.ndarray) -> np.ndarray:
    """Both axes with room around the reference, so that what is new has a place on the map."""
    plane = plane_of(placed)
    low, high = np.quantile(plane, [0.002, 0.998], axis=0)
    room = 0.15 * np.maximum(high - low, 1e-6)
    return np.column_stack([low - room, high + room])


def _finite(placed: np.ndarray, rows: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    good = np.isfinite(placed).all(axis=1)
    return placed[good], rows[good]


def _nothing(config: ModelConfig, seed: int, reason: str) -> GroupReference:
    none = np.empty((0, 1))
    return GroupReference(
        config.name,
        seed,
        reason,
        None,
        none,
        (),
        (),
        "",
        none,
        none,
        np.empty(0),
        none,
        np.zeros(len(REACH)),
        np.empty((0, 3)),
        np.zeros((2, 2)),
    )


def _plain(value: Any) -> Any:
    """Arrays as their bytes, so that what is read is bit for bit what was written."""
    if isinstance(value, np.ndarray):
        plain = value.astype("<i8" if value.dtype.kind in "iu" else "<f8")
        return {
            "shape": list(value.shape),
            "type": plain.dtype.str,
            "base64": base64.b64encode(np.ascontiguousarray(plain).tobytes()).decode(),
        }
    if isinstance(value, Space):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(Space)}
    return [v.model_dump(mode="json") for v in value] if isinstance(value, tuple) else value


def _array(found: dict[str, Any]) -> np.ndarray:
    return (
        np.frombuffer(base64.b64decode(found["base64"]), dtype=np.dtype(found["type"])).reshape(found["shape"]).copy()
    )


def load_groupings(document: dict[str, Any]) -> GroupReference:
    """What :meth:`GroupReference.document` wrote.

    Raises:
        ConfigError: the document has another format.
        CorruptionError: it is damaged.
    """
    refuse_other_format(document, GROUPINGS, "Fit them again on the version's reference.")
    try:
        read = {f.name: document[f.name] for f in fields(GroupReference)}
        plain: dict[str, Any] = {
            name: _array(value) if isinstance(value, dict) and "base64" in value else value
            for name, value in read.items()
        }
        if plain["space"] is not None:
            of: dict[str, Any] = {
                f.name: _array(v) if isinstance(v := plain["space"][f.name], dict) else v for f in fields(Space)
            }
            plain["space"] = Space(**of)
        plain["groups"] = tuple(Group.model_validate(g, strict=False) for g in plain["groups"])
        plain["choices"] = tuple(Choice.model_validate(c, strict=False) for c in plain["choices"])
        return GroupReference(**plain)
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise CorruptionError(
            f"the groupings cannot be read ({type(error).__name__}: {error}). Fit them again on the version's "
            "reference."
        ) from None
