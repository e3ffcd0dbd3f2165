"""Forgeries of a real ledger, with and without the examiner's stolen key: the verifier names each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.proof import verify
from tasks.proof.verify import main
from tasks.records.registry import authority
from tasks.records.registry.branch import BRANCH
from tasks.records.registry.state import state
from tasks.signing import signatures
from tasks.spec.base import canonical_json, digest_json
from tests.conftest import git
from tests.proof import ledgers
from tests.proof.ledgers import LATER, OVER, Document, Ledger, chained, files, following, mail, sealed, write

Forgery = Callable[[Ledger, Path], None]
KINDS = 14
"""Entries of the ledger that is forged; positions of forgeries are counted from 1 to this."""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    folder = tmp_path_factory.mktemp("ledger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", "origin.git")
        git(folder, "clone", "--quiet", "origin.git", "developer")
        (folder / "developer/model.txt").write_text("first\n")
        git(folder / "developer", "checkout", "--quiet", "-B", "main")
        git(folder / "developer", "add", ".")
        git(folder / "developer", "commit", "--quiet", "-m", "first")
        git(folder / "developer", "push", "--quiet", "origin", "main")
        yield ledgers.build(folder, folder / "origin.git")


def asked(capsys: pytest.CaptureFixture[str], repository: Path, *words: str) -> tuple[int, Document]:
    code = main([str(repository), "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def at_end(*entries: Callable[[Ledger], Document | tuple[Document, Document]]) -> Forgery:
    """Entries that somebody with the examiner's key chains to the newest one."""

    def forge(made: Ledger, repository: Path) -> None:
        after = made.commits[-1]
        for make in entries:
            found = make(made)
            entry, evidence = found if isinstance(found, tuple) else (found, None)
            write(repository, after, [files(made, entry, evidence)])

    return forge


def rewritten(change: Callable[[Ledger], list[Document]]) -> Forgery:
    """A whole branch of other entries, each with the evidence that it names."""
    return lambda made, repository: write(repository, None, [files(made, e) for e in change(made)])


def edited(entries: list[Document], at: int, **change: Any) -> list[Document]:
    return [{**e, **change} if n == at else e for n, e in enumerate(entries, 1)]


def swapped(entries: list[Document], at: int) -> list[Document]:
    return [*entries[: at - 1], entries[at], entries[at - 1], *entries[at + 1 :]]


def own() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(b"m" * 32)


BY_POSITION: dict[str, tuple[range, Callable[[int], Forgery], str]] = {
    "edited": (range(1, KINDS + 1), lambda at: rewritten(lambda m: edited(m.entries, at, actor="them")), "entry {at}"),
    "edited and chained anew": (
        range(2, KINDS + 1),
        lambda at: rewritten(lambda m: chained(edited(m.entries, at, actor="them"))),
        "entry {at} does not count: it is not signed by an examiner",
    ),
    "unsigned and chained anew": (
        range(2, KINDS + 1, 3),
        lambda at: rewritten(
            lambda m: chained(
                [{k: v for k, v in e.items() if k != "signature" or n != at} for n, e in enumerate(m.entries, 1)]
            )
        ),
        "entry {at} does not count: no examiner signed it",
    ),
    "deleted": (
        range(1, KINDS),
        lambda at: rewritten(lambda m: [*m.entries[: at - 1], *m.entries[at:]]),
        "entry {at} is missing",
    ),
    "deleted and chained anew": (
        range(2, KINDS),
        lambda at: rewritten(lambda m: chained([*m.entries[: at - 1], *m.entries[at:]])),
        "entry {at} does not count: it is not signed by an examiner",
    ),
    "swapped and chained anew": (
        range(2, KINDS),
        lambda at: rewritten(lambda m: chained(swapped(m.entries, at))),
        "entry {at} does not count",
    ),
    "tail cut off, tags left": (
        range(2, KINDS),
        lambda at: lambda m, r: write(r, m.commits[at - 1], []),
        "does not hold {anchor}",
    ),
    "edited by a later commit": (
        range(1, KINDS + 1, 2),
        lambda at: lambda m, r: write(r, m.commits[-1], [files(m, {**m.entries[at - 1], "actor": "them"})]),
        "changes or removes entries/{at:06d}.json",
    ),
    "deleted by a later commit": (
        range(1, KINDS + 1, 4),
        lambda at: lambda m, r: write(r, m.commits[-1], [{f"entries/{at:06d}.json": None}]),
        "changes or removes entries/{at:06d}.json",
    ),
    "signed by a stranger": (
        range(2, KINDS + 1, 4),
        lambda at: rewritten(
            lambda m: chained([sealed(e, own()) if n == at else e for n, e in enumerate(m.entries, 1)])
        ),
        "entry {at} does not count: it is not signed by an examiner",
    ),
    "signature of another entry": (
        range(3, KINDS + 1, 4),
        lambda at: rewritten(lambda m: chained(edited(m.entries, at, signature=m.entries[0]["signature"]))),
        "entry {at} does not count: it is not signed by an examiner",
    ),
    "signed in another namespace": (
        range(2, KINDS + 1, 5),
        lambda at: rewritten(
            lambda m: chained([sealed(e, m.examiner, "assay") if n == at else e for n, e in enumerate(m.entries, 1)])
        ),
        "entry {at} does not count: it is not signed by an examiner",
    ),
}


