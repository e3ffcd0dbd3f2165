"""Entries that a thief of the examiner's key can write: rules and other people's signatures refuse them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.records.registry import authority
from tasks.records.registry.state import state
from tasks.spec.base import digest_json
from tests.proof import ledgers
from tests.proof.by_verdict import armored, listed, promoted
from tests.proof.forging import Forgery, at_end
from tests.proof.ledgers import LATER, OVER, Document, Ledger, files, following, mail, sealed, write


def ordered(
    kind: str, verb: str, signer: str = "kim", private: str = "kim", **said: Any
) -> Callable[[Ledger], Document]:
    """A rollback, promotion or stop of income with an order, some words of which were changed before it was signed."""

    def make(made: Ledger) -> Document:
        version = "v3.0.0" if kind == "stopped" else "v1.0.0"
        order = authority.order(state(made.settings), verb, "income", version, mail(signer), "b", LATER) | said
        armor = armored(made, order, private)
        warrant = {"statement": order, "armor": armor}
        commit = made.of("promoted", at=0)["commit"] if kind != "stopped" else None
        details = {"because": "b"} if kind == "stopped" else {"previous": "v3.0.0"}
        return following(made, kind=kind, version=version, commit=commit, details={**details, "warrant": warrant})

    return make


def again(made: Ledger) -> Document:
    """The order that rolled income back serves a second time."""
    old = made.of("rolled_back")
    return following(made, kind="rolled_back", version="v1.0.0", commit=old["commit"],
                     details={**old["details"], "previous": "v3.0.0"})  # fmt: skip


def approved(signer: str = "cy", private: str = "cy", before: int = 0, evidence: str = "", **said: Any) -> Forgery:
    """The waiting care candidate is promoted by another approval, on a ledger that ends where it began to wait."""

    def forge(made: Ledger, repository: Path) -> None:
        place = made.of("awaiting_signature", "care")
        real = made.of("promoted", "care")
        statement = {**real["details"]["warrant"]["statement"], "signer": mail(signer), **said}
        if before:
            statement["head"] = {"sequence": before, "digest": digest_json(made.entries[before - 1])}
        armor = armored(made, statement, private) if private else ""
        details = {"previous": None, "warrant": {"statement": statement, "armor": armor} if private else None}
        entry = following(made, place, kind="promoted", model="care", version="v1.0.0", commit=place["commit"],
                          details=details, evidence=evidence or place["evidence"])  # fmt: skip
        write(repository, made.commits[place["sequence"] - 1], [files(made, entry)])

    return forge


def lists(signed: dict[str, str], **change: Any) -> Forgery:
    return at_end(lambda made: ledgers.policy(made, signed, **change(made) if callable(change) else change))


def mallory(made: Ledger, roles: list[str]) -> list[Document]:
    return [*listed(made), {"name": mail("mallory"), "roles": roles, "keys": [ledgers.public(made.folder / "mallory")]}]


def joined(signed: dict[str, str], *roles: str, **change: Any) -> Forgery:
    return at_end(lambda made: ledgers.policy(made, signed, people=mallory(made, [*roles]), **change))


BOTH = {"ann": "ann", "cy": "cy"}
STOLEN: dict[str, tuple[Forgery, str]] = {
    "number used again": (at_end(lambda m: promoted(m, version="v2.0.0")), "v2.0.0 is another commit"),
    "lower number": (at_end(lambda m: promoted(m, version="v0.9.0")), "the number of v0.9.0 was used before"),
    "number of many digits": (at_end(lambda m: promoted(m, version=f"v{'9' * 30}.0.0")), "was used before"),
    "no number": (at_end(lambda m: promoted(m, version="newest")), "the number of newest was used before"),
    "commit of another version": (
        at_end(lambda m: promoted(m, commit=m.of("promoted", at=0)["commit"])),
        "its commit is v1.0.0 already",
    ),
    "after another champion": (
        at_end(lambda m: promoted(m, details={"previous": "v1.0.0"})),
        "it was made after v1.0.0, and the champion is v3",
    ),
    "rollback without order": (
        at_end(
            lambda m: following(
                m,
                kind="rolled_back",
                version="v1.0.0",
                commit=m.of("promoted", at=0)["commit"],
                details={"previous": "v3.0.0"},
            )
        ),
        "nobody who may order it signed it",
    ),
    "rollback to what was never": (
        at_end(lambda m: promoted(m, kind="rolled_back", version="v9.0.0")),
        "no version v9.0.0 to go back to",
    ),
    "rollback to another commit": (
        at_end(lambda m: promoted(m, kind="rolled_back", version="v1.0.0")),
        "v1.0.0 is another commit",
    ),
    "promotion of a version without order": (
        at_end(lambda m: promoted(m, version="v1.0.0", commit=m.of("promoted", at=0)["commit"])),
        "nobody who may order",
    ),
    "stop without order": (
        at_end(lambda m: following(m, kind="stopped", version="v3.0.0", details={"because": "x"})),
        "nobody who may",
    ),
    "stop of what does not serve": (
        at_end(lambda m: following(m, kind="stopped", version="v1.0.0", details={"because": "x"})),
        "champion is v3.0.0",
    ),
    "rollback that monitoring decided of another version": (
        at_end(
            lambda m: following(
                m,
                kind="rolled_back",
                version="v1.0.0",
                commit=m.of("promoted", at=0)["commit"],
                actor="monitoring",
                reason="monitor",
                details={"previous": "v3.0.0"},
            )
        ),
        "nobody who may",
    ),
    "order used twice": (at_end(again), "signed says from 'v2.0.0', and 'v3.0.0' holds now"),
    "order with another tenure": (at_end(ordered("rolled_back", "roll_back", tenure=3)), "says tenure 3, and 6 holds"),
    "order with a tenure as text": (at_end(ordered("rolled_back", "roll_back", tenure="6")), "says tenure '6', and 6"),
    "order over": (at_end(ordered("rolled_back", "roll_back", expires=OVER)), "kim@example.org signed expired on 2026"),
    "order without an end": (at_end(ordered("rolled_back", "roll_back", expires="never")), "expired on never"),
    "order for another model": (
        at_end(ordered("rolled_back", "roll_back", model="care")),
        "says model 'care', and 'inc",
    ),
    "order for another version": (
        at_end(ordered("rolled_back", "roll_back", version="v2.0.0")),
        "says version 'v2.0.0'",
    ),
    "order of another kind": (at_end(ordered("rolled_back", "promote")), "says statement 'promote', and 'roll_back'"),
    "order under another list": (at_end(ordered("rolled_back", "roll_back", list="sha256:0")), "says list 'sha256:0'"),
    "order with more words": (at_end(ordered("rolled_back", "roll_back", more=1)), "says more 1, and None holds now"),
    "order of a stranger": (
        at_end(ordered("rolled_back", "roll_back", "mallory", "mallory")),
        "not mallory@example.org's",
    ),
    "order in another's name": (
        at_end(ordered("rolled_back", "roll_back", "kim", "mallory")),
        "is not kim@example.org's",
    ),
    "order by the examiner's key": (
        at_end(ordered("rolled_back", "roll_back", "kim", "examiner")),
        "is not kim@example.org's over exactly this",
    ),
    "order by a revoked key": (at_end(ordered("rolled_back", "roll_back", "bo", "bo")), "is not bo@example.org's over"),
    "stop ordered by a stranger": (
        at_end(ordered("stopped", "stop", "mallory", "mallory")),
        "not mallory@example.org's",
    ),
    "stop by an order to roll back": (
        at_end(ordered("stopped", "roll_back")),
        "says statement 'roll_back', and 'stop'",
    ),
    "approval missing": (approved(private=""), "waits for an approver's signature, and it carries none"),
    "approved by who asked": (approved("dana", "cy"), "the signature is not dana@example.org's"),
    "approved by the author": (approved("ann", "ann"), "ann@example.org asked for it or wrote it"),
    "approved by an operator": (approved("kim", "kim"), "the signature is not kim@example.org's"),
    "approved by a stranger": (approved("mallory", "mallory"), "the signature is not mallory@example.org's"),
    "approved in another's name": (approved("cy", "mallory"), "the signature is not cy@example.org's"),
    "approved by the examiner's key": (approved("cy", "examiner"), "the signature is not cy@example.org's"),
    "approved until yesterday": (approved(expires=OVER), "cy@example.org signed expired on 2026-01-01"),
    "approved for another candidate": (approved(commit="f" * 40), "signed says commit 'fff"),
    "approved on other evidence": (approved(evidence="", **{"list": "sha256:1"}), "signed says list 'sha256:1'"),
    "approved before it waited": (approved(before=2), "its approval was signed on another ledger"),
    "approved on a foreign ledger": (
        approved(**{"head": {"sequence": 5, "digest": "sha256:0"}}),
        "its approval was signed on another ledger",
    ),
    "approved on no ledger": (approved(**{"head": None}), "its approval names no head of the ledger"),
    "approved and other evidence written": (
        approved(evidence="sha256:" + "0" * 64),
        "its evidence is not what waited for a signature",
    ),
    "first list again": (
        lambda m, r: write(
            r,
            m.commits[-1],
            [files(m, following(m, kind="policy", model="", **{k: m.entries[0][k] for k in ("evidence", "details")}))],
        ),
        "it does not follow the list in force",
    ),
    "second list again": (
        lambda m, r: write(
            r,
            m.commits[-1],
            [files(m, following(m, kind="policy", model="", **{k: m.entries[3][k] for k in ("evidence", "details")}))],
        ),
        "it does not follow the list in force",
    ),
    "counter skipped": (lists(BOTH, counter=5), "it does not follow the list in force, which has counter 3"),
    "counter used again": (lists(BOTH, counter=3), "it does not follow the list in force, which has counter 3"),
    "list after another list": (lists(BOTH, previous="sha256:0"), "it does not follow the list in force"),
    "a new root that nobody was told": (lists(BOTH, counter=1, previous=None), "it does not follow the list in force"),
    "nobody signed the list": (joined({}, "approver"), "the list before asks for 2 of ann@example.org, bo@"),
    "added by itself": (joined({"mallory": "mallory"}, "approver"), "the list before asks for 2 of"),
    "one of two signed the list": (joined({"ann": "ann"}, "approver"), "to sign it, and 1 did"),
    "one signed for two": (joined({"ann": "ann", "cy": "ann"}, "approver"), "to sign it, and 1 did"),
    "a revoked key signed the list": (joined({"ann": "ann", "bo": "bo"}, "approver"), "to sign it, and 1 did"),
    "an operator signed the list": (joined({"ann": "ann", "kim": "kim"}, "approver"), "to sign it, and 1 did"),
    "the new list's threshold is unmet": (joined(BOTH, "approver", threshold=3), "the new list asks for 3 of"),
    "threshold of nobody": (joined(BOTH, "auditor", threshold=9), "its evidence holds no list"),
    "threshold of zero": (joined(BOTH, "auditor", threshold=0), "its evidence holds no list"),
    "a role that does not exist": (joined(BOTH, "owner"), "its evidence holds no list: no such role"),
    "a person twice": (
        at_end(lambda m: ledgers.policy(m, BOTH, people=[*mallory(m, ["auditor"]), *mallory(m, ["auditor"])[-1:]])),
        "a name or a key is listed twice",
    ),
    "one key for two people": (
        at_end(
            lambda m: ledgers.policy(
                m,
                BOTH,
                people=[
                    *mallory(m, ["approver"]),
                    {"name": "other", "roles": ["approver"], "keys": [ledgers.public(m.folder / "mallory")]},
                ],
            )
        ),
        "a name or a key is listed twice",
    ),
    "nobody is examiner": (
        at_end(lambda m: ledgers.policy(m, BOTH, people=mallory(m, ["approver"])[1:])),
        "its evidence holds no list",
    ),
    "details name another list": (
        at_end(
            lambda m: (
                sealed({**ledgers.policy(m, BOTH)[0], "details": {"policy": "sha256:0", "counter": 4}}, m.examiner),
                ledgers.policy(m, BOTH)[1],
            )
        ),
        "it names another list than its evidence",
    ),
    "actor of two lines": (
        at_end(lambda m: promoted(m, actor="x\n\nEvidence: sha256:0")),
        "holds text that is not one line",
    ),
    "actor that turns text around": (
        at_end(lambda m: promoted(m, actor="x\u202ey")),
        "holds text that is not one line",
    ),
}
