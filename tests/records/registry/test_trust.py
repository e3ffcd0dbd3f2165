"""Trust runs from the record: what people push by git changes what serves only where those who may signed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.records.registry import authority, ledger, memory, policies
from tasks.records.registry.branch import BRANCH, SEEN
from tasks.records.registry.registry import Registry, mend, stopped_because
from tasks.records.registry.state import state
from tasks.records.registry.verification import verified, verify
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.signing import signatures
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.errors import CorruptionError, PromotionRefused
from tasks.spec.ledger import (
    AssignedDetails,
    Entry,
    EntryDraft,
    Person,
    Policy,
    PolicyDetails,
    Signature,
    StoppedDetails,
    Warrant,
    WindowDetails,
)
from tasks.spec.settings import Settings
from tests.candidates import commit_run, passed
from tests.conftest import git
from tests.keys import key, public
from tests.proof.ledgers import write

LATER = "2999-01-01"


def candidate(settings: Settings, text: str) -> str:
    with workspace.worktree(settings, "main") as tree:
        (tree / "model.txt").write_text(text)
        return commit_run(settings, tree, f"candidate {text}", f"assay/candidates/income/{text}")


def promote(settings: Settings, text: str, expected: str | None) -> str:
    commit = candidate(settings, text)
    return (
        Registry(settings).promote("income", commit, passed("income", commit, expected), "test", "person", expected).tag
    )


@pytest.fixture
def two(settings: Settings) -> Settings:
    """Two versions of income; the second serves."""
    promote(settings, "one", None)
    promote(settings, "two", "v1.0.0")
    return settings


def champion(settings: Settings) -> str:
    found = Registry(settings).champion("income")
    assert found is not None
    return found.tag


def newcomer(settings: Settings) -> Settings:
    """Another home on the same origin, which has seen nothing yet and can sign as the first one."""
    return Settings(home=settings.home.with_name("newcomer"), origin=settings.origin, examiner_key=settings.examiner)


def write_by_hand(
    settings: Settings, *entries: Callable[[Entry], Entry], evidence: dict[str, Any] | None = None
) -> None:
    """Chain entries to the newest one and push them, as anybody can who may push to the origin."""
    last = ledger.entries(settings)[-1]
    with workspace.worktree(settings, BRANCH) as tree:
        for make in entries:
            following = last.model_copy(
                update={
                    "sequence": last.sequence + 1,
                    "previous": last.digest(),
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "evidence": digest_json(evidence or {}),
                    "signature": None,
                }
            )
            last = make(following)
            (tree / "entry.json").write_bytes(canonical_json(last.stored()))
            (tree / "evidence.json").write_bytes(canonical_json(evidence or {}))
            for command in (("add", "--all", ":!.dvc"), ("commit", "--quiet", "-m", "by hand")):
                Git(tree).run(*command)
        Git(tree).run("push", "--quiet", "origin", f"HEAD:refs/heads/{BRANCH}")


def assignment(commit: str, version: str, previous: str) -> Callable[[Entry], Entry]:
    details = AssignedDetails(previous=previous).model_dump(mode="json")
    return lambda entry: entry.model_copy(
        update={"kind": "promoted", "model": "income", "version": version, "commit": commit, "details": details}
    )


def signed_by(private: Ed25519PrivateKey, entry: Entry) -> Entry:
    armor = signatures.sign_as_examiner(entry.signed(), private, signatures.ENTRY)
    line = signatures.public_line(private)
    return entry.model_copy(
        update={"signature": Signature(signer="examiner", key=signatures.fingerprint(line), armor=armor)}
    )


def test_tags_by_hand_change_nothing_and_are_told(two: Settings, developer: Path) -> None:
    rejected = candidate(two, "rejected")
    git(developer, "fetch", "--quiet", "--tags", "origin")
    message = git(developer, "for-each-ref", "--format=%(contents)", "refs/tags/income#champion#2")
    for name in ("income@v3.0.0", "income#champion#3", "income#champion#9"):
        git(developer, "tag", "-a", "-m", message, name, rejected)
    git(developer, "tag", "-a", "-m", message, "income#champion#4", "income@v2.0.0^{commit}")
    for name in ("income@v9", "income#champion#x", "income@v2.0.0!", "income@v2.0.0#7!", "release-1"):
        git(developer, "tag", name, rejected)
    git(developer, "push", "--quiet", "origin", "--tags")
    registry = Registry(two)
    assert champion(two) == champion(newcomer(two)) == "v2.0.0"
    assert [v.tag for v in registry.versions("income")] == ["v1.0.0", "v2.0.0"]
    assert [v.tag for v in registry.previous_champions("income")] == ["v1.0.0"] and registry.assignments("income") == 2
    told, odd = verify(two), verified(two).found.notices
    assert {t.split()[1] for t in odd if "is none that Assay makes" in t} == {
        "income@v2.0.0!", "income@v2.0.0#7!", "income@v9", "income#champion#x",
    }  # fmt: skip
    assert {t.split()[1] for t in told if "names an entry for commit" in t} == {
        "income@v3.0.0", "income#champion#3", "income#champion#9",
    }  # fmt: skip
    assert [t.split()[1] for t in told if "repeats another tag" in t] == ["income#champion#4"] and len(told) == 4
    assert registry.next_version("income") == "v4.0.0"  # the name v3.0.0 is taken, and nothing is written over
    assert promote(two, "three", "v2.0.0") == "v4.0.0" and champion(newcomer(two)) == "v4.0.0"
    assert len(verify(two)) == 4


def test_a_deleted_tag_changes_nothing_is_told_and_put_back(two: Settings, developer: Path) -> None:
    git(developer, "push", "--quiet", "origin", "--delete", "income#champion#2", "income@v2.0.0")
    assert champion(two) == champion(newcomer(two)) == "v2.0.0"
    assert [t.split(", and what serves")[0] for t in verify(two)] == [
        "tag income@v2.0.0 of entry 3 is missing or moved",
        "tag income#champion#2 of entry 3 is missing or moved",
    ]
    assert sorted(mend(two)) == ["income#champion#2", "income@v2.0.0"] and verify(two) == []
    assert promote(two, "three", "v2.0.0") == "v3.0.0"


def test_a_moved_tag_changes_nothing_is_told_and_put_back(two: Settings, developer: Path) -> None:
    git(developer, "fetch", "--quiet", "--tags")
    was = git(developer, "rev-parse", "income@v2.0.0^{commit}")
    git(developer, "tag", "--force", "--annotate", "-m", "elsewhere", "income@v2.0.0", "income@v1.0.0^{commit}")
    git(developer, "push", "--quiet", "--force", "origin", "income@v2.0.0")
    assert champion(two) == champion(newcomer(two)) == "v2.0.0"
    missing, foreign = verify(two)
    assert foreign == "tag income@v2.0.0 names no evidence: it was not made by Assay, and changes nothing"
    assert missing.startswith("tag income@v2.0.0 of entry 3 is missing or moved, and what serves stays as it is.")
    assert mend(two) == ["income@v2.0.0"] and verify(two) == []
    git(developer, "fetch", "--quiet", "--tags", "--force")
    assert git(developer, "rev-parse", "income@v2.0.0^{commit}") == was


def test_entries_by_hand_change_nothing_and_are_told(two: Settings) -> None:
    rejected, version = candidate(two, "rejected"), "v3.0.0"
    genuine = ledger.entries(two)[-1]
    own = signatures.examiner_key(two.home / "keys/of-mallory")
    write_by_hand(
        two,
        assignment(rejected, version, "v2.0.0"),
        lambda e: signed_by(own, assignment(rejected, version, "v2.0.0")(e)),
        lambda e: assignment(rejected, version, "v2.0.0")(e).model_copy(update={"signature": genuine.signature}),
        lambda e: e.model_copy(
            update={"kind": "stopped", "details": StoppedDetails(because="x").model_dump(mode="json")}
        ),
    )
    for home in (two, newcomer(two)):
        assert champion(home) == "v2.0.0" and stopped_because(home, "income") == ""
        assert [t.split(" of the list in force")[0] for t in verify(home)] == [
            "entry 4 does not count: no examiner signed it",
            "entry 5 does not count: it is not signed by an examiner",
            "entry 6 does not count: it is not signed by an examiner",
            "entry 7 does not count: no examiner signed it",
        ]
    assert promote(two, "three", "v2.0.0") == "v3.0.0" and len(verify(newcomer(two))) == 4


def test_nobody_puts_themselves_on_the_list(two: Settings) -> None:
    now = state(two)
    assert now.policy is not None
    own = signatures.examiner_key(two.home / "keys/of-mallory")
    mallory = Person(name="mallory", roles=("examiner", "approver"), keys=(signatures.public_line(own),))
    for new in (
        Policy(counter=2, previous=now.policy_digest, people=(*now.policy.people, mallory)),
        Policy(counter=1, people=(mallory,)),
    ):
        document = new.model_dump(mode="json")
        made = {"signer": "mallory", "armor": signatures.sign_as_examiner(document, own, signatures.POLICY)}
        details = PolicyDetails(policy=digest_json(document), counter=new.counter).model_dump(mode="json")
        change = {"kind": "policy", "model": "", "version": None, "commit": None, "details": details}
        write_by_hand(
            two,
            lambda e, change=change: signed_by(own, e.model_copy(update=change)),  # type: ignore[misc]
            evidence={"policy": document, "signatures": [made], "adopts": None},
        )
    told = verify(newcomer(two))
    assert told[0].startswith("entry 4 does not count: the list before asks for 1 of examiner@")
    assert told[1:] == ["entry 5 does not count: it does not follow the list in force, which has counter 1"]
    assert (state(two).policy_digest, state(newcomer(two)).root) == (now.policy_digest, now.root)


def test_a_ledger_cut_off_with_its_tags_does_not_bring_back_what_was_withdrawn(two: Settings) -> None:
    Registry(two).assign("income", "v1.0.0", "rolled_back", {}, "test", "person", "v2.0.0")
    origin = Git(Path(two.origin))
    origin.run("update-ref", f"refs/heads/{BRANCH}", f"{BRANCH}~1")
    origin.run("tag", "--delete", "income#champion#3")
    assert champion(two) == "v1.0.0" and "rewritten or cut off" in verify(two)[0]
    with pytest.raises(CorruptionError, match="nothing is written on a ledger that does not hold"):
        promote(two, "three", "v1.0.0")
    Git(two.clone).run("update-ref", "-d", SEEN)  # a person accepts what is there now
    (two.home / memory.NAME).unlink()
    assert champion(two) == "v2.0.0" and verify(two) == []


def unsigned(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two promotions as installations before wrote them: no list, no signatures, and an actor who wrote trailers."""
    previous, digest, parent = None, None, ""
    gits = workspace.ensure_clone(settings)
    for number, text in enumerate(("one", "two"), 1):
        version = f"v{number}.0.0"
        entry = Entry(
            sequence=number, time="2026-11-27T10:00:00.000+00:00", kind="promoted", model="income", version=version,
            commit=candidate(settings, text), actor=f"x\n\nEvidence: sha256:{'0' * 64}\n", reason="person",
            sentence=f"became champion: {version}", evidence=digest_json({}),
            details={"previous": previous}, previous=digest,
        )  # fmt: skip
        files = {f"entries/{number:06d}.json": canonical_json(entry.stored())}
        files[f"evidence/{digest_json({}).removeprefix('sha256:')}.json"] = canonical_json({})
        write(Path(settings.origin), parent or None, [files])
        parent = Git(Path(settings.origin)).run("rev-parse", BRANCH)
        message = (
            f"promoted by {entry.actor} because of person\n\nEvidence: {entry.evidence}\nEntry: {entry.digest()}\n"
        )
        for name in (f"income@{version}", f"income#champion#{number}"):
            gits.run("tag", "-a", "-m", message, name, str(entry.commit))
        previous, digest = version, entry.digest()
        gits.run("push", "--quiet", "origin", "--tags")