def promoted(made: Ledger, **change: Any) -> Document:
    """A promotion of the spare commit as the next version, on no verdict."""
    details = {"previous": "v3.0.0", "warrant": None} | change.pop("details", {})
    entry = {"kind": "promoted", "version": "v4.0.0", "commit": made.spare, "details": details}
    return following(made, **{**entry, **change})


def waived(**how: str) -> Callable[[Ledger], tuple[Document, Document]]:
    def make(made: Ledger) -> tuple[Document, Document]:
        evidence = ledgers.verdict(made.folder, "income", made.spare, "v3.0.0", how.pop("version", "v4.0.0"), **how)
        return promoted(made, evidence=digest_json(evidence), actor="cy@example.org"), evidence

    return make


def armored(made: Ledger, statement: Document, private: str) -> str:
    if private == "examiner":
        return signatures.sign_as_examiner(statement, made.examiner, "assay")
    return signatures.sign(statement, made.folder / private)


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
    people = json.loads(made.evidence[made.of("policy", "")["evidence"]])["policy"]["people"]
    return [*people, {"name": mail("mallory"), "roles": roles, "keys": [ledgers.public(made.folder / "mallory")]}]


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
    "waiver of another version": (at_end(waived(by="ann", version="v3.0.0")), "is for auc-floor of v3.0.0"),
    "waiver over": (
        at_end(waived(by="ann", expires=OVER)),
        "the waiver of auc-floor by ann@example.org expired on 2026",
    ),
    "waiver by who asked": (at_end(waived(by="cy")), "is signed by who asked for the candidate or wrote it"),
    "waiver by an operator": (at_end(waived(by="kim")), "has no signature of an approver of that name"),
    "waiver by a revoked key": (at_end(waived(by="bo")), "has no signature of an approver of that name"),
    "waiver in another's name": (
        at_end(waived(by="ann", key="mallory")),
        "has no signature of an approver of that name",
    ),
    "waiver of another model": (at_end(waived(by="ann", of="care")), "has no signature of an approver of that name"),
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


def tag(name: str, source: str, to: str = "") -> Forgery:
    """A tag with the message of another one, of the commit of that one or of another."""

    def forge(made: Ledger, repository: Path) -> None:
        message = git(repository, "for-each-ref", "--format=%(contents)", f"refs/tags/{source}")
        commit = made.spare if to == "spare" else f"{to or source}^{{commit}}"
        git(repository, "tag", "--force", "-a", "-m", message, name, commit)

    return forge


def git_does(*commands: tuple[str, ...]) -> Forgery:
    def forge(made: Ledger, repository: Path) -> None:
        words = {"tip": made.commits[-1], "before": made.commits[-2], "spare": made.spare, "first": made.commits[0]}
        for command in commands:
            git(repository, *(word.format(**words) for word in command))

    return forge


