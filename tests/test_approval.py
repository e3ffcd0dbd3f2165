"""Who may sign a candidate of high materiality: a real origin, a real ledger, real keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.approval import promote_signed
from tasks.records.registry import authority, ledger, policies
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.records.registry.verification import verify
from tasks.records.repository import workspace
from tasks.signing import signatures
from tasks.spec.errors import PromotionRefused
from tasks.spec.evidence import Verdict
from tasks.spec.ledger import AwaitingDetails, Entry, EntryDraft, Warrant
from tasks.spec.requests import ApprovalRequest
from tasks.spec.settings import Settings
from tests.candidates import commit_run
from tests.conftest import git
from tests.keys import key, public

BECAUSE = "I read the verdict"
LATER = "2999-01-01"


@pytest.fixture
def waits(settings: Settings, developer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """An entry that asks for a signature; Ann, Dana and Jo may sign, Dana asked, and Ann wrote the change."""
    for name in ("ann", "dana", "jo", "mallory"):
        key(tmp_path, name)
    listed = "".join(
        f'{name}@example.org namespaces="assay" {public(tmp_path / name)} {name}\n' for name in ("ann", "dana", "jo")
    )
    (developer / "deployments").mkdir()
    (developer / "deployments/signers").write_text("# Who may sign\n" + listed)  # as installations before had it
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "signers")
    git(developer, "push", "--quiet", "origin", "main")
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    monkeypatch.setattr("tasks.promotion.serve_champion", lambda _: None)  # its files are no model's
    with workspace.worktree(settings, "main") as tree:
        commit = commit_run(settings, tree, "candidate", "assay/candidates/care/one")
    verdict = Verdict(
        model="care", commit=commit, champion=None, model_digest="sha256:b", created="t", passed=True, gates=()
    )
    draft = EntryDraft(
        kind="awaiting_signature",
        model="care",
        commit=commit,
        actor="dana@example.org",
        reason="push",
        sentence="fit to serve, and waits",
        evidence={"verdict": verdict.model_dump(mode="json")},
        details=AwaitingDetails(author="ann@example.org"),
    )
    return ledger.append(settings, draft)


def said(settings: Settings, entry: Entry, signer: str = "jo@example.org", expires: str = LATER) -> dict[str, Any]:
    found: dict[str, Any] = authority.approval(state(settings), "care", str(entry.commit), signer, BECAUSE, expires)
    return found


def request(
    entry: Entry, statement: dict[str, Any], private: Path, sent: dict[str, Any] | None = None
) -> ApprovalRequest:
    warrant = Warrant(statement=sent or statement, armor=signatures.sign(statement, private))
    return ApprovalRequest(model="care", reason="person", commit=str(entry.commit), warrant=warrant)


def test_a_second_person_signs_and_the_ledger_keeps_what_was_signed(
    waits: Entry, settings: Settings, tmp_path: Path
) -> None:
    assert promote_signed.fn(request(waits, said(settings, waits), tmp_path / "jo")) == "v1.0.0"
    entry = ledger.entries(settings, "care")[-1]
    assert (entry.kind, entry.actor, entry.sentence) == (
        "promoted", "dana@example.org", "became champion: v1.0.0, signed by jo@example.org",
    )  # fmt: skip
    assert verify(settings) == [] and state(settings).of("care").waiting == {}
    with pytest.raises(PromotionRefused, match="was signed and promoted already; nothing to do"):
        promote_signed.fn(request(waits, said_before(entry), tmp_path / "jo"))


def said_before(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = entry.details["warrant"]["statement"]
    return found


Change = Callable[[dict[str, Any]], dict[str, Any]]
SIGNED_BADLY: list[tuple[str, str, Change | None, Change | None, str]] = [
    (
        "dana@example.org",
        "dana",
        None,
        None,
        "dana@example.org asked for it or wrote it, and nobody signs for themselves",
    ),
    ("Dana@Example.org", "dana", None, None, "Dana@Example.org asked for it or wrote it"),
    ("ann@example.org", "ann", None, None, "ann@example.org asked for it or wrote it"),
    ("jo@example.org", "mallory", None, None, "Who may sign: ann@example.org, dana@example.org, jo@example.org"),
    ("mallory@example.org", "mallory", None, None, "the signature is not mallory@example.org's over exactly this"),
    (
        "jo@example.org",
        "jo",
        None,
        lambda s: s | {"because": "another reason"},
        "the signature is not jo@example.org's",
    ),
    (
        "jo@example.org",
        "jo",
        lambda s: s | {"expires": "2026-01-01"},
        None,
        "jo@example.org signed expired on 2026-01-01",
    ),
    ("jo@example.org", "jo", lambda s: s | {"expires": "soon"}, None, "jo@example.org signed expired on soon"),
    ("jo@example.org", "jo", lambda s: s | {"evidence": "sha256:0"}, None, "says evidence 'sha256:0', and 'sha256:"),
    ("jo@example.org", "jo", lambda s: s | {"model": "income"}, None, "says model 'income', and 'care' holds now"),
    ("jo@example.org", "jo", lambda s: s | {"list": "sha256:0"}, None, "says list 'sha256:0', and 'sha256:"),
    ("jo@example.org", "jo", lambda s: s | {"head": {"sequence": 2, "digest": "x"}}, None, "signed on another ledger"),
    ("jo@example.org", "jo", lambda s: s | {"head": None}, None, "its approval names no head of the ledger"),
    ("jo@example.org", "jo", lambda s: {**s, "statement": "promote"}, None, "says statement 'promote', and 'approve'"),
]


def test_whose_signature_does_not_hold_promotes_nothing(waits: Entry, settings: Settings, tmp_path: Path) -> None:
    for signer, name, signed, sent, says in SIGNED_BADLY:
        statement = said(settings, waits, signer)
        statement = signed(statement) if signed else statement
        with pytest.raises(PromotionRefused) as refused:
            promote_signed.fn(request(waits, statement, tmp_path / name, sent(statement) if sent else None))
        assert says in str(refused.value), signer
    assert Registry(settings).versions("care") == [] and len(ledger.entries(settings, "care")) == 1
    signed = ledger.evidence(settings, str(waits.evidence))
    with pytest.raises(PromotionRefused, match="its commit waits for an approver's signature, and it carries none"):
        Registry(settings).promote("care", str(waits.commit), signed, "dana@example.org", "person", None)


def test_a_revoked_key_approves_nothing_any_more(waits: Entry, settings: Settings, tmp_path: Path) -> None:
    before = request(waits, said(settings, waits), tmp_path / "jo")
    change_list(settings, tmp_path, lambda people: [p for p in people if p["name"] != "jo@example.org"], "ann")
    with pytest.raises(PromotionRefused, match="jo@example.org signed says list 'sha256:"):
        promote_signed.fn(before)
    with pytest.raises(PromotionRefused, match="Who may sign: ann@example.org, dana@example.org"):
        promote_signed.fn(request(waits, said(settings, waits), tmp_path / "jo"))


def change_list(
    settings: Settings, folder: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], *signers: str
) -> None:
    """Draft, edit, sign and enter the next list, as a person does with a file."""
    import json

    path = folder / "list.json"
    path.unlink(missing_ok=True)
    policies.draft(settings, path, False)
    document = json.loads(path.read_text())
    document["policy"]["people"] = change(document["policy"]["people"])
    path.write_text(json.dumps(document))
    for name in signers:
        policies.sign(path, f"{name}@example.org", folder / name)
    policies.enter(settings, path, "dana@example.org")


def test_a_list_holds_when_the_old_and_the_new_threshold_signed_it(
    waits: Entry, settings: Settings, tmp_path: Path
) -> None:
    mallory = {"name": "mallory@example.org", "roles": ["approver"], "keys": [public(tmp_path / "mallory")]}
    with pytest.raises(
        PromotionRefused, match="the list before asks for 1 of ann@example.org, dana@example.org, jo@ex"
    ):
        change_list(settings, tmp_path, lambda people: [*people, mallory], "mallory")
    with pytest.raises(PromotionRefused, match="the new list asks for 1 of mallory@example.org to sign it, and 0 did"):
        change_list(settings, tmp_path, lambda people: [people[0], mallory], "jo")
    change_list(settings, tmp_path, lambda people: [*people, mallory], "jo")
    found = state(settings)
    assert found.policy is not None and (found.policy.counter, len(found.policy.people)) == (2, 5)
    assert verify(settings) == [] and found.root == policies.shown(settings)["root"] != found.policy_digest
    with pytest.raises(ValidationError):
        Warrant(statement={"because": "a\nb"}, armor="x")


def test_what_nobody_asked_for_cannot_be_signed(waits: Entry, settings: Settings, tmp_path: Path) -> None:
    asked = request(waits, said(settings, waits), tmp_path / "jo").model_copy(update={"commit": "f" * 40})
    with pytest.raises(PromotionRefused) as refused:
        promote_signed.fn(asked)
    assert str(refused.value) == (
        f"no candidate ffffffffffff of care waits for a signature; waiting: {str(waits.commit)[:12]}."
    )
