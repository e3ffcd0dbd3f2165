"""Promotions without a person's signature on labels of one source: inside envelopes that hold, and that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tasks.spec.base import digest_json
from tests.proof import ledgers
from tests.proof.by_verdict import promoted
from tests.proof.forging import Forgery, at_end
from tests.proof.ledgers import OVER, TERMS, Document, Ledger, mail

BY = "the envelope by ann@example.org"
UNSIGNED, OUTSIDE = f"{BY} has no signature of an approver", f"{BY} does not reach what this run did"


def enveloped(
    reason: str = "retrain", at: Document | None = None, actor: str = mail("cy"), **how: Any
) -> Callable[[Ledger], Any]:
    """A promotion of a retraining that one source alone taught, on an envelope.

    Args:
        at: changes of the list and the head that it was signed on.
        how: as of :func:`tests.proof.ledgers.enveloped`.
    """

    def make(made: Ledger) -> tuple[Document, Document]:
        evidence = ledgers.enveloped(made.folder, made.spare, ledgers.place(made.settings) | (at or {}), **how)
        return promoted(made, evidence=digest_json(evidence), actor=actor, reason=reason), evidence

    return make


FOREIGN = {"head": {"sequence": 5, "digest": "sha256:0"}}
BY_ENVELOPE: dict[str, tuple[Forgery, str]] = {
    f"envelope {name}": (at_end(promotion), f"entry 15 does not count: {says}")
    for name, promotion, says in (
        ("that is missing", enveloped(after={"signed": None}), "gate label-sources did not pass, and neither a person"),
        ("that nobody signed", enveloped(signed={"signature": ""}), UNSIGNED),
        ("over", enveloped(expires=OVER), f"{BY} expired on 2026-01-01"),
        ("by who asked", enveloped(by="cy"), "the envelope by cy@example.org is signed by who asked for the candidate"),
        ("by who wrote it", enveloped(after={"authors": [mail("ann")]}), f"{BY} is signed by who asked for the"),
        ("by an operator", enveloped(by="kim"), "the envelope by kim@example.org has no signature of an approver"),
        ("by a revoked key", enveloped(by="bo"), "the envelope by bo@example.org has no signature of an approver"),
        ("in another's name", enveloped(key="mallory"), UNSIGNED),
        ("of another model", enveloped(of="care"), UNSIGNED),
        ("changed after it was signed", enveloped(after={"terms": {**TERMS, "rows": 9000}}), UNSIGNED),
        ("with a later end", enveloped(signed={"expires": "2999-12-31"}), UNSIGNED),
        ("under another list", enveloped(at={"list": "sha256:0"}), f"{BY} was signed under another list"),
        ("on no ledger", enveloped(at={"head": None}), f"{BY} was signed on another ledger"),
        ("on a foreign ledger", enveloped(at=FOREIGN), f"{BY} was signed on another ledger"),
        ("that was left", enveloped(check={"state": "fail"}), OUTSIDE),
        ("without checks", enveloped(after={"checks": []}), OUTSIDE),
        ("that counts as none", enveloped(after={"problem": "it expired"}), OUTSIDE),
        ("for labels that fail", enveloped(gate={"state": "fail"}), OUTSIDE),
        ("for a person's run", enveloped("person"), OUTSIDE),
        ("for a run by the shared login", enveloped(actor="monitoring (shared login)"), OUTSIDE),
    )
}


def look_alikes(there: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """Envelopes that a reader might take otherwise than another one.

    Args:
        there: list and head that they are signed on.
    """
    head = there["head"]
    of_head: list[Any] = [{**head, "sequence": str(head["sequence"])}, {**head, "sequence": float(head["sequence"])}]
    for value in (*of_head, [head], 5):
        yield f"head {value}", {"at": {"head": value}}
    for name in ("who", "expires", "signature", "reason", "list"):
        for value in (5, [], None, True, {}):
            yield f"{name} {value}", {"signed": {name: value}}
    changes: dict[str, list[Any]] = {
        "checks": [None, [], "x", ["pass"], [{"state": ["pass"]}], [{"state": True}], {"state": "pass"}, [None]],
        "terms": [None, [], {"rows": 500}, {**TERMS, "rows": 500.0}],
        "authors": [[mail("ANN")], [f"{mail('ann')} (shared login)"], [5, mail("ann")]],
        "problem": [1, "p", [0], True],
    }
    for name, values in changes.items():
        for value in values:
            yield f"{name} {value}", {"after": {name: value}}
    for kind in ({"state": None}, {"state": ["insufficient_evidence"]}, {"mandatory": True}):
        yield f"gate {kind}", {"gate": kind}
