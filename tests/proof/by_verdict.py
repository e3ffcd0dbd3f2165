"""Promotions that a thief of the examiner's key can write: on verdicts that let nobody in, and on waivers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.signing import signatures
from tasks.spec.base import digest_json
from tests.proof import ledgers
from tests.proof.forging import Forgery, at_end
from tests.proof.ledgers import LATER, OVER, Document, Ledger, files, following, mail, write

UNBOUND = "{by}@example.org names no list and no head, as none does since 2026-11-29"


def promoted(made: Ledger, last: Document | None = None, **change: Any) -> Document:
    """A promotion of the spare commit as the next version, on no verdict."""
    details = {"previous": "v3.0.0", "warrant": None} | change.pop("details", {})
    entry = {"kind": "promoted", "version": "v4.0.0", "commit": made.spare, "details": details}
    return following(made, last, **{**entry, **change})


def judged(**change: Any) -> Callable[[Ledger], tuple[Document, Document]]:
    """A promotion on a verdict that was changed."""

    def make(made: Ledger) -> tuple[Document, Document]:
        evidence = ledgers.verdict(made.folder, "income", made.spare, "v3.0.0", "v4.0.0")
        evidence["verdict"] |= change
        return promoted(made, evidence=digest_json(evidence)), evidence

    return make


def waived(at: Document | None = None, **how: str) -> Callable[[Ledger], tuple[Document, Document]]:
    """A promotion on a waiver.

    Args:
        at: changes of the list and the head that it was signed on; None for a waiver of before 2026-11-29.
    """

    def make(made: Ledger) -> tuple[Document, Document]:
        version, place = how.get("version", "v4.0.0"), None if at is None else ledgers.place(made.settings) | at
        signed = {name: value for name, value in how.items() if name != "version"}
        evidence = ledgers.verdict(made.folder, "income", made.spare, "v3.0.0", version, place, **signed)
        return promoted(made, evidence=digest_json(evidence), actor="cy@example.org"), evidence

    return make


def backdated(
    by: str, created: Callable[[Ledger], str], expires: str = LATER, **change: str
) -> Callable[[Ledger], tuple[Document, Document]]:
    """A promotion on a waiver of before 2026-11-29, by a verdict that says it is as old."""

    def make(made: Ledger) -> tuple[Document, Document]:
        evidence = ledgers.verdict(made.folder, "income", made.spare, "v3.0.0", "v4.0.0", None, by=by, expires=expires)
        evidence["verdict"]["created"] = created(made)
        return promoted(made, evidence=digest_json(evidence), **change), evidence

    return make


def moved(made: Ledger) -> tuple[Document, Document]:
    """A waiver of before 2026-11-29 to which a thief adds list and head."""
    evidence = ledgers.verdict(made.folder, "income", made.spare, "v3.0.0", "v4.0.0", None, by="ann")
    evidence["verdict"]["gates"][0]["waiver"] |= ledgers.place(made.settings)
    return promoted(made, evidence=digest_json(evidence)), evidence


def outlived(made: Ledger, repository: Path) -> None:
    """A candidate waits on a waiver whose key is taken off before somebody approves it."""
    evidence = ledgers.verdict(
        made.folder, "care", made.spare, "v1.0.0", "v2.0.0", ledgers.place(made.settings), by="cy"
    )
    waits = following(made, kind="awaiting_signature", model="care", commit=made.spare, evidence=digest_json(evidence),
                      details={"author": mail("eve")})  # fmt: skip
    people = [{**p, "keys": [ledgers.public(made.folder / "mallory")]} if p["name"] == mail("cy") else p
              for p in listed(made)]  # fmt: skip
    taken, lists = ledgers.policy(made, {"ann": "ann", "bo": "bo-new"}, waits, people=people)
    said = {"statement": "approve", "model": "care", "commit": made.spare, "evidence": digest_json(evidence),
            "list": taken["details"]["policy"], "head": {"sequence": taken["sequence"], "digest": digest_json(taken)},
            "expires": LATER, "signer": mail("ann"), "because": "b"}  # fmt: skip
    warrant = {"statement": said, "armor": armored(made, said, "ann")}
    entry = promoted(made, taken, model="care", version="v2.0.0", evidence=digest_json(evidence),
                     details={"previous": "v1.0.0", "warrant": warrant})  # fmt: skip
    commits = [files(made, waits, evidence), files(made, taken, lists), files(made, entry, evidence)]
    write(repository, made.commits[-1], commits)


def armored(made: Ledger, statement: Document, private: str) -> str:
    if private == "examiner":
        return signatures.sign_as_examiner(statement, made.examiner, "assay")
    return signatures.sign(statement, made.folder / private)


def listed(made: Ledger) -> list[Document]:
    people: list[Document] = json.loads(made.evidence[made.of("policy", "")["evidence"]])["policy"]["people"]
    return people


BY_VERDICT: dict[str, tuple[Forgery, str]] = {
    "promotion on no verdict": (at_end(promoted), "its evidence holds no verdict that passed this candidate"),
    "verdict that did not pass": (
        at_end(judged(passed=False)),
        "entry 15 does not count: its evidence holds no verdict",
    ),
    "verdict of another model": (
        at_end(judged(model="care")),
        "entry 15 does not count: its evidence holds no verdict",
    ),
    "verdict of another commit": (
        at_end(judged(commit="f" * 40)),
        "entry 15 does not count: its evidence holds no verd",
    ),
    "verdict that is a sentence": (
        at_end(lambda m: (promoted(m, evidence=digest_json({"verdict": "fit"})), {"verdict": "fit"})),
        "entry 15 does not count: its evidence holds no verdict",
    ),
    "gate that nobody waived": (
        at_end(judged(gates=[{"gate": "auc-floor", "mandatory": True, "state": "fail", "waiver": None}])),
        "gate auc-floor did not pass, and nobody waived it",
    ),
    **{
        f"{when}waiver {name}": (
            at_end(waived(at, **how)),
            f"entry 15 does not count: the waiver of auc-floor by {says if at is not None else UNBOUND.format(**how)}",
        )
        for when, at in (("old ", None), ("", {}))
        for name, how, says in (
            ("of another version", {"by": "ann", "version": "v3.0.0"}, "ann@example.org is for auc-floor of v3.0.0"),
            ("over", {"by": "ann", "expires": OVER}, "ann@example.org expired on 2026"),
            ("by who asked", {"by": "cy"}, "cy@example.org is signed by who asked for the candidate or wrote it"),
            ("by an operator", {"by": "kim"}, "kim@example.org has no signature of an approver of that name"),
            ("by a revoked key", {"by": "bo"}, "bo@example.org has no signature of an approver of that name"),
            ("by a stranger", {"by": "mallory"}, "mallory@example.org has no signature of an approver of that name"),
            ("in another's name", {"by": "ann", "key": "mallory"}, "ann@example.org has no signature of an approver"),
            (
                "of another model",
                {"by": "ann", "of": "care"},
                "ann@example.org has no signature of an approver of that",
            ),
        )
    },
    **{
        f"waiver {name}": (at_end(waiver), f"entry 15 does not count: the waiver of auc-floor by {says}")
        for name, waiver, says in (
            (
                "under the list before",
                lambda m: waived({"list": m.entries[3]["details"]["policy"]}, by="bo")(m),
                "bo@example.org was signed under another list than the one in force",
            ),
            ("under no list", waived({"list": None}, by="ann"), "ann@example.org was signed under another list"),
            (
                "on a foreign ledger",
                waived({"head": {"sequence": 5, "digest": "sha256:0"}}, by="ann"),
                "ann@example.org was signed on another ledger",
            ),
            ("on no ledger", waived({"head": None}, by="ann"), "ann@example.org was signed on another ledger"),
            (
                "on what is still to come",
                waived({"head": {"sequence": 15, "digest": "sha256:0"}}, by="ann"),
                "ann@example.org was signed on another ledger",
            ),
            (
                "on entry 0",
                waived({"head": {"sequence": 0, "digest": "sha256:0"}}, by="ann"),
                "ann@example.org was signed on another ledger",
            ),
            (
                "on the digest of another entry",
                lambda m: waived({"head": {"sequence": 6, "digest": digest_json(m.entries[4])}}, by="ann")(m),
                "ann@example.org was signed on another ledger",
            ),
        )
    },
    "old waiver by a revoked key in a backdated verdict": (
        at_end(backdated("bo", lambda m: m.of("policy", "")["time"][:10] + "T00:00:00.000+00:00")),
        "entry 15 does not count: the waiver of auc-floor by bo@example.org names no list and no head, as none does",
    ),
    "old waiver that expired unused in a backdated verdict": (
        at_end(backdated("ann", lambda m: "2026-05-20T00:00:00.000+00:00", expires="2026-06-01")),
        "entry 15 does not count: the waiver of auc-floor by ann@example.org names no list and no head",
    ),
    "old waiver in a backdated entry": (
        at_end(backdated("ann", lambda m: "2026-05-20T00:00:00.000+00:00", time="2026-05-20T00:00:00.000+00:00")),
        "entry 15 does not count: the waiver of auc-floor by ann@example.org names no list and no head",
    ),
    "waiver moved to another ledger after it was signed": (
        at_end(moved),
        "the waiver of auc-floor by ann@example.org has no signature of an approver of that name",
    ),
    "waiver by a key that was taken off before the approval": (
        outlived,
        "entry 17 does not count: the waiver of auc-floor by cy@example.org has no signature of an approver",
    ),
}