def both(*forgeries: Forgery) -> Forgery:
    def forge(made: Ledger, repository: Path) -> None:
        for one in forgeries:
            one(made, repository)

    return forge


def adds(path: str, content: bytes | tuple[str, bytes] | None) -> Forgery:
    return lambda made, repository: write(repository, made.commits[-1], [{path: content}])


def newest(change: Callable[[bytes], bytes | tuple[str, bytes]]) -> Forgery:
    """The newest entry's file with other bytes, in place of the newest commit."""

    def forge(made: Ledger, repository: Path) -> None:
        path = f"entries/{KINDS:06d}.json"
        what = {**files(made, made.entries[-1]), path: change(canonical_json(made.entries[-1]))}
        write(repository, made.commits[-2], [what])

    return forge


def merged(parents: int) -> Forgery:
    def forge(made: Ledger, repository: Path) -> None:
        tree, more = f"{made.commits[-1]}^{{tree}}", [p for c in made.commits[:parents] for p in ("-p", c)]
        made_by = git(repository, "commit-tree", tree, "-p", made.commits[-1], *more, "-m", "merge")
        git(repository, "update-ref", f"refs/heads/{BRANCH}", made_by)

    return forge


def graph(made: Ledger, repository: Path) -> None:
    """Replace references show another newest entry to everybody who reads with git alone."""
    write(repository, made.commits[-2], [files(made, {**made.entries[-1], "actor": "them"})])
    git(repository, "update-ref", f"refs/replace/{made.commits[-1]}", f"refs/heads/{BRANCH}")
    git(repository, "update-ref", f"refs/heads/{BRANCH}", made.commits[-1])


def others_evidence(made: Ledger, repository: Path) -> None:
    name = str(made.of("promoted")["evidence"])
    evidence = {**made.evidence, name: made.evidence[name].replace(b"true", b"null")}
    altered = Ledger(**{**vars(made), "evidence": evidence})
    write(repository, made.commits[-2], [files(altered, made.entries[-1])])


def cut_with_tags(at: int) -> Forgery:
    def forge(made: Ledger, repository: Path) -> None:
        write(repository, made.commits[at - 1], [])
        for entry in made.entries[at:]:
            for name in git(repository, "tag", "--points-at", entry["commit"] or "HEAD").split():
                if f"Entry: {digest_json(entry)}" in git(
                    repository, "for-each-ref", "--format=%(contents)", f"refs/tags/{name}"
                ):
                    git(repository, "tag", "--delete", name)

    return forge


def redated(made: Ledger, repository: Path) -> None:
    moments = [1_600_000_000 + 60 * n for n in range(KINDS)]
    write(repository, None, [files(made, e) for e in made.entries], moments)


def resigned(made: Ledger) -> list[Document]:
    """Everything from the first list on is chained and signed by somebody else's key."""
    first = json.loads(made.evidence[made.entries[0]["evidence"]])
    first["policy"]["people"][0]["keys"] = [signatures.public_line(own())]
    made.evidence[digest_json(first)] = canonical_json(first)
    details = {"policy": digest_json(first["policy"]), "counter": 1}
    return chained([{**made.entries[0], "evidence": digest_json(first), "details": details}, *made.entries[1:3]], own())