def test_a_ledger_from_before_is_adopted_by_its_first_list(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    unsigned(settings, monkeypatch)
    assert champion(settings) == "v2.0.0" and verify(settings) == []  # before the list: the chain alone
    root = ledger.begin(settings).root
    adopted = ledger.evidence(settings, str(ledger.entries(settings)[-1].evidence))["adopts"]
    assert (adopted["sequence"], adopted["champions"]) == (2, {"income": "v2.0.0"}) and root.startswith("sha256:")
    assert verify(settings) == [] and champion(newcomer(settings)) == "v2.0.0"
    assert promote(settings, "three", "v2.0.0") == "v3.0.0" and verify(newcomer(settings)) == []
    assert Git(settings.clone).run("config", "assay.root") == root == ledger.begin(settings).root


def test_an_order_by_hand_is_signed_where_somebody_is_named(two: Settings, tmp_path: Path) -> None:
    registry = Registry(two)
    kim = key(tmp_path, "kim")
    appoint(two, tmp_path, {"name": "kim@example.org", "roles": ["operator"], "keys": [public(kim)]})
    with pytest.raises(PromotionRefused, match=r"nobody who may order it signed it \(kim@example.org\)"):
        registry.assign("income", "v1.0.0", "rolled_back", {}, "test", "monitor", "v2.0.0")
    order = authority.order(state(two), "roll_back", "income", "v1.0.0", "kim@example.org", "it drifts", LATER)
    warrant = Warrant(statement=order, armor=signatures.sign(order, kim))
    other = warrant.model_copy(update={"statement": order | {"because": "else"}})
    with pytest.raises(PromotionRefused, match="the signature is not kim@example.org's over exactly this statement"):
        registry.assign("income", "v1.0.0", "rolled_back", {}, "test", "person", "v2.0.0", other)
    registry.assign("income", "v1.0.0", "rolled_back", {}, "test", "person", "v2.0.0", warrant)
    assert ledger.entries(two)[-1].sentence == "rolled back to v1.0.0, after v2.0.0, signed by kim@example.org"
    promote(two, "three", "v1.0.0")
    with pytest.raises(PromotionRefused, match="signed says from 'v2.0.0', and 'v3.0.0' holds now; sign again"):
        registry.assign("income", "v1.0.0", "rolled_back", {}, "test", "person", "v3.0.0", warrant)
    decided = EntryDraft(
        kind="monitored", model="income", version="v3.0.0", actor="schedule", reason="schedule", sentence="window 1",
        details=WindowDetails(window=1, action="roll_back"),
    )  # fmt: skip
    ledger.append(two, decided)  # what monitoring decided and wrote needs nobody's order
    registry.assign("income", "v1.0.0", "rolled_back", {}, "monitoring", "monitor", "v3.0.0")
    assert champion(newcomer(two)) == "v1.0.0" and verify(newcomer(two)) == []


def appoint(settings: Settings, folder: Path, *people: dict[str, Any], sign: dict[str, Path] | None = None) -> None:
    path = folder / "list.json"
    path.unlink(missing_ok=True)
    policies.draft(settings, path, False)
    document = json.loads(path.read_text())
    document["policy"]["people"] += people
    path.write_text(json.dumps(document))
    for name, private in (sign or {}).items():
        policies.sign(path, f"{name}@example.org", private)
    policies.enter(settings, path, "test")


def test_a_home_whose_key_is_not_listed_writes_nothing(two: Settings) -> None:
    stranger = Settings(home=two.home.with_name("stranger"), origin=two.origin)
    with pytest.raises(PromotionRefused, match="This home's examiner is not on the list; add it with assay policy"):
        promote(stranger, "three", "v2.0.0")
    line = signatures.public_line(signatures.examiner_key(stranger.examiner))
    appoint(two, two.home, {"name": "examiner@second", "roles": ["examiner"], "keys": [line]})
    assert promote(stranger, "four", "v2.0.0") == "v3.0.0" and verify(two) == []


def test_a_key_that_was_taken_off_signs_nothing_any_more(two: Settings, tmp_path: Path) -> None:
    """The approver replaces the examiner's key, as after a theft; the new key signs the entry that brings the list."""
    jo = key(tmp_path, "jo")
    appoint(two, tmp_path, {"name": "jo@example.org", "roles": ["approver"], "keys": [public(jo)]}, sign={"jo": jo})
    second = Settings(home=two.home.with_name("second"), origin=two.origin)
    new = signatures.public_line(signatures.examiner_key(second.examiner))
    path = tmp_path / "replaced.json"
    policies.draft(second, path, False)
    document = json.loads(path.read_text())
    document["policy"]["people"][0]["keys"] = [new]
    path.write_text(json.dumps(document))
    policies.sign(path, "jo@example.org", jo)
    policies.enter(second, path, "jo@example.org")
    assert promote(second, "three", "v2.0.0") == "v3.0.0"
    with pytest.raises(PromotionRefused, match="This home's examiner is not on the list"):
        promote(two, "four", "v3.0.0")
    stolen = signatures.examiner_key(two.examiner)
    rejected = candidate(two, "rejected")
    write_by_hand(second, lambda e: signed_by(stolen, assignment(rejected, "v4.0.0", "v3.0.0")(e)))
    assert champion(two) == champion(newcomer(two)) == "v3.0.0"
    assert [t.split(" (it names")[0] for t in verify(two)] == [
        "entry 7 does not count: it is not signed by an examiner of the list in force"
    ]


def test_a_new_root_holds_for_those_alone_who_were_told_its_fingerprint(two: Settings) -> None:
    path = two.home / "root.json"
    policies.draft(two, path, True)
    document = json.loads(path.read_text())
    document["policy"]["people"][0]["name"] = "examiner@new"
    path.write_text(json.dumps(document))
    with pytest.raises(PromotionRefused, match="Set ASSAY_ROOT=sha256:") as refused:
        policies.enter(two, path, "test")
    root = str(refused.value).split("ASSAY_ROOT=")[1].split()[0]
    told = two.model_copy(update={"root": root})
    with pytest.raises(CorruptionError, match=f"and ASSAY_ROOT names {root}, so nothing that the ledger says is p"):
        champion(told)
    policies.enter(told, path, "test")
    assert champion(told) == "v2.0.0" and state(told).root == root and verify(told) == []
    others = newcomer(two)
    assert state(others).root != root
    assert verify(others) == ["entry 4 does not count: it does not follow the list in force, which has counter 1"]


def test_what_the_examiner_signs_openssh_can_check(two: Settings, tmp_path: Path) -> None:
    entry = ledger.entries(two)[-1]
    assert entry.signature is not None and two.examiner.stat().st_mode & 0o777 == 0o600
    assert signatures._checked_by_openssh(canonical_json(entry.signed()), entry.signature.armor, "assay-ledger")
    assert not signatures._checked_by_openssh(b"{}", entry.signature.armor, "assay-ledger")
    private = key(tmp_path, "jo")  # and the other way: OpenSSH signs, we check
    armor = signatures.sign({"a": 1}, private)
    assert signatures.holds({"a": 1}, armor, (public(private),)) == public(private)
    for content, text, namespace in (
        ({"a": 2}, armor, "assay"), ({"a": 1}, armor, "assay-ledger"), ({"a": 1}, armor[:-60], "assay"),
        ({"a": 1}, "x", "assay"),
    ):  # fmt: skip
        assert signatures.holds(content, text, (public(private),), namespace) == ""
