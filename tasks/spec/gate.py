"""What every gate has: its name, whether it is mandatory, its confidence, and what it can judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

from pydantic import Field

from tasks.spec.base import Spec
from tasks.spec.metrics import TargetKind

TARGET_KINDS: tuple[TargetKind, ...] = get_args(TargetKind)
Materiality = Literal["low", "medium", "high"]
MATERIALITIES: tuple[Materiality, ...] = get_args(Materiality)


class Gate(Spec):
    """What every gate has."""

    needed_from: ClassVar[Materiality | None] = None
    """The lowest materiality whose models must list such a gate as mandatory; None where no model must."""
    of_groups: ClassVar[bool] = False
    """Whether it compares protected groups, so that a model without any cannot have it."""
    asks: ClassVar[str | None] = None
    """The field that says what is asked, such as ``metric``; None where there is nothing to choose."""
    takes: ClassVar[Mapping[TargetKind, tuple[str, ...]]] = dict.fromkeys(TARGET_KINDS, ())
    """The target kinds that the gate can judge, each with the allowed values of the field that ``asks`` names."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{1,59}$")
    """Its name on the verdict, and in a waiver."""
    mandatory: bool = True
    """Whether a version that does not pass it is refused."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Of the bound that has to be on the right side of the limit."""

    def problem(self, target: TargetKind, classes: tuple[str, ...] = ()) -> str:
        """Why this gate cannot judge such a model.

        Args:
            target: the kind of the model's target.
            classes: of a multiclass model.

        Returns:
            A sentence with what is allowed, or an empty text where the gate fits.
        """
        if target not in self.takes:
            return f"gate {self.name} cannot judge a {target} model; allowed: {', '.join(self.takes)} models"
        asked = None if self.asks is None else getattr(self, self.asks)
        if asked is not None and asked not in self.takes[target]:
            allowed = ", ".join(self.takes[target])
            return f"gate {self.name} names the {self.asks} {asked!r}; allowed for a {target} model: {allowed}"
        return ""