DEEP = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
BY_GIT: dict[str, tuple[Forgery, str]] = {
    "tag on a rejected candidate": (tag("income@v4.0.0", "income@v3.0.0", "spare"), "income@v4.0.0 names an entry for"),
    "champion tag on a rejected candidate": (
        tag("income#champion#9", "income@v3.0.0", "spare"),
        "#champion#9 names an",
    ),
    "champion tag repeated": (tag("income#champion#9", "income#champion#6"), "income#champion#9 repeats another tag"),
    "version tag moved": (tag("income@v3.0.0", "income@v3.0.0", "spare"), "tag income@v3.0.0 of entry 14 is missing"),
    "version tag of another version": (
        tag("income@v2.0.0", "income@v3.0.0"),
        "tag income@v2.0.0 of entry 7 is missing",
    ),
    "two champion tags swapped": (
        both(
            tag("x", "income#champion#5"), tag("income#champion#5", "income#champion#6"), tag("income#champion#6", "x")
        ),
        "stands before tags of earlier entries",
    ),
    "tag without a message": (
        git_does(("tag", "--force", "income@v3.0.0", "{spare}")),
        "income@v3.0.0 names no evidence",
    ),
    "light tag on the right commit": (
        git_does(("tag", "--force", "income@v3.0.0", "income@v3.0.0^{{commit}}")),
        "income@v3.0.0 of entry 14 is missing",
    ),
    "tag under another name": (
        git_does(("update-ref", "refs/tags/income@v7.0.0", "refs/tags/income@v3.0.0")),
        "tag income@v7.0.0 names no",
    ),
    "tag of a blob": (git_does(("tag", "income@v7.0.0", "{tip}:entries/000001.json")), "tag income@v7.0.0 names no"),
    "trailers planted in a tag": (
        lambda m, r: (
            git(
                r,
                "tag",
                "-f",
                "-a",
                "-m",
                "x\n\nEvidence: sha256:0\nEntry: sha256:0\nKind: promoted",
                "income@v3.0.0",
                "income@v3.0.0^{commit}",
            )
            and None
        ),
        "tag income@v3.0.0 of entry 14 is missing",
    ),
    **{
        f"tag {name} deleted": (git_does(("tag", "--delete", name)), f"tag {name} of entry")
        for name in ("income@v1.0.0", "income@v2.0.0", "care@v1.0.0", "income#champion#1", "income#champion#6")
    },
    "all tags deleted": (
        lambda m, r: git(r, "tag", "--delete", *git(r, "tag").split()) and None,
        "#champion#1 of entry 3",
    ),
    "branch deleted": (git_does(("update-ref", "-d", f"refs/heads/{BRANCH}")), "there is no ledger"),
    "branch moved to main": (git_does(("update-ref", f"refs/heads/{BRANCH}", "main")), "does not hold {anchor}"),
    "another ledger with its own first list": (rewritten(resigned), "and {root} was named: nothing is proven"),
    "all commits with other dates": (redated, "hours off its entry"),
    **{
        f"tail from entry {at + 1} on cut off with its tags": (cut_with_tags(at), "does not hold {anchor}")
        for at in (3, 6, 8, 10, 13)
    },
    "evidence of another content": (others_evidence, "was changed: its content has digest"),
    "evidence deleted": (
        lambda m, r: write(r, m.commits[-1], [{f"evidence/{m.entries[-1]['evidence'][7:]}.json": None}]),
        "holds no evidence",
    ),
    "evidence left out": (
        lambda m, r: write(r, m.commits[-2], [{f"entries/{KINDS:06d}.json": canonical_json(m.entries[-1])}]),
        "entry 14: the ledger holds no evidence",
    ),
    "evidence that nobody names": (
        lambda m, r: write(
            r, m.commits[-1], [{**files(m, following(m, kind="examined")), f"evidence/{'0' * 64}.json": b"{}"}]
        ),
        "adds evidence that its entry 15 does not name",
    ),
    "blanks in an entry": (newest(lambda c: c.replace(b'":', b'": ')), "cannot be read as an entry: it is no document"),
    "keys in another order": (
        newest(lambda c: json.dumps(dict(reversed(json.loads(c).items()))).encode()),
        "in canonical",
    ),
    "a key twice": (newest(lambda c: b'{"actor":"them",' + c[1:]), "in canonical JSON"),
    "a line break at the end": (newest(lambda c: c + b"\n"), "in canonical JSON"),
    "escapes for letters": (newest(lambda c: c.replace(b'"dana"', b'"d\\u0061na"')), "in canonical JSON"),
    "bytes of UTF-16": (newest(lambda c: c.decode().encode("utf-16")), "cannot be read as an entry"),
    "no JSON": (newest(lambda c: c[:-1]), "cannot be read as an entry"),
    "NaN": (newest(lambda c: c.replace(b'"details":{', b'"details":{"a":NaN,')), "cannot be read as an entry"),
    "a number of 5,000 digits": (
        newest(lambda c: c.replace(b":14,", b":" + b"9" * 5000 + b",")),
        "cannot be read as an",
    ),
    "a number with a point": (newest(lambda c: c.replace(b":14,", b":14.0,")), "it has other keys"),
    "20,000 levels": (newest(lambda c: DEEP), "cannot be read as an entry"),
    "40 MB": (newest(lambda c: b"0" * 40_000_000), "cannot be read as an entry"),
    "a key more": (newest(lambda c: c.replace(b'"actor"', b'"Actor":1,"actor"')), "it has other keys"),
    "a kind that does not exist": (newest(lambda c: c.replace(b'"promoted"', b'"crowned"')), "it has other keys"),
    "a symbolic link": (newest(lambda c: ("120000", b"/etc/passwd")), "adds 1 entries and entries/000014.json"),
    "a file that can be run": (newest(lambda c: ("100755", c)), "adds 1 entries and entries/000014.json"),
    "another mode later": (
        lambda m, r: write(r, m.commits[-1], [{"entries/000014.json": ("100755", canonical_json(m.entries[-1]))}]),
        "changes or removes entries/000014.json",
    ),
    "a file of another name": (adds("entries/notes.txt", b"x"), "adds 1 entries and entries/notes.txt"),
    "a file beside": (adds("README.md", b"x"), "adds 0 entries and README.md"),
    "a file below": (adds("entries/1/000015.json", b"{}"), "adds 1 entries and entries/1/000015.json"),
    "an entry under another number": (
        lambda m, r: write(r, m.commits[-1], [{"entries/000099.json": canonical_json(m.entries[-1])}]),
        "its number is not that of its file",
    ),
    "a commit without an entry": (
        lambda m, r: write(r, m.commits[-1], [{}]),
        "adds 0 entries, and a commit of the ledger adds one entry",
    ),
    "two entries in a commit": (
        lambda m, r: write(r, m.commits[-3], [{**files(m, m.entries[-2]), **files(m, m.entries[-1])}]),
        "adds 2 entries",
    ),
    "entries in another order": (
        lambda m, r: write(r, m.commits[-3], [files(m, m.entries[-1]), files(m, m.entries[-2])]),
        "in the place of entry 13",
    ),
    "a merge": (merged(1), "adds 0 entries by a merge"),
    "an octopus": (merged(3), "adds 0 entries by a merge"),
    "replace references": (graph, "shows others another object than"),
}


