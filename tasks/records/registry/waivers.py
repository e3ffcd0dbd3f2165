"""Whether a waiver holds: asked where a candidate is examined, and by who reads the entry that made it a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from tasks.signing import signatures
from tasks.spec.line import person
from tasks.spec.waivers import is_head, is_over, statement

BOUND = "2026-11-29"
"""The day since which waivers name list and head. A verdict's own date is its writer's; an entry has a place, too."""


@dataclass(frozen=True)
class Place:
    """Where a waiver is used, and what holds there."""

    model: str
    version: str
    """What the candidate would become, or became."""
    gate: str
    requesters: tuple[str, ...]
    """Who asked for the candidate or wrote it."""
    day: date
    approvers: Mapping[str, tuple[str, ...]]
    """Public keys of each person who may waive."""
    list: str
    """Digest of the list in force."""
    holds: Callable[[int, str], bool]
    """Whether the ledger holds an entry of this number and digest before this place."""
    of_old: bool = False
    """Whether one counts that names neither list nor head."""


def is_bound(waiver: Mapping[str, Any]) -> bool:
    """Whether it names a list and a head; those that were signed before ``BOUND`` name neither."""
    return waiver.get("list") is not None or waiver.get("head") is not None


def problem(waiver: dict[str, Any], at: Place) -> str:
    """Why a waiver does not hold, in a sentence; empty where it does.

    Args:
        waiver: as it is stored.
        at: where it is used.
    """
    who, gate = str(waiver.get("who")), waiver.get("gate")
    named = f"the waiver of {gate} for {waiver.get('version')} by {who}"
    again = f"sign it again with: assay waive {at.model} {gate}"
    if (gate, waiver.get("version")) != (at.gate, at.version):
        return f"{named} does not hold for this candidate, which would be {at.version}"
    if is_over(waiver.get("expires"), at.day):
        return f"{named} expired on {waiver.get('expires')}"
    if not str(waiver.get("signature") or "").strip():
        return f"{named} is not signed; sign it with: assay waive {at.model} {gate}"
    if who.casefold() in {person(r).casefold() for r in at.requesters}:
        return f"{named} is signed by the one who asked for the promotion or wrote the change"
    if not is_bound(waiver) and not at.of_old:
        return f"{named} names neither the list nor the ledger that it was signed on; {again}"
    if is_bound(waiver) and (why := elsewhere(waiver, at)):
        return f"{named} {why}; {again}"
    if why := signatures.unreadable(str(waiver["signature"])):
        return f"{named} does not hold: {why}"
    if not signatures.holds(statement(waiver, at.model), str(waiver["signature"]), at.approvers.get(who, ())):
        return (
            f"{named} does not hold: the signature is not {who}'s over exactly this statement. Who may sign: "
            f"{', '.join(at.approvers) or 'nobody yet; add somebody with assay policy'}"
        )
    return ""


def elsewhere(waiver: Mapping[str, Any], at: Place) -> str:
    """Whether it was signed under another list, or on another ledger."""
    if waiver.get("list") != at.list:
        return f"was signed under list {waiver.get('list')}, and list {at.list or 'none'} is in force"
    head = waiver.get("head")
    if not isinstance(head, dict) or set(head) != {"sequence", "digest"} or type(head["sequence"]) is not int:
        return "names no entry of the ledger that it was signed on"
    holds = is_head(head) and at.holds(head["sequence"], head["digest"])
    return "" if holds else f"was signed on another ledger, whose entry {head['sequence']} is {head['digest']}"
