"""The map of a window: points of the reference and of the window on the axes of the reference."""

from __future__ import annotations

import numpy as np

from tasks.science.data.tables import LABEL, SCORE
from tasks.science.monitors.groupings.clustering import plane_of
from tasks.science.monitors.groupings.events import Event
from tasks.science.monitors.groupings.placed import PlacedWindow
from tasks.science.monitors.groupings.reference import GroupReference, label_table
from tasks.spec.groupings import POINTS, Centre, EmbeddingMap, MapPoint
from tasks.spec.model import ModelConfig


def window_map(
    config: ModelConfig,
    reference: GroupReference,
    window: PlacedWindow,
    found: tuple[Event, ...],
    number: int,
    rng: np.random.Generator,
) -> EmbeddingMap | None:
    """Half of the points from the reference and half from the window, on the reference's axes; what lies beyond them is
    drawn at their ends."""
    if reference.space is None or not len(reference.centres):
        return None
    low, high = reference.ends.T
    fresh = [(i, e) for i, e in enumerate(found) if e.kind == "new"]
    own = window.sides.own.copy()
    for place, (_, e) in enumerate(fresh):
        own[e.members] = len(reference.groups) + place
    before, now = (rng.permutation(n)[: POINTS // 2] for n in (len(reference.placed), window.n))
    old_label = _label_values(config, reference.label)
    new_label = _label_values(config, label_table(config, window.rows)) if LABEL in window.rows else [None] * window.n
    new_score = window.rows[SCORE].to_numpy(float)
    at, then = (np.clip(plane_of(p), low, high) for p in (window.sides.window, reference.placed))
    points = [_point(then[i], reference.score[i], old_label[i], int(window.sides.was[i]), "reference") for i in before]
    points += [_point(at[i], new_score[i], new_label[i], int(own[i]), number) for i in now]
    middles = [*plane_of(reference.centres), *(plane_of(window.sides.window[e.members]).mean(axis=0) for _, e in fresh)]
    names = [
        *((g.name, _short("; ".join(g.typical))) for g in reference.groups),
        *((f"N{i + 1}", "new in this window") for i, _ in fresh),
    ]
    target = config.data.target
    spread = reference.placed.var(axis=0)
    kinds = {
        "binary": ("probability", "outcome"),
        "multiclass": ("probability of the most probable class", "class"),
        "regression": ("predicted number", "number"),
    }[config.kind]
    return EmbeddingMap(
        model=config.name,
        source=reference.space.source[:300],
        explained=min(1.0, float(spread[:2].sum() / spread.sum())) if spread.sum() > 0 else 1.0,
        score_name=_short(f"probability of {target.positive}" if target.kind == "binary" else kinds[0]),
        label_name=_short(f"{target.positive}, or {target.negative}" if target.kind == "binary" else kinds[1]),
        x=(float(low[0]), float(high[0])),
        y=(float(low[1]), float(high[1])),
        groups=tuple(
            Centre(name=n, words=w, x=float(np.clip(c[0], low[0], high[0])), y=float(np.clip(c[1], low[1], high[1])))
            for (n, w), c in zip(names, middles, strict=True)
        ),
        points=tuple(points),
        note=f"{len(before)} of {len(reference.placed)} reference rows and {len(now)} of {window.asked} rows of the "
        "window",
    )


def _short(words: str) -> str:
    return words if len(words) <= 300 else words[:299] + "…"


def _label_values(config: ModelConfig, table: np.ndarray) -> list[float | str | None]:
    known = np.isfinite(table).all(axis=1)
    if config.kind == "multiclass":
        return [config.classes[int(row.argmax())] if k else None for row, k in zip(table, known, strict=True)]
    return [float(row[0]) if k else None for row, k in zip(table, known, strict=True)]


def _point(at: np.ndarray, score: float, label: float | str | None, group: int, window: int | str) -> MapPoint:
    place = {
        "x": round(float(at[0]), 4),
        "y": round(float(at[1]), 4),
        "score": float(score) if np.isfinite(score) else None,
        "label": label,
        "group": group,
        "window": window,
    }
    return MapPoint.model_validate(place)
