"""A real ledger for the verifier's tests, made by the registry itself, and the plumbing that forges copies of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.records.registry import authority, ledger, policies
from tasks.records.registry.branch import BRANCH
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.signing import signatures
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.evidence import GateResult, Verdict
from tasks.spec.ledger import AwaitingDetails, EntryDraft, TrainedDetails, Warrant, WindowDetails
from tasks.spec.settings import Settings
from tasks.spec.waivers import Waiver, envelope_statement
from tests.candidates import commit_run
from tests.conftest import git
from tests.keys import key, public

LATER, OVER = "2999-01-01", "2026-01-01"
PEOPLE = {"ann": ["approver"], "bo": ["approver"], "cy": ["approver"], "kim": ["operator"]}
Document = dict[str, Any]


@dataclass
class Ledger:
    """What an attacker may know: the origin, and everybody's keys where a test lends them."""

    settings: Settings
    folder: Path
    entries: list[Document]
    evidence: dict[str, bytes]
    """Content by digest."""
    commits: list[str]
    root: str
    spare: str
    """A commit of the origin that is no version."""
    old: bool = False
    """Whether its commits are of the form that held all entries in each."""

    @property
    def origin(self) -> Path:
        return Path(self.settings.origin)

    @property
    def examiner(self) -> Ed25519PrivateKey:
        return signatures.examiner_key(self.settings.examiner)

    def of(self, kind: str, model: str = "income", at: int = -1) -> Document:
        return [e for e in self.entries if e["kind"] == kind and e["model"] == model][at]


def mail(name: str) -> str:
    return f"{name}@example.org"


def candidate(settings: Settings, model: str, text: str) -> str:
    with workspace.worktree(settings, "main") as tree:
        (tree / "model.txt").write_text(f"{model} {text}")
        return commit_run(settings, tree, f"{model} {text}", f"assay/candidates/{model}/{text}")


def verdict(
    folder: Path, model: str, commit: str, champion: str | None, version: str, at: Document | None = None, **waived: str
) -> Document:
    """A verdict that passed; with ``by`` and perhaps ``expires``, by a signed waiver.

    Args:
        at: list and head that the waiver is signed on; one of before 2026-11-29 without them.
    """
    waiver = None
    if waived:
        bare = Waiver.model_validate({
            "gate": "auc-floor", "version": version, "reason": "the data of May were late", "who": mail(waived["by"]),
            "expires": waived.get("expires", LATER), **(at or {}),
        })  # fmt: skip
        armor = signatures.sign(bare.statement(waived.get("of", model)), folder / waived.get("key", waived["by"]))
        waiver = bare.model_copy(update={"signature": armor})
    gate = GateResult(
        gate="auc-floor", kind="floor", mandatory=True, state="fail" if waived else "pass", reason="r", waiver=waiver
    )
    found = Verdict(
        model=model, commit=commit, champion=champion, model_digest="sha256:b", passed=True, gates=(gate,),
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )  # fmt: skip
    return {"verdict": found.model_dump(mode="json")}


TERMS: Document = {"sources": ["tax office"], "rows": 500}


def enveloped(folder: Path, commit: str, at: Document, **how: Any) -> Document:
    """A verdict on a retraining of ``income`` after v3.0.0 that one source alone taught, inside a signed envelope.

    Args:
        at: list and head that the envelope is signed on.
        how: who signed (``by``), with which key, of which model, for how long; and what is changed afterwards.
    """
    by = how.get("by", "ann")
    signed = {"who": mail(by), "reason": "the yearly update of May", "expires": how.get("expires", LATER), **at}
    signed["envelope"] = digest_json(TERMS)
    said = envelope_statement(signed, how.get("of", "income"), TERMS)
    signed["signature"] = signatures.sign(said, folder / how.get("key", by))
    check = {"name": "rows", "allowed": "allowed are 500", "found": "it adds 60 rows", "state": "pass"}
    found = verdict(folder, "income", commit, "v3.0.0", "v4.0.0")
    found["verdict"]["gates"].append({
        "gate": "label-sources", "kind": "sources", "mandatory": False, "reason": "one source alone",
        "state": "insufficient_evidence", **how.get("gate", {}),
    })  # fmt: skip
    found["verdict"]["envelope"] = {
        "terms": TERMS, "signed": signed | how.get("signed", {}), "problem": "", "authors": [mail("eve")],
        "checks": [check | how.get("check", {})], **how.get("after", {}),
    }  # fmt: skip
    return found


def place(settings: Settings) -> Document:
    """The list in force and the newest entry, which a waiver is signed on."""
    now = state(settings)
    return {"list": now.policy_digest, "head": {"sequence": now.sequence, "digest": now.digest}}


