"""Waivers: the one way around a gate, and a narrow one: one gate of one version, signed, reasoned and expiring."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel, Field

from tasks.spec.base import Spec
from tasks.spec.line import Line, Who


class Head(BaseModel):
    """An entry of the ledger, as the newest one that somebody knew who signed."""

    model_config = Spec.model_config
    sequence: int
    digest: str


class Waiver(Spec):
    """One entry of ``waivers.yaml``; ``assay waive`` writes it."""

    gate: str
    version: str = Field(pattern=r"^v\d+\.\d+\.\d+$")
    """The version that the candidate would become; the waiver holds for no other."""
    reason: Line = Field(min_length=10, max_length=500)
    who: Who = Field(min_length=3)
    """Who signs, as on the list of ``assay policy``."""
    expires: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """The last day on which it holds, UTC."""
    list: str | None = None
    """Digest of the list of people that was in force when it was signed; waivers before 2026-11-29 have none."""
    head: Head | None = None
    """The newest entry of the ledger then; waivers before 2026-11-29 have none."""
    signature: str = ""

    def statement(self, model: str) -> dict[str, Any]:
        """What is signed: exactly these."""
        return statement(self.model_dump(mode="json"), model)


def statement(waiver: dict[str, Any], model: str) -> dict[str, Any]:
    """What was signed, of a waiver as it is stored; one that is bound to no ledger signs neither list nor head."""
    said = {key: waiver.get(key) for key in ("version", "reason", "who", "expires")}
    bound = {key: waiver[key] for key in ("list", "head") if waiver.get(key) is not None}
    return said | bound | {"waive": waiver.get("gate"), "model": model}


def is_head(head: Any) -> bool:
    """Whether it names an entry of a ledger, in the one form in which everybody reads it."""
    fits = isinstance(head, dict) and set(head) == {"sequence", "digest"}
    return fits and type(head["sequence"]) is int and head["sequence"] > 0 and isinstance(head["digest"], str)


def is_over(expires: Any, day: date) -> bool:
    """Whether a last day is over; a date that does not exist is over as well, and on the last day of all, all is."""
    try:
        return day == date.max or date.fromisoformat(str(expires)) < day
    except ValueError:
        return True


class Waivers(Spec):
    """``deployments/models/<name>/waivers.yaml``."""

    waivers: tuple[Waiver, ...] = ()
