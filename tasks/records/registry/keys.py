"""The examiner signs what flows write, and begins the list of people where there is none."""

from __future__ import annotations

import re
import socket
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from tasks.records.registry.authority import State, adopted
from tasks.records.repository.git import Git, GitError
from tasks.signing import signatures
from tasks.spec.base import digest_json
from tasks.spec.ledger import Entry, EntryDraft, Person, Policy, PolicyDetails, Signature
from tasks.spec.line import flat
from tasks.spec.settings import Settings

SIGNERS = "deployments/signers"
"""OpenSSH's allowed signers file of earlier installations; read once, into the first list."""


def signed(settings: Settings, entry: Entry, policy: Policy) -> Entry:
    """The entry with the examiner's signature; a key that is not on the list signs, too, and readers refuse it."""
    key = signatures.examiner_key(settings.examiner)
    public = signatures.public_line(key)
    name = next((p.name for p in policy.people if public in p.keys), "unknown")
    armor = signatures.sign_as_examiner(entry.signed(), key, signatures.ENTRY)
    return entry.model_copy(
        update={"signature": Signature(signer=name, key=signatures.fingerprint(public), armor=armor)}
    )


def first_list(settings: Settings, git: Git, state: State) -> EntryDraft:
    """The root: the examiner of this home, and whoever the file of earlier installations lets sign."""
    public = signatures.public_line(signatures.examiner_key(settings.examiner))
    examiner = Person(
        name=f"examiner@{flat(socket.gethostname())[:80] or 'localhost'}", roles=("examiner",), keys=(public,)
    )
    people = [p for p in _signers(settings, git) if p.name != examiner.name]
    return policy_draft(
        Policy(counter=1, people=(examiner, *people)),
        [],
        "assay",
        "the first list of who may sign what",
        adopted(state),
    )


def listed(draft: EntryDraft) -> Policy:
    """The list that a draft of kind ``policy`` brings."""
    return Policy.model_validate((draft.evidence or {})["policy"], strict=False)


def is_new_root(settings: Settings, state: State, draft: EntryDraft) -> bool:
    """Whether a draft brings the first list that this installation was told and the ledger does not have yet."""
    details = draft.details
    return isinstance(details, PolicyDetails) and details.policy == settings.root != state.root


def policy_draft(
    policy: Policy, signed_by: list[dict[str, Any]], actor: str, sentence: str, adopts: dict[str, Any] | None = None
) -> EntryDraft:
    """The entry that brings a list."""
    document = policy.model_dump(mode="json")
    return EntryDraft(
        kind="policy",
        model="",
        actor=actor,
        reason="person",
        sentence=sentence,
        evidence={"policy": document, "signatures": signed_by, "adopts": adopts},
        details=PolicyDetails(policy=digest_json(document), counter=policy.counter),
    )


def keep_own(settings: Settings, key: Ed25519PrivateKey) -> None:
    """Let this home's service believe this home's examiner, until a list says who else may sign."""
    path = settings.home / "keys/examiners"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(f"{signatures.public_line(key)}\n")


def keep_examiners(settings: Settings, policy: Policy) -> None:
    """Write the public keys of a list where those read them who know no ledger.

    The examiners' are for the service and the origin's hook, and those of whoever signs the next list for the hook.
    """
    for name, people in (("examiners", policy.who("examiner")), ("signers", policy.voters)):
        path = settings.home / "keys" / name
        text = "".join(f"{key}\n" for person in people for key in person.keys)
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{name}-{digest_json(text)[-8:]}")
            draft.write_text(text)
            draft.replace(path)


def _signers(settings: Settings, git: Git) -> list[Person]:
    """People of the origin's main branch, as approvers; lines that are no plain key of a name are left out."""
    try:
        lines = git.lines("show", f"refs/remotes/origin/{settings.branch}:{SIGNERS}")
    except GitError:
        return []
    found: dict[str, list[str]] = {}
    for line in lines:  # as OpenSSH cuts them: at blanks and tabs
        words = re.findall(r"[^ \t\r]+", line)
        at = next((i for i, word in enumerate(words[1:-1], 1) if word.startswith(("ssh-", "ecdsa-", "sk-"))), None)
        if at is not None and not words[0].startswith("#") and "cert-authority" not in line:
            for name in words[0].split(","):
                found.setdefault(name, []).append(f"{words[at]} {words[at + 1]}")
    people: list[Person] = []
    used: set[str] = set()
    for name, keys in found.items():
        try:
            person = Person(name=name, roles=("approver",), keys=tuple(dict.fromkeys(keys)))
        except ValidationError:
            continue
        if any(map(signatures.wrong_key, person.keys)):
            continue
        if not used & {name.casefold(), *person.keys}:
            people.append(person)
            used |= {name.casefold(), *person.keys}
    return people