def build(folder: Path, origin: Path) -> Ledger:
    """Two models, three lists, an approval, two waivers, orders, rollbacks by monitoring and by order, and a stop."""
    for name in (*PEOPLE, "bo-new", "mallory"):
        key(folder, name)
    settings = Settings(home=folder / "home", origin=str(origin))
    registry = Registry(settings)

    def order(verb: str, model: str, version: str) -> Warrant:
        said = authority.order(state(settings), verb, model, version, mail("kim"), "it drifts", LATER)
        return Warrant(statement=said, armor=signatures.sign(said, folder / "kim"))

    def promote(model: str, text: str, champion: str | None, **waived: str) -> str:
        commit = candidate(settings, model, text)
        version = registry.next_version(model)
        evidence = verdict(folder, model, commit, champion, version, place(settings) if waived else None, **waived)
        return registry.promote(model, commit, evidence, "dana", "push", champion).tag

    trained = TrainedDetails(base="a" * 40, branch="assay/candidates/income/one")
    ledger.append(settings, EntryDraft(kind="trained", model="income", actor="dana", reason="push", sentence="trained",
                                       evidence={"files": 3}, details=trained))  # fmt: skip
    promote("income", "one", None)
    people = [{"name": mail(name), "roles": roles, "keys": [public(folder / name)]} for name, roles in PEOPLE.items()]
    listed(settings, folder, people, 2, "ann", "bo")
    commit = candidate(settings, "care", "one")
    evidence = verdict(folder, "care", commit, None, "v1.0.0", place(settings), by="bo")
    ledger.append(settings, EntryDraft(kind="awaiting_signature", model="care", commit=commit, actor="dana",
                                       reason="push", sentence="waits", evidence=evidence,
                                       details=AwaitingDetails(author=mail("ann"))))  # fmt: skip
    said = authority.approval(state(settings), "care", commit, mail("cy"), "I read the verdict", LATER)
    warrant = Warrant(statement=said, armor=signatures.sign(said, folder / "cy"))
    registry.promote("care", commit, evidence, "dana", "person", None, warrant)
    promote("income", "two", "v1.0.0")
    window = WindowDetails(window=1, action="roll_back")
    ledger.append(settings, EntryDraft(kind="monitored", model="income", version="v2.0.0", actor="schedule",
                                       reason="schedule", sentence="window 1", details=window))  # fmt: skip
    registry.assign("income", "v1.0.0", "rolled_back", {"window": 1}, "monitoring", "monitor", "v2.0.0")
    registry.assign("income", "v2.0.0", "promoted", {}, "kim", "person", "v1.0.0", order("promote", "income", "v2.0.0"))
    said = order("roll_back", "income", "v1.0.0")
    registry.assign("income", "v1.0.0", "rolled_back", {}, "kim", "person", "v2.0.0", said)
    halt = {"because": "it harms", "warrant": order("stop", "care", "v1.0.0").model_dump(mode="json")}
    ledger.append(settings, EntryDraft.model_validate({
        "kind": "stopped", "model": "care", "version": "v1.0.0", "actor": "kim", "reason": "person",
        "sentence": "it was stopped", "details": halt,
    }))  # fmt: skip
    people[1]["keys"] = [public(folder / "bo-new")]
    listed(settings, folder, people, 2, "ann", "cy")
    promote("income", "three", "v1.0.0", by="ann")
    spare = candidate(settings, "income", "spare")
    git(origin, "gc", "--quiet", "--prune=now")
    return read(settings, folder, spare)


def listed(settings: Settings, folder: Path, people: list[Document], threshold: int, *signers: str) -> None:
    """Put a list of the examiner and these people into force, by the file that people edit."""
    path = folder / "list.json"
    path.unlink(missing_ok=True)
    policies.draft(settings, path, False)
    document = json.loads(path.read_text())
    examiner = next(p for p in document["policy"]["people"] if p["roles"] == ["examiner"])
    document["policy"] |= {"people": [examiner, *people], "threshold": threshold}
    path.write_text(json.dumps(document))
    for name in signers:
        policies.sign(path, mail(name), folder / name)
    policies.enter(settings, path, "dana")


def read(settings: Settings, folder: Path, spare: str) -> Ledger:
    entries = [e.stored() for e in ledger.entries(settings)]
    found = Git(Path(settings.origin))
    evidence = {str(e["evidence"]): canonical_json(ledger.evidence(settings, e["evidence"])) for e in entries
                if e["evidence"]}  # fmt: skip
    commits = found.run("rev-list", "--reverse", BRANCH).split()
    return Ledger(settings, folder, entries, evidence, commits, state(settings).root, spare)


def copy(made: Ledger, to: Path) -> Path:
    """A bare copy whose objects are shared as files: forgers only add some."""
    shutil.copytree(made.origin, to, copy_function=lambda a, b: Path(b).hardlink_to(a) if "/objects/" in str(a)
                    else shutil.copyfile(a, b), ignore=shutil.ignore_patterns("hooks", "logs"))  # fmt: skip
    return to


Commit = dict[str, bytes | tuple[str, bytes] | None]
"""What a commit does, by path: content, mode with content, or None to delete."""