def cases() -> Iterator[tuple[str, Forgery, str]]:
    for kind, (positions, forge, says) in BY_POSITION.items():
        for at in positions:
            yield f"{kind}: {at}", forge(at), says.replace("{at:06d}", f"{at:06d}").replace("{at}", str(at))
    for name, (forgery, says) in {**STOLEN, **BY_GIT}.items():
        yield name, forgery, says


CASES = list(cases())


def test_each_forgery_is_named(honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--root", honest.root, "--anchor", honest.commits[-1])
    assert len(honest.entries) == KINDS and asked(capsys, honest.origin, *words)[1]["problems"] == []
    missed: list[str] = []
    anchored = 0
    for number, (name, forge, says) in enumerate(CASES):
        repository = ledgers.copy(honest, tmp_path / f"{number}.git")
        forge(Ledger(**{**vars(honest), "evidence": dict(honest.evidence)}), repository)
        code, found = asked(capsys, repository, *words)
        says = says.replace("{anchor}", honest.commits[-1]).replace("{root}", honest.root)
        if code != 3 or not any(says in problem for problem in found["problems"]):
            missed.append(f"{name}: {says!r} is not in {found['problems']}")
        anchored += all(honest.commits[-1] in problem for problem in found["problems"])
    assert missed == []
    assert anchored <= 6  # seen by the anchor alone: tails that were cut off with their tags, and main as the ledger
    print(f"{len(CASES)} forgeries named, {anchored} of them by the anchor alone")


def test_there_are_at_least_a_hundred() -> None:
    assert len({name for name, _, _ in CASES}) == len(CASES) >= 100


def test_no_honest_history_is_accused(honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ledgers as they were after each entry, any anchor of the past, clones of all kinds, and others' tags."""
    for at in range(2, KINDS):
        repository = ledgers.copy(honest, tmp_path / f"after-{at}.git")
        cut_with_tags(at)(honest, repository)
        anchor = honest.commits[at - 1] if at % 2 else digest_json(honest.entries[at - 1])
        code, found = asked(capsys, repository, "--root", honest.root, "--anchor", anchor)
        assert (code, found["problems"], found["entries"], found["head"]) == (
            0, [], at, digest_json(honest.entries[at - 1]),
        )  # fmt: skip
    for at in range(KINDS):
        assert asked(capsys, honest.origin, "--root", honest.root, "--anchor", honest.commits[at])[0] == 0
    git(tmp_path, "clone", "--quiet", "--mirror", f"file://{honest.origin}", "mirror.git")
    git(tmp_path / "mirror.git", "gc", "--quiet", "--aggressive", "--prune=now")
    git(tmp_path, "clone", "--quiet", "--shared", str(honest.origin), "work")
    ledgers.copy(honest, tmp_path / "tagged.git")
    odd = ("income@v2.0.0!", "income#champion#5!", "income!", "income@v2.0.0#7!", "release-1", "v1")
    for name in odd:
        git(tmp_path / "tagged.git", "tag", name, "main")
    for name, notices in (("mirror.git", 0), ("work", 0), ("tagged.git", 3)):
        code, found = asked(capsys, tmp_path / name, "--root", honest.root, "--anchor", honest.commits[-1])
        assert (code, found["problems"], len(found["notices"])) == (0, [], notices)
        assert found["champions"] == {"care": "v1.0.0", "income": "v3.0.0"} and found["not_excluded"] == []


def test_what_was_not_told_is_said(honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(honest.origin)]) == 0
    said = capsys.readouterr().out
    assert "self-consistent only" in said and "cut off together with their tags" in said
    assert f"first list (root): {honest.root}" in said and said.endswith("it is self-consistent only\n")
    assert main([str(honest.origin), "--root", honest.root, "--anchor", honest.commits[3]]) == 0
    assert capsys.readouterr().out.endswith("champions: care v1.0.0, income v3.0.0\nit holds\n")
    code, found = asked(capsys, honest.origin, "--root", f"sha256:{'0' * 64}")
    assert code == 3 and found["problems"] == [
        f"the first list is {honest.root}, and sha256:{'0' * 64} was named: nothing is proven"
    ]
    for words in ((str(tmp_path),), (str(honest.origin), "--root", "abc"), (str(honest.origin), "--anchor", "HEAD")):
        assert main([*words]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_it_stands_alone_and_runs_nothing_of_the_repository(honest: Ledger, tmp_path: Path) -> None:
    """The file alone, in another folder, without site packages, on a repository whose settings name programs."""
    repository = ledgers.copy(honest, tmp_path / "hostile.git")
    (repository / "hooks").mkdir()
    harm = tmp_path / "harm"
    program = repository / "hooks/program"
    program.write_text(f"#!/bin/sh\ntouch {harm}\n")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "gpg.program", "diff.external", "core.sshCommand", "core.askPass"):
        git(repository, "config", name, str(program))
    for name, value in {
        "extensions.partialClone": "origin", "core.repositoryFormatVersion": "1", "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{program}", "protocol.ext.allow": "always", "log.showSignature": "true",
    }.items():  # fmt: skip
        git(repository, "config", name, value)
    git(repository, "update-ref", "refs/tags/income@v9.0.0", honest.commits[0])
    packed = (repository / "packed-refs").read_text()
    (repository / "packed-refs").write_text(f"{packed}{'1' * 40} refs/tags/income@v8.0.0\n")  # nobody has that object
    shutil.copy(verify.__file__, tmp_path / "alone.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "alone.py", "hostile.git", "--root", honest.root, "--anchor", honest.commits[-1]],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:2]] == [
        "tag income@v8.0.0 names no evidence", "tag income@v9.0.0 names no evidence",
    ]  # fmt: skip
    assert not harm.exists()
