"""What is said and drawn of a model's groupings: numbers and words, no row's inputs and no ids."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.spec.base import Finite, Spec, Text

POINTS = 600
"""Of a map, at most."""
REFERENCE: Literal["reference"] = "reference"


class Group(Spec):
    """One group of the reference."""

    name: str
    rows: int
    share: float
    radius: tuple[float, float, float]
    """Distance from the centre within which 50, 90 and 99 % of its rows lie; in units of the whole reference's
    spread."""
    label: float | None
    """Label rate; the mean label of a regression; of several classes, the share of the most frequent one."""
    label_words: str
    score: float | None
    typical: tuple[str, ...]
    """What sets its rows apart from the rest, most distinguishing first; with both shares."""
    stability: float
    stability_low: float
    stability_high: float
    """Jaccard index with the most similar group of a resample: mean, and where 95 % of the resamples lie (Hennig
    2007)."""
    silhouette: float


class Choice(Spec):
    """One number of groups that was tried on the reference."""

    groups: int
    stability: float
    """Mean adjusted Rand index with the groups of a resample, and where 95 % of the resamples lie."""
    low: float
    high: float
    silhouette: float


class GroupNow(Spec):
    """One group in one window, beside the reference."""

    name: str
    rows: int
    share: float
    reference_share: float
    label: float | None
    reference_label: float | None
    score: float | None
    reference_score: float | None


class GroupSummary(Spec):
    """Whether the groups of the reference still make sense in one window."""

    sentence: str
    holds: bool | None
    """None where nothing could be concluded."""
    groups: tuple[GroupNow, ...] = ()
    stability: float | None = None
    reference_stability: float | None = None
    silhouette: float | None = None
    reference_silhouette: float | None = None
    coherence: float | None = None
    reference_coherence: float | None = None
    """Share of the label's variance that the groups explain."""
    events: tuple[str, ...] = ()


class MapPoint(Spec):
    """One row's place, and what is known of it; nothing of what was asked."""

    x: Finite
    y: Finite
    score: Finite | None = None
    label: Finite | Text | None = None
    group: int = Field(ge=0)
    """Position in ``EmbeddingMap.groups``."""
    window: int | Literal["reference"]


class Centre(Spec):
    name: Text
    words: Text
    x: Finite
    y: Finite


class EmbeddingMap(Spec):
    """Reference and window on the axes of the reference, which are the same for every window of a version."""

    model: str
    source: Text
    """What the numbers of a row were before the projection."""
    explained: float = Field(ge=0, le=1)
    """Share of the variance that the two axes hold."""
    score_name: Text
    label_name: Text
    x: tuple[Finite, Finite]
    y: tuple[Finite, Finite]
    groups: Annotated[tuple[Centre, ...], Field(min_length=1)]
    points: Annotated[tuple[MapPoint, ...], Field(max_length=POINTS)]
    note: str = ""

    @model_validator(mode="after")
    def _placed(self) -> EmbeddingMap:
        if any(p.group >= len(self.groups) for p in self.points):
            raise ValueError(f"a point names a group beyond the {len(self.groups)} that there are")
        return self
