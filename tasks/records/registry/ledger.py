"""The ledger: a branch of the origin that only grows, each entry chained to the one before."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.records.repository.git import Git, Overtaken
from tasks.records.repository.workspace import ensure_clone, lock
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.errors import CheckoutError, CorruptionError
from tasks.spec.ledger import Entry, EntryDraft, EntryKind
from tasks.spec.settings import Settings

BRANCH = "assay/ledger"
TIP = f"refs/remotes/origin/{BRANCH}"
SEEN = "refs/assay/ledger-seen"
"""The newest tip that this clone has seen; it moves only forward."""
ATTEMPTS = 8
READ_FIRST, READ_AT_ONCE = 64, 1024
"""Entries that a search backwards reads in its first step, and at most in one."""
TAG = re.compile(r"(?P<model>[^@#]+)(@v|#champion#)\d")


def append(settings: Settings, draft: EntryDraft) -> Entry:
    """Add one entry; a lost race is repeated on the new tip.

    Raises:
        CheckoutError: a hook refused, or the race was lost time after time; nothing was written.
    """
    for attempt in range(ATTEMPTS):
        git = ensure_clone(settings)
        with lock(settings):
            entry, tip = commit_entry(git, draft)
            try:
                git.run("push", "--quiet", "origin", f"{tip}:refs/heads/{BRANCH}")
            except Overtaken:
                pass
            else:
                follow(git, tip)
                return entry
        time.sleep(0.1 * (attempt + 1))
    raise CheckoutError(
        f"the ledger could not be written in {ATTEMPTS} attempts, because others wrote each time. Start the run again."
    )


def commit_entry(git: Git, draft: EntryDraft) -> tuple[Entry, str]:
    """Make the commit that would add one entry, without publishing it; gives the entry and the commit.

    Raises:
        CorruptionError: the newest entry cannot be read, so that none can follow from it.
    """
    parent = _tip(git)
    last = _last(git, parent) if parent else None
    entry = Entry(
        sequence=last.sequence + 1 if last else 1,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        kind=draft.kind,
        model=draft.model,
        version=draft.version,
        commit=draft.commit,
        actor=draft.actor,
        reason=draft.reason,
        sentence=draft.sentence,
        evidence=digest_json(draft.evidence) if draft.evidence is not None else None,
        details=draft.details.model_dump(mode="json") if draft.details is not None else {},
        previous=last.digest() if last else None,
    )
    files = {f"entries/{entry.sequence:06d}.json": canonical_json(entry.model_dump(mode="json"))}
    if draft.evidence is not None:
        files[_evidence_path(str(entry.evidence))] = canonical_json(draft.evidence)
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        if parent:
            git.run("read-tree", parent, env=index)
        for path, content in files.items():
            blob = git.run("hash-object", "-w", "--stdin", stdin=content)
            git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
        tree = git.run("write-tree", env=index)
    parents = ["-p", parent] if parent else []
    subject = f"{entry.sequence}: {entry.model} {entry.kind.replace('_', ' ')}"
    tip = git.run("commit-tree", tree, *parents, "-m", subject)
    return entry, tip


def follow(git: Git, tip: str) -> None:
    """Take over a tip that the origin has accepted."""
    git.run("update-ref", TIP, tip)
    _remember(git, tip)


def newest_of(settings: Settings, model: str, kinds: tuple[EntryKind, ...]) -> Entry | None:
    """The newest entry of one model among these kinds, read from the newest entry backwards.

    Raises:
        CorruptionError: an entry that is as new cannot be read, so that nobody knows which is the newest.
    """
    git = ensure_clone(settings)
    tip = _tip(git)
    paths = git.run("ls-tree", "-r", "--name-only", tip, "entries/").splitlines() if tip else []
    paths.sort(reverse=True)
    count = READ_FIRST
    while tip and paths:
        part, paths = paths[:count], paths[count:]
        contents = _files(git, tip, *part)
        for entry in (_parse(path, contents[path]) for path in part):
            if entry.model == model and entry.kind in kinds:
                return entry
        count = min(4 * count, READ_AT_ONCE)
    return None


def entries(settings: Settings, model: str | None = None) -> list[Entry]:
    """All entries, oldest first.

    Raises:
        CorruptionError: an entry cannot be read.
    """
    git = ensure_clone(settings)
    tip = _tip(git)
    if tip is None:
        return []
    _remember(git, tip)
    found = [_parse(path, content) for path, content in sorted(_files(git, tip, "entries/").items())]
    return [e for e in found if model is None or e.model == model]


def evidence(settings: Settings, digest: str) -> dict[str, Any]:
    """The document with this digest.

    Raises:
        CorruptionError: it is not there, or its bytes do not match.
    """
    path, git = _evidence_path(digest), ensure_clone(settings)
    tip = _tip(git)
    files = _files(git, tip, path) if tip else {}
    problem = _evidence_problem(files, digest)
    if problem:
        raise CorruptionError(f"{problem}.")
    document: dict[str, Any] = json.loads(files[path])
    return document


def verify(settings: Settings) -> list[str]:
    """Everything that is wrong with the ledger, one sentence each; empty where it holds.

    Checked are:

    - the chain of entries, and each entry's evidence;
    - the branch's history: each commit adds one entry and changes none;
    - the registry's tags: each names the evidence and the entry it was made with;
    - the newest tip that this clone saw before: what comes now must come after it, so that an entry changed or cut off
      since then is always found.

    A clone that sees the ledger for the first time has no such memory. It cannot see that the branch was rewritten
    whole, with a chain that fits, behind the newest tag. Nor can it see that all tags were replaced as well.
    """
    git = ensure_clone(settings)
    tip = _tip(git)
    seen = _remember(git, tip)
    problems = [_rewritten(settings, seen, tip)] if seen else []
    files = _files(git, tip, "entries/", "evidence/") if tip else {}
    found: list[Entry] = []
    previous: str | None = None
    known = True
    for position, path in enumerate(sorted(p for p in files if p.startswith("entries/")), 1):
        try:
            entry = _parse(path, files[path])
        except CorruptionError as error:
            problems.append(str(error))
            known = False
            continue
        if entry.sequence != position:
            problems.append(f"entry {position} is missing: {entry.sequence} stands in its place")
        if known and entry.previous != previous:
            problems.append(
                f"entry {entry.sequence} does not follow from the one before: it was changed or put in later"
            )
        problem = _evidence_problem(files, entry.evidence) if entry.evidence else None
        if problem:
            problems.append(f"entry {entry.sequence}: {problem}")
        previous, known = entry.digest(), True
        found.append(entry)
    return problems + (_history_problems(git, tip) if tip else []) + _tag_problems(git, found)


def _rewritten(settings: Settings, seen: str, tip: str | None) -> str:
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


def _history_problems(git: Git, tip: str) -> list[str]:
    """Commits that did anything but add one entry with its evidence."""
    form = (
        "--format=%x00%H %P",
        "--name-status",
        "--no-renames",
        "--no-show-signature",
        "--root",
        "--first-parent",
        "--diff-merges=first-parent",
        "--reverse",
    )
    problems = []
    for record in git.run("log", *form, tip).split("\0")[1:]:
        head, *lines = record.strip().splitlines()
        commit, *parents = head.split()
        changes = [line.split("\t", 1) for line in lines if line]
        wrong = [path for letter, path in changes if letter != "A"]
        strange = [path for letter, path in changes if letter == "A" and not path.startswith(("entries/", "evidence/"))]
        added = sum(path.startswith("entries/") for letter, path in changes if letter == "A")
        if wrong:
            problems.append(
                f"commit {commit[:12]} changes or removes {', '.join(wrong)}, and what is written stays as it is"
            )
        elif strange or added != 1 or len(parents) > 1:
            what = (
                f"{added} entries"
                + "".join(f" and {path}" for path in strange)
                + (" by a merge" if len(parents) > 1 else "")
            )
            problems.append(
                f"commit {commit[:12]} adds {what}, and a commit of the ledger adds one entry with its evidence"
            )
    return problems


def _tag_problems(git: Git, found: list[Entry]) -> list[str]:
    """Tags of the registry whose entry is not, or not any more, in the ledger."""
    made = {(e.model, e.commit, e.evidence) for e in found}
    digests = {e.digest() for e in found}
    problems = []
    form = "%(refname:strip=2)%09%(*objectname)%09%(contents)%00"
    for record in git.run("for-each-ref", f"--format={form}", "refs/tags").split("\0"):
        name, commit, message = (record.strip("\n").split("\t", 2) + ["", ""])[:3]
        tag = TAG.match(name)
        if not tag:
            continue
        evidence_digest, entry_digest = named(message, "Evidence"), named(message, "Entry")
        if not evidence_digest:
            problems.append(f"tag {name} names no evidence: it was not made by Assay")
        elif (tag["model"], commit, evidence_digest) not in made or (entry_digest and entry_digest not in digests):
            problems.append(
                f"tag {name} names an entry for commit {commit[:12]} that the ledger does not hold: entries were "
                "changed or cut off, or the tag was set past the ledger"
            )
    return problems


def named(message: str, what: str) -> str | None:
    """The digest that a tag's message gives under a name (``Evidence``, ``Entry``)."""
    return trailer(message, what, "sha256:[0-9a-f]{64}")


