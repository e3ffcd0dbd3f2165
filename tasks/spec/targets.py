"""What a model predicts: ``data.target`` of ``model.yaml``, one class a kind of target."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from tasks.spec.base import Spec
from tasks.spec.expressions import Expression


class AnyTarget(Spec):
    """What targets of every kind have."""

    missing: Literal["refuse", "drop"] = "refuse"
    """Rows of the population whose label is missing: ``refuse`` stops and counts them; ``drop`` leaves them out, and
    the verdict says how many."""


class BinaryTarget(AnyTarget):
    """A yes-or-no label, as an expression over source columns; the score is the probability of the positive class."""

    kind: Literal["binary"] = "binary"
    expression: Expression
    """A condition that is true for the positive class, e.g. ``mdvis > 0``; where it is missing, so is the label."""
    positive: str
    """What it is called where the expression is true."""
    negative: str
    """What it is called where it is not."""
    decision_threshold: float | None = None
    """Score from which a row is selected; needed, between 0 and 1."""


class MulticlassTarget(AnyTarget):
    """One of several classes; the scores are one probability a class."""

    kind: Literal["multiclass"]
    expression: Expression
    """A category column, or an expression that gives the class's name."""
    classes: Annotated[tuple[str, ...], Field(min_length=3, max_length=50)]
    """All classes, in the order in which scores are given; a row of any other class is refused."""
    decision_threshold: float | None = None
    """Never given: the most probable class is the decision."""

    @model_validator(mode="after")
    def _distinct(self) -> MulticlassTarget:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes are {', '.join(self.classes)}; each may be named once")
        return self


class RegressionTarget(AnyTarget):
    """A number; the score is the predicted number, in the same unit."""

    kind: Literal["regression"]
    expression: Expression
    """A numeric column, or arithmetic over columns, e.g. ``price / area``."""
    unit: str
    """The unit of the number."""
    minimum: float | None = None
    """What the number can be; an outcome outside is refused."""
    maximum: float | None = None
    """What the number can be; an outcome outside is refused."""
    decision_threshold: float | None = None
    """Score from which a row is selected, in the target's unit; left out where nothing is decided."""


def _target_kind(raw: Any) -> Any:
    """Binary where nothing is said: configs of registered versions are read as they were written."""
    return raw.get("kind", "binary") if isinstance(raw, dict) else getattr(raw, "kind", None)


Target = Annotated[
    Annotated[BinaryTarget, Tag("binary")]
    | Annotated[MulticlassTarget, Tag("multiclass")]
    | Annotated[RegressionTarget, Tag("regression")],
    Discriminator(_target_kind),
]
