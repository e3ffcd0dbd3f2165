"""Whether a signed envelope holds: asked where a candidate is examined, and by who reads the entry that it let in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.records.registry.waivers import Place, elsewhere
from tasks.signing import signatures
from tasks.spec.ledger import Entry
from tasks.spec.line import SHARED, person
from tasks.spec.waivers import envelope_statement, is_over

UNATTENDED = ("retrain", "schedule", "monitor")
"""Reasons of runs that no person asked for; an envelope answers for no other."""


def unattended(reason: str, actor: str) -> bool:
    """Whether no person asked for a run, by its reason; whoever has Prefect's one login writes any reason."""
    return reason in UNATTENDED and not actor.endswith(SHARED)


def problem(signed: Mapping[str, Any], terms: Any, at: Place) -> str:
    """Why an envelope does not hold, in a sentence; empty where it does.

    Args:
        signed: as :class:`tasks.spec.waivers.EnvelopeSignature` is stored.
        terms: what it is said to be of.
        at: where it is used; ``requesters`` are those who may not have signed it.
    """
    who = str(signed.get("who"))
    named, again = f"the envelope by {who}", f"sign it again with: assay envelope {at.model}"
    armor = signed.get("signature")
    if not isinstance(armor, str) or not armor.strip():
        return f"{named} is not signed; sign it with: assay envelope {at.model}"
    if is_over(signed.get("expires"), at.day):
        return f"{named} expired on {signed.get('expires')}; {again}"
    if who.casefold() in {person(r).casefold() for r in at.requesters}:
        return f"{named} is signed by the one who asked for the candidate or wrote a part of it"
    if why := elsewhere(signed, at):
        return f"{named} {why}; {again}"
    if why := signatures.unreadable(armor):
        return f"{named} does not hold: {why}"
    said = envelope_statement(signed, at.model, terms)
    if not signatures.holds(said, armor, at.approvers.get(who, ())):
        if signed.get("envelope") != said["envelope"]:
            return f"{named} was changed after it was signed; {again}"
        return (
            f"{named} does not hold: the signature is not {who}'s over exactly these terms. Who may sign: "
            f"{', '.join(at.approvers) or 'nobody yet; add somebody with assay policy'}"
        )
    return ""


def refusal(envelope: Any, gate: Mapping[str, Any], by: Entry, at: Place) -> str:
    """Why a gate in doubt, for which nobody signed, makes no version; empty where an envelope answers for it.

    Args:
        envelope: ``envelope`` of the verdict, as it is stored.
        gate: of the verdict.
        by: the promotion.
    """
    signed = envelope.get("signed") if isinstance(envelope, dict) else None
    if not isinstance(signed, dict):
        return f"gate {gate.get('gate')} did not pass, and neither a person nor an envelope lets the candidate through"
    checks = envelope.get("checks")
    states = [check.get("state") for check in checks if isinstance(check, dict)] if isinstance(checks, list) else []
    inside = bool(states) and all(state == "pass" for state in states) and not envelope.get("problem")
    if not inside or gate.get("state") != "insufficient_evidence" or not unattended(by.reason, by.actor):
        return f"the envelope by {signed.get('who')} does not reach what this run did"
    return problem(signed, envelope.get("terms"), at)
