"""Waivers: the one way around a gate, and a narrow one: one gate of one version, signed, reasoned and expiring."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import Field

from tasks.spec.base import Spec
from tasks.spec.line import Line, Who


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
    signature: str = ""

    def statement(self, model: str) -> dict[str, Any]:
        """What is signed: exactly these."""
        return {
            "waive": self.gate,
            "model": model,
            "version": self.version,
            "reason": self.reason,
            "who": self.who,
            "expires": self.expires,
        }

    def expired(self, today: date) -> bool:
        """Whether the last day is over; a date that does not exist is over as well."""
        try:
            return date.fromisoformat(self.expires) < today
        except ValueError:
            return True


class Waivers(Spec):
    """``deployments/models/<name>/waivers.yaml``."""

    waivers: tuple[Waiver, ...] = ()
