"""Pictures behind the answers of gates, as numbers that a page can draw: bounded in size, and never a person's row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tasks.science.examination.examination import Examination
from tasks.science.stats.calibration import mean_reliability, reliability
from tasks.science.stats.counts import MINIMUM
from tasks.spec.columns import KINDS
from tasks.spec.evidence import Plot, Point, Series, State
from tasks.spec.kind import ColumnKind

BINS = 20
MOST = 60
"""Points of a series."""
GROUPS = 24
"""Groups that get a picture of their own: the largest."""
DRIVERS = 15


def cut(text: str, most: int = 300) -> str:
    """The text, shortened where it is too long to stand beside a picture."""
    return text if len(text) <= most else text[: most - 1] + "…"


def unit(column: str, examination: Examination) -> str:
    """The unit of an input column in brackets, where the config gives one."""
    inputs = examination.config.inputs if examination.config else ()
    found = next((c.unit for c in inputs if c.name == column), None)
    return f" ({found})" if found else ""


def column_kind(column: str, examination: Examination) -> ColumnKind:
    """The kind of an input column; a number where no config declares it."""
    inputs = examination.config.inputs if examination.config else ()
    return next((c.kind for c in inputs if c.name == column), KINDS["number"])


def histogram(values: np.ndarray, low: float = 0.0, high: float = 1.0) -> tuple[Point, ...]:
    """Shares of (n,) scores in even bins between two ends; x is the middle of the bin."""
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    return tuple(
        Point(x=float(m), y=float(c / len(values)), rows=int(c))
        for m, c in zip((edges[1:] + edges[:-1]) / 2, counts, strict=True)
    )


def reliability_plots(
    parts: dict[str, np.ndarray], examination: Examination, bins: int, confidence: float, states: dict[str, State]
) -> tuple[Plot, ...]:
    """Observed rate by mean score with Wilson's bounds (of a regression, mean label), one picture for each part that
    has the rows.

    Args:
        parts: (n,) bool masks by name.
        states: the answer for each part.
    """
    enough = {name: mask for name, mask in parts.items() if int(mask.sum()) >= MINIMUM}
    largest = sorted(enough, key=lambda name: -int(enough[name].sum()))[:GROUPS]
    draw = _means if examination.kind == "regression" else _reliability
    label, score, owners = examination.label, examination.score, examination.owners
    return tuple(
        draw(
            name,
            label[parts[name]],
            score[parts[name]],
            bins,
            confidence,
            states.get(name),
            None if owners is None else owners[parts[name]],
        )
        for name in enough
        if name in largest
    )


def _means(
    name: str,
    label: np.ndarray,
    score: np.ndarray,
    bins: int,
    confidence: float,
    state: State | None,
    owners: np.ndarray | None,
) -> Plot:
    points = tuple(
        Point(x=b.score, y=b.rate, low=b.rate_low, high=b.rate_high, rows=b.rows)
        for b in mean_reliability(label, score, bins, confidence, owners)
        if b.rows > 1
    )
    return Plot(
        title=cut(f"Labels by scores of {name}"),
        kind="reliability",
        x_label="mean score of the bin",
        y_label="mean label",
        series=(Series(name="bins", points=points),),
        state=state,
        note=(
            f"{len(label):,} rows in {len(points)} bins; normal bounds of the mean, {confidence:.3g} each side. On "
            "the dashed line a score is the mean of what came."
        ),
    )


def _reliability(
    name: str,
    label: np.ndarray,
    score: np.ndarray,
    bins: int,
    confidence: float,
    state: State | None,
    owners: np.ndarray | None,
) -> Plot:
    points = tuple(
        Point(
            x=b.score,
            y=b.rate,
            low=b.rate_low,
            high=b.rate_high,
            rows=b.rows,
        )
        for b in reliability(label, score, bins, confidence, owners)
    )
    return Plot(
        title=cut(f"Reliability of {name}"),
        kind="reliability",
        x_label="mean score of the bin",
        y_label="observed rate",
        series=(Series(name="bins", points=points),),
        state=state,
        note=(
            f"{len(label):,} rows in {len(points)} bins of {min(p.rows or 0 for p in points):,} rows or more; "
            f"Wilson's bounds, {confidence:.3g} each side. On the dashed line a score of 0.2 means two in ten."
        ),
    )


def importance_plot(found: np.ndarray, features: list[str], rows: int) -> Plot:
    """Smallest, middle and largest share of the importance that each driver has over the draws.

    Args:
        found: (draws, features) mean absolute attributions.
    """
    shares = found / found.sum(axis=1, keepdims=True)
    middle = np.median(shares, axis=0)
    top = np.argsort(-middle, kind="stable")[:DRIVERS]
    points = tuple(
        Point(y=float(middle[i]), low=float(shares[:, i].min()), high=float(shares[:, i].max()), label=cut(features[i]))
        for i in top
    )
    return Plot(
        title="Importance over the draws",
        kind="intervals",
        x_label="share of the mean absolute attribution",
        series=(Series(name="median, smallest and largest", points=points),),
        note=(
            f"{len(found)} draws of {rows:,} rows, each explained under a seed of its own; the first {len(points)} "
            f"of {len(features)} features."
        ),
    )


def deletion_plot(ordered: np.ndarray, chance: np.ndarray, rows: int) -> Plot:
    """Mean move of the score by the number of features replaced, in the order of attribution and at random.

    Args:
        ordered, chance: (steps,) mean absolute moves after 1, 2, ... features.
    """
    kept = (
        np.unique(np.linspace(0, len(ordered), MOST).round().astype(int))
        if len(ordered) >= MOST
        else np.arange(len(ordered) + 1)
    )
    return Plot(
        title="Move of the score as features are replaced",
        kind="curve",
        x_label="features replaced",
        y_label="mean move of the score",
        series=(_moves("in the order of attribution", ordered, kept), _moves("in random order", chance, kept)),
        note=f"{rows:,} rows. Attributions tell the truth as far as the solid line lies above the dashed one.",
    )


def _moves(name: str, moves: np.ndarray, kept: Iterable[int]) -> Series:
    whole = np.concatenate([[0.0], moves])
    return Series(name=name, points=tuple(Point(x=float(k), y=float(whole[k])) for k in kept))
