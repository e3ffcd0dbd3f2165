"""Who may sign a candidate of high materiality: a real origin, a real ledger, real keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.approval import promote_signed, statement
from tasks.records.registry import ledger, signatures
from tasks.records.registry.registry import Registry
from tasks.records.repository import workspace
from tasks.spec.errors import PromotionRefused
from tasks.spec.ledger import Entry, EntryDraft
from tasks.spec.requests import ApprovalRequest
from tasks.spec.settings import Settings
from tests.conftest import git
from tests.keys import key

BECAUSE = "I read the verdict"


@pytest.fixture
def waits(settings: Settings, developer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """An entry that asks for a signature; Jo and Dana may sign, and Dana asked."""
    for name in ("dana", "jo", "mallory"):
        key(tmp_path, name)
    listed = "".join(
        f'{name}@example.org namespaces="assay" {(tmp_path / f"{name}.pub").read_text()}' for name in ("dana", "jo")
    )
    (developer / "deployments").mkdir()
    (developer / "deployments/signers").write_text(listed)
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "signers")
    git(developer, "push", "--quiet", "origin", "main")
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    with workspace.worktree(settings, "main") as tree:
        commit = workspace.commit_run(settings, tree, "candidate", "assay/candidates/care/one")
    draft = EntryDraft(
        kind="awaiting_signature",
        model="care",
        commit=commit,
        actor="dana@example.org",
        reason="push",
        sentence="fit to serve, and waits",
        evidence={"verdict": {}},
    )
    return ledger.append(settings, draft)


def request(entry: Entry, signer: str, private: Path, said: str = BECAUSE) -> ApprovalRequest:
    signature = signatures.sign(statement(entry, signer, BECAUSE), private)
    return ApprovalRequest(
        model="care",
        reason="person",
        commit=str(entry.commit),
        signer=signer,
        signature=signature,
        because=said,
    )


@pytest.mark.parametrize(
    ("signer", "name", "said", "says"),
    [
        ("dana@example.org", "dana", BECAUSE, "nobody signs for themselves. Ask another signer."),
        ("Dana@Example.org", "dana", BECAUSE, "nobody signs for themselves. Ask another signer."),
        ("jo@example.org", "mallory", BECAUSE, "Allowed signers: dana@example.org, jo@example.org."),
        ("mallory@example.org", "mallory", BECAUSE, "the signature is not mallory@example.org's over exactly this"),
        ("jo@example.org", "jo", "another reason", "the signature is not jo@example.org's over exactly this statement"),
    ],
)
def test_whose_signature_does_not_hold_promotes_nothing(
    signer: str, name: str, said: str, says: str, waits: Entry, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(PromotionRefused) as refused:
        promote_signed.fn(request(waits, signer, tmp_path / name, said))
    assert says in str(refused.value)
    assert Registry(settings).versions("care") == [] and len(ledger.entries(settings)) == 1


def test_what_nobody_asked_for_cannot_be_signed(waits: Entry, settings: Settings, tmp_path: Path) -> None:
    other = waits.model_copy(update={"commit": "f" * 40})
    with pytest.raises(PromotionRefused) as refused:
        promote_signed.fn(request(other, "jo@example.org", tmp_path / "jo"))
    assert str(refused.value) == (
        f"no candidate ffffffffffff of care waits for a signature; waiting: {str(waits.commit)[:12]}."
    )
