"""The branch that holds the ledger, as git keeps it: its tip, its files, and what this clone has seen of it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from pydantic import ValidationError

from tasks.records.repository.git import Git
from tasks.spec.base import canonical_json
from tasks.spec.errors import CheckoutError, CorruptionError
from tasks.spec.ledger import Entry
from tasks.spec.settings import Settings

BRANCH = "assay/ledger"
TIP = f"refs/remotes/origin/{BRANCH}"
ENTRY = re.compile(r"entries/\d{6}\.json")
SEEN = "refs/assay/ledger-seen"
"""The newest tip that this clone has seen; it moves only forward."""


def tip_of(git: Git) -> str | None:
    """The tip that the origin has; None where there is no ledger."""
    try:
        return git.rev_parse(TIP)
    except CheckoutError:
        return None


def remember(git: Git, tip: str | None) -> str | None:
    """Move the mark of what was seen forward; gives the mark where the tip does not come after it."""
    seen = git.run("for-each-ref", "--format=%(objectname)", SEEN)
    if seen == (tip or ""):
        return None
    if seen and (tip is None or git.run("rev-list", "--max-count=1", f"{tip}..{seen}")):
        return seen
    git.run("update-ref", SEEN, str(tip))
    return None


def rewritten(settings: Settings, seen: str, tip: str | None) -> str:
    """The sentence about a tip that does not come after what this clone saw."""
    now = (
        f"its newest commit {tip[:12]} does not come after {seen[:12]}"
        if tip
        else f"the branch is gone, and its newest commit was {seen[:12]}"
    )
    return (
        f"the ledger was rewritten or cut off since this clone last saw it: {now}. Put it back with "
        f"git -C {settings.clone} push --force origin {SEEN}:refs/heads/{BRANCH}, or accept what is there now with "
        f"git -C {settings.clone} update-ref -d {SEEN}"
    )


def files(git: Git, tip: str, *paths: str) -> dict[str, bytes]:
    """Path and content of all files under the paths, in two commands however many they are."""
    listed = [line.split("\t", 1) for line in git.run("ls-tree", "-r", "-z", tip, "--", *paths).split("\0") if line]
    return contents(git, {path: meta.split()[2] for meta, path in listed if meta.split()[1] == "blob"})


def contents(git: Git, blobs: dict[str, str]) -> dict[str, bytes]:
    """Content of blobs, by the names given to them."""
    answer = git.read("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs.values()).encode())
    found, at = {}, 0
    for path in blobs:
        end = answer.index(b"\n", at)
        size = int(answer[at:end].split()[-1])
        found[path], at = answer[end + 1 : end + 1 + size], end + size + 2
    return found


def entry_paths(git: Git, tip: str) -> list[str]:
    """Paths of all entries, oldest first."""
    return sorted(filter(ENTRY.fullmatch, git.run("ls-tree", "-r", "--name-only", tip, "entries/").splitlines()))


def entry_path(sequence: int) -> str:
    return f"entries/{sequence:06d}.json"


def evidence_path(digest: str) -> str:
    return f"evidence/{digest.removeprefix('sha256:')}.json"


def parse(path: str, content: bytes) -> Entry:
    """The entry that a file holds.

    Raises:
        CorruptionError: it holds none, or not in the one form that an entry has.
    """
    try:
        entry = Entry.model_validate_json(content)
    except ValidationError:
        entry = None
    if entry is None or canonical_json(entry.stored()) != content:
        raise CorruptionError(
            f"{path} of the ledger cannot be read as an entry. Look at what was done to the branch {BRANCH} (git log "
            f"{BRANCH} -- {path}), and put it back."
        )
    return entry


def evidence_problem(found: dict[str, bytes], digest: str) -> str | None:
    """What is wrong with the evidence of a digest among files of the branch."""
    content = found.get(evidence_path(digest))
    if content is None:
        return f"the ledger holds no evidence {digest}"
    there = "sha256:" + hashlib.sha256(content).hexdigest()
    return None if there == digest else f"evidence {digest} was changed: its content has digest {there}"


def evidence_at(git: Git, tip: str | None, digest: str) -> dict[str, Any]:
    """The document with this digest.

    Raises:
        CorruptionError: it is not there, or its bytes do not match.
    """
    path = evidence_path(digest)
    found = files(git, tip, path) if tip else {}
    problem = evidence_problem(found, digest)
    if problem:
        raise CorruptionError(f"{problem}.")
    document: dict[str, Any] = json.loads(found[path])
    return document