def trailer(message: str, name: str, form: str) -> str | None:
    """The value of ``name: value`` at the end of a message; the last one counts, for an actor's name may hold lines."""
    values: list[str] = re.findall(rf"^{name}: ({form})$", message, re.MULTILINE)
    return values[-1] if values else None


def _tip(git: Git) -> str | None:
    try:
        return git.rev_parse(TIP)
    except CheckoutError:
        return None


def _remember(git: Git, tip: str | None) -> str | None:
    """Move the mark of what was seen forward; gives the mark where the tip does not come after it."""
    seen = git.run("for-each-ref", "--format=%(objectname)", SEEN)
    if seen == (tip or ""):
        return None
    if seen and (tip is None or git.run("rev-list", "--max-count=1", f"{tip}..{seen}")):
        return seen
    git.run("update-ref", SEEN, str(tip))
    return None


def _files(git: Git, tip: str, *paths: str) -> dict[str, bytes]:
    """Path and content of all files under the paths, in two commands however many they are."""
    listed = [line.split("\t", 1) for line in git.run("ls-tree", "-r", "-z", tip, "--", *paths).split("\0") if line]
    blobs = {path: meta.split()[2] for meta, path in listed if meta.split()[1] == "blob"}
    answer = git.read("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs.values()).encode())
    found, at = {}, 0
    for path in blobs:
        end = answer.index(b"\n", at)
        size = int(answer[at:end].split()[-1])
        found[path], at = answer[end + 1 : end + 1 + size], end + size + 2
    return found


def _last(git: Git, tip: str) -> Entry:
    path = max(git.run("ls-tree", "-r", "--name-only", tip, "entries/").splitlines())
    return _parse(path, _files(git, tip, path)[path])


def _parse(path: str, content: bytes) -> Entry:
    try:
        return Entry.model_validate_json(content)
    except ValidationError:
        raise CorruptionError(
            f"{path} of the ledger cannot be read as an entry. Look at what was done to the branch {BRANCH} (git log "
            f"{BRANCH} -- {path}), and put it back."
        ) from None


def _evidence_problem(files: dict[str, bytes], digest: str) -> str | None:
    content = files.get(_evidence_path(digest))
    if content is None:
        return f"the ledger holds no evidence {digest}"
    found = "sha256:" + hashlib.sha256(content).hexdigest()
    return None if found == digest else f"evidence {digest} was changed: its content has digest {found}"


def _evidence_path(digest: str) -> str:
    return f"evidence/{digest.removeprefix('sha256:')}.json"
