"""Whether the verdict in an entry's evidence lets a new version in, by the rules of docs/ledger.md."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from pydantic import BaseModel

from tasks.records.registry import envelopes, waivers
from tasks.spec.evidence import SIGNED_UNLESS_PASSED
from tasks.spec.ledger import Entry, Policy


class Waits(BaseModel):
    """A candidate that waits for a signature."""

    sequence: int
    evidence: str
    requesters: tuple[str, ...]
    time: str
    """When its entry was written."""
    list: str
    """Digest of the list in force there; empty before the first."""


class Listed(BaseModel):
    """A list of people that holds, or held until the next one."""

    policy: Policy
    digest: str
    time: str
    """When its entry was written."""


def refusal(
    entry: Entry,
    evidence: dict[str, Any],
    asked: Waits,
    lists: list[Listed],
    digest_of: Callable[[int], str | None],
    bound: int,
) -> str:
    """Why a verdict makes no version, in a sentence; empty where it does.

    What is read is the document as it is stored, as ``tasks/proof/verify.py`` does.

    Args:
        entry: the promotion.
        evidence: what it names.
        asked: the entry that first brought the verdict: the one that waited, or the promotion itself.
        lists: all that held up to the promotion; the last is in force.
        digest_of: of the ledger's entry with a number.
        bound: the first entry since which waivers name the list and the ledger; 0 where none is before the promotion.
    """
    verdict = evidence.get("verdict")
    if not isinstance(verdict, dict) or [verdict.get(key) for key in ("model", "commit", "passed")] != [
        entry.model, entry.commit, True,
    ]:  # fmt: skip
        return "its evidence holds no verdict that passed this candidate"
    for gate in verdict["gates"] if isinstance(verdict.get("gates"), list) else []:
        waiver = gate.get("waiver") if isinstance(gate, dict) else None
        if isinstance(waiver, dict):
            why = waivers.problem(waiver, _place(entry, gate, asked, lists, digest_of, bound))
            if why:
                return why
        elif not isinstance(gate, dict) or gate.get("state") == "pass":
            continue
        elif gate.get("mandatory"):
            return f"gate {gate.get('gate')} did not pass, and nobody waived it"
        elif gate.get("kind") in SIGNED_UNLESS_PASSED and asked.sequence == entry.sequence:
            envelope = verdict.get("envelope")
            place = _now(entry, envelope, asked, lists[-1], digest_of)
            if why := envelopes.refusal(envelope, gate, entry, place):
                return why
    return ""


def _place(
    entry: Entry,
    gate: dict[str, Any],
    asked: Waits,
    lists: list[Listed],
    digest_of: Callable[[int], str | None],
    bound: int,
) -> waivers.Place:
    if waivers.is_bound(gate["waiver"]):
        there = next((one.policy for one in reversed(lists) if one.digest == asked.list), None)
        approvers = _in_both(there, lists[-1].policy) if there else {}
    else:
        approvers = {}
        for one in lists[-2 if lists[-1].time > asked.time else -1 :]:
            for person in one.policy.who("approver"):
                approvers[person.name] = (*approvers.get(person.name, ()), *person.keys)
    return waivers.Place(
        model=entry.model,
        version=str(entry.version),
        gate=str(gate.get("gate")),
        requesters=(*asked.requesters, entry.actor),
        day=day_of(asked.time),
        approvers=approvers,
        list=asked.list,
        holds=lambda number, digest: number < asked.sequence and digest_of(number) == digest,
        of_old=asked.time < waivers.BOUND and not 0 < bound <= asked.sequence,
    )


def _now(
    entry: Entry, envelope: Any, asked: Waits, listed: Listed, digest_of: Callable[[int], str | None]
) -> waivers.Place:
    """Where an envelope lets a candidate in at once."""
    authors = envelope.get("authors") if isinstance(envelope, dict) else None
    return waivers.Place(
        model=entry.model,
        version=str(entry.version),
        gate="",
        requesters=(*asked.requesters, entry.actor, *(map(str, authors) if isinstance(authors, list) else ())),
        day=day_of(asked.time),
        approvers={person.name: person.keys for person in listed.policy.who("approver")},
        list=asked.list,
        holds=lambda number, digest: number < asked.sequence and digest_of(number) == digest,
    )


def _in_both(there: Policy, now: Policy) -> dict[str, tuple[str, ...]]:
    """Approvers of a list with those of their keys that still are an approver's: what was taken off signs nothing."""
    left = {person.name: person.keys for person in now.who("approver")}
    found = {p.name: tuple(key for key in p.keys if key in left.get(p.name, ())) for p in there.who("approver")}
    return {name: keys for name, keys in found.items() if keys}


def day_of(time: str) -> date:
    """The day of a moment; the last of all where it is none, so that all is over by then."""
    try:
        return date.fromisoformat(time[:10])
    except ValueError:
        return date.max
