"""The ledger: a branch of the origin that only grows, each entry chained to the one before."""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.records.git import Git, GitError
from tasks.records.workspace import ensure_clone, lock
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.errors import CheckoutError, CorruptionError
from tasks.spec.evidence import Entry, EntryKind
from tasks.spec.settings import Settings

BRANCH = "assay/ledger"
TIP = f"refs/remotes/origin/{BRANCH}"
ATTEMPTS = 8


def append(
    settings: Settings,
    kind: EntryKind,
    model: str,
    version: str | None,
    commit: str | None,
    actor: str,
    reason: str,
    sentence: str,
    evidence: dict[str, Any] | None,
    details: dict[str, Any] | None = None,
) -> Entry:
    """Add one entry; a lost race is repeated on the new tip.

    Raises:
        CheckoutError: the race was lost time after time; nothing was written.
    """
    for attempt in range(ATTEMPTS):
        git = ensure_clone(settings)
        with lock(settings):
            entry, tip = draft(git, kind, model, version, commit, actor, reason, sentence, evidence, details)
            try:
                git.run("push", "--quiet", "origin", f"{tip}:refs/heads/{BRANCH}")
            except GitError:
                time.sleep(0.1 * (attempt + 1))
                continue
            git.run("update-ref", TIP, tip)
            return entry
    raise CheckoutError(f"the ledger could not be written in {ATTEMPTS} attempts, because others wrote each time. Start the run again.")


def draft(
    git: Git,
    kind: EntryKind,
    model: str,
    version: str | None,
    commit: str | None,
    actor: str,
    reason: str,
    sentence: str,
    evidence: dict[str, Any] | None,
    details: dict[str, Any] | None = None,
) -> tuple[Entry, str]:
    """Make the commit that would add one entry, without publishing it; gives the entry and the commit."""
    parent = _tip(git)
    last = _read(git, parent)[-1] if parent else None
    entry = Entry(
        sequence=last.sequence + 1 if last else 1,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        kind=kind,
        model=model,
        version=version,
        commit=commit,
        actor=actor,
        reason=reason,
        sentence=sentence,
        evidence=digest_json(evidence) if evidence is not None else None,
        details=details or {},
        previous=last.digest() if last else None,
    )
    files = {f"entries/{entry.sequence:06d}.json": canonical_json(entry.model_dump(mode="json"))}
    if evidence is not None:
        files[_evidence_path(str(entry.evidence))] = canonical_json(evidence)
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        if parent:
            git.run("read-tree", parent, env=index)
        for path, content in files.items():
            blob = git.run("hash-object", "-w", "--stdin", stdin=content)
            git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
        tree = git.run("write-tree", env=index)
    parents = ["-p", parent] if parent else []
    tip = git.run("commit-tree", tree, *parents, "-m", f"{entry.sequence}: {model} {kind.replace('_', ' ')}")
    return entry, tip


def entries(settings: Settings, model: str | None = None) -> list[Entry]:
    """All entries, oldest first."""
    git = ensure_clone(settings)
    tip = _tip(git)
    found = _read(git, tip) if tip else []
    return [e for e in found if model is None or e.model == model]


def evidence(settings: Settings, digest: str) -> dict[str, Any]:
    """The document with this digest.

    Raises:
        CorruptionError: it is not there, or its bytes do not match.
    """
    git = ensure_clone(settings)
    try:
        document: dict[str, Any] = json.loads(git.run("show", f"{TIP}:{_evidence_path(digest)}"))
    except (GitError, ValueError):
        raise CorruptionError(f"the ledger holds no readable evidence {digest}.") from None
    if digest_json(document) != digest:
        raise CorruptionError(f"evidence {digest} was changed: its content has digest {digest_json(document)}.")
    return document


def verify(settings: Settings) -> list[str]:
    """Everything that is wrong with the ledger, one sentence each; empty where it holds."""
    problems: list[str] = []
    found = entries(settings)
    previous: str | None = None
    for position, entry in enumerate(found, 1):
        if entry.sequence != position:
            problems.append(f"entry {position} is missing: {entry.sequence} stands in its place")
        if entry.previous != previous:
            problems.append(f"entry {entry.sequence} does not follow from the one before: it was changed or put in later")
        previous = entry.digest()
        if entry.evidence is not None:
            try:
                evidence(settings, entry.evidence)
            except CorruptionError as error:
                problems.append(f"entry {entry.sequence}: {error}")
    return problems


def _tip(git: Git) -> str | None:
    try:
        return git.rev_parse(TIP)
    except CheckoutError:
        return None


def _read(git: Git, tip: str) -> list[Entry]:
    names = git.run("ls-tree", "-r", "--name-only", tip, "entries/").splitlines()
    request = "".join(f"{tip}:{name}\n" for name in sorted(names)).encode()
    text = git.run("cat-file", "--batch=%(objectsize)", stdin=request)
    # canonical JSON has no line break, so a size line and a content line take turns
    return [Entry.model_validate_json(line) for line in text.split(os.linesep)[1::2]]


def _evidence_path(digest: str) -> str:
    return f"evidence/{digest.removeprefix('sha256:')}.json"