def write(repository: Path, after: str | None, commits: Iterable[Commit], moments: list[int] | None = None) -> None:
    """Move the ledger's branch onto new commits after one that is there, or after none."""
    stream = [] if after else [f"reset refs/heads/{BRANCH}\n\n".encode()]
    for number, change in enumerate(commits):
        moment = moments[number] if moments else int(datetime.now(UTC).timestamp())
        stream.append(f"commit refs/heads/{BRANCH}\ncommitter Assay <assay@localhost> {moment} +0000\n".encode())
        stream.append(b"data 1\nx\n" + (f"from {after}\n".encode() if number == 0 and after else b""))
        for path, what in change.items():
            mode, content = what if isinstance(what, tuple) else ("100644", what)
            if content is None:
                stream.append(f"D {path}\n".encode())
            else:
                head = f"M {mode} inline {path}\ndata {len(content)}\n".encode()
                stream += [head, content, b"\n"]
    if after and not stream:
        stream.append(f"reset refs/heads/{BRANCH}\nfrom {after}\n\n".encode())
    command = ["git", "fast-import", "--quiet", "--force"]
    subprocess.run(command, cwd=repository, input=b"".join(stream), check=True, capture_output=True)


def files(made: Ledger, entry: Document, evidence: Document | bytes | None = None) -> Commit:
    """What the commit of an entry adds."""
    place, name = entry_file(made, entry["sequence"]), entry["evidence"]
    if not name:
        return {place: canonical_json(entry), **({} if made.old else {"evidence.json": None})}
    content = made.evidence.get(name, b"") if evidence is None else evidence
    content = content if isinstance(content, bytes) else canonical_json(content)
    return {place: canonical_json(entry), evidence_file(made, name): content}


def entry_file(made: Ledger, number: int) -> str:
    return f"entries/{number:06d}.json" if made.old else "entry.json"


def evidence_file(made: Ledger, digest: str) -> str:
    return f"evidence/{digest.removeprefix('sha256:')}.json" if made.old else "evidence.json"


def of_old(made: Ledger, folder: Path, upto: int) -> Ledger:
    """The same ledger whose first commits are of the old form, at the same times."""
    origin = copy(made, folder)
    settings = Settings(home=folder.with_suffix(".home"), origin=str(origin), examiner_key=made.settings.examiner)
    old = replace(made, settings=settings, old=True)
    commits = [files(old if n < upto else made, e) for n, e in enumerate(made.entries)]
    for path in [path for commit in commits[:upto] for path in commit if upto < len(commits)]:
        commits[upto][path] = None
    moments = [int(datetime.fromisoformat(e["time"]).timestamp()) for e in made.entries]
    write(origin, None, commits, moments)
    return replace(old, commits=Git(origin).run("rev-list", "--reverse", BRANCH).split())


def in_old_form(settings: Settings) -> Settings:
    """Write the ledger of an origin anew in the old form; gives another home on it, whose examiner is the same."""
    made = replace(read(settings, settings.home, ""), old=True)
    moments = [int(datetime.fromisoformat(e["time"]).timestamp()) for e in made.entries]
    write(made.origin, None, [files(made, e) for e in made.entries], moments)
    return Settings(home=settings.home.with_name("old"), origin=settings.origin, examiner_key=settings.examiner)


def sealed(entry: Document, private: Ed25519PrivateKey, namespace: str = signatures.ENTRY) -> Document:
    """The entry with a signature of a key."""
    bare = {k: v for k, v in entry.items() if k != "signature"}
    line = signatures.public_line(private)
    armor = signatures.sign_as_examiner(bare, private, namespace)
    return {**bare, "signature": {"signer": "examiner", "key": signatures.fingerprint(line), "armor": armor}}


def following(made: Ledger, last: Document | None = None, **change: Any) -> Document:
    """An entry that the examiner's key signed on the newest one: what a thief of that key can write."""
    last = last or made.entries[-1]
    entry = {
        "sequence": last["sequence"] + 1, "previous": digest_json(last), "model": "income", "version": None,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "commit": None, "actor": "dana",
        "reason": "person", "sentence": "x", "evidence": None, "details": {}, **change,
    }  # fmt: skip
    return sealed(entry, made.examiner)


def chained(entries: list[Document], private: Ed25519PrivateKey | None = None) -> list[Document]:
    """The entries numbered and chained anew; with a key they are signed anew, too."""
    found: list[Document] = []
    for number, entry in enumerate(entries, 1):
        new = {**entry, "sequence": number, "previous": digest_json(found[-1]) if found else None}
        found.append(sealed(new, private) if private else new)
    return found


def policy(
    made: Ledger, signed_by: dict[str, str], last: Document | None = None, **change: Any
) -> tuple[Document, Document]:
    """An entry with the next list, changed, and its evidence; signed by names, each with the key of a name."""
    old = json.loads(made.evidence[made.of("policy", "")["evidence"]])["policy"]
    new = {**old, "counter": old["counter"] + 1, "previous": digest_json(old), **change}
    armors = [
        {"signer": mail(name), "armor": signatures.sign(new, made.folder / private, signatures.POLICY)}
        for name, private in signed_by.items()
    ]
    evidence = {"policy": new, "signatures": armors, "adopts": None}
    details = {"policy": digest_json(new), "counter": new["counter"]}
    entry = following(made, last, kind="policy", model="", evidence=digest_json(evidence), details=details)
    return entry, evidence
