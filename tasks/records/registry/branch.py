"""The branch that holds the ledger, as git keeps it: its tip, what each commit adds, and what this clone saw of it.

A commit holds the one entry that it adds and its evidence, nothing of the commits before. So neither a commit nor a
push costs more where the ledger is long. Ledgers begun before 2026-11-29 held all their entries in each commit, as
``entries/000001.json`` and so on. They keep these, and go on in the present form.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.records.repository.git import Git
from tasks.spec.base import canonical_json
from tasks.spec.errors import CheckoutError, CorruptionError
from tasks.spec.ledger import Entry
from tasks.spec.settings import Settings

BRANCH = "assay/ledger"
TIP = f"refs/remotes/origin/{BRANCH}"
ENTRY, EVIDENCE = "entry.json", "evidence.json"
OLD_ENTRY, OLD_EVIDENCE = re.compile(r"entries/\d{6}\.json"), re.compile(r"evidence/[0-9a-f]{64}\.json")
SEEN = "refs/assay/ledger-seen"
"""The newest tip that this clone has seen; the home keeps it, too (``memory.py``)."""
READ_FIRST, AT_ONCE = 64, 4096
"""Commits that a search backwards reads in its first step; objects that are read at most in one."""


def tip_of(git: Git) -> str | None:
    """The tip that the origin has; None where there is no ledger."""
    try:
        return git.rev_parse(TIP)
    except CheckoutError:
        return None


def seen_beyond(git: Git, tip: str | None, marks: Sequence[str]) -> str | None:
    """The mark of what was seen that a tip does not come after, or that is not there any more; else None."""
    for seen in marks:
        if seen != tip and (tip is None or not git.has(seen) or git.run("rev-list", "--max-count=1", f"{tip}..{seen}")):
            return seen
    return None


def rewritten(settings: Settings, seen: str, tip: str | None, is_here: bool) -> str:
    """The sentence about a tip that does not come after what this clone saw.

    Args:
        is_here: whether the clone still has what it saw.
    """
    now = (
        f"its newest commit {tip[:12]} does not come after {seen[:12]}"
        if tip
        else f"the branch is gone, and its newest commit was {seen[:12]}"
    )
    how = (
        f"Put it back with git -C {settings.clone} push --force origin {seen}:refs/heads/{BRANCH}"
        if is_here
        else "The clone was made anew and has it no more, so nothing that the ledger says is proven. Bring the home "
        "back from a backup: assay restore FILE --replace"
    )
    return f"the ledger was rewritten or cut off since this clone last saw it: {now}. {how}"


def refuse_cut(settings: Settings, git: Git, tip: str) -> None:
    """Refuse a ledger whose first entries a shallow origin lacks: what is there would look as if somebody changed it.

    Raises:
        CheckoutError: the branch of the ledger is cut off before its beginning.
    """
    cut = git.path / ".git/shallow"
    if cut.exists() and not set(cut.read_text().split()).isdisjoint(git.lines("rev-list", tip)):
        raise CheckoutError(
            f"the origin {settings.origin_named} is a shallow clone, and its ledger is cut off before its first entry, "
            "so nothing can be told from it. Complete it there: git fetch --unshallow"
        )


def alone(settings: Settings) -> tuple[str, ...]:
    """Options of a push of nothing but this branch, to an origin on this machine.

    Both sides of a push go through all references, and tags grow with every promotion. What the origin hides from this
    one push they leave out; a commit of this branch rests on none of it.
    """
    if not Path(settings.origin_url).is_dir():
        return ()
    hidden = " ".join(f"-c receive.hideRefs={name}" for name in ("refs", f"!refs/heads/{BRANCH}"))
    return (f"--receive-pack=git {hidden} receive-pack",)


@dataclass(frozen=True)
class Added:
    """An entry as a commit added it, not looked at yet."""

    commit: str
    """In a ledger of the old form: the last commit of that form."""
    where: str
    """How a sentence names the place."""
    number: int | None
    """That the old form gives to the entry's file."""
    blob: str
    """Git's name of the entry's file; empty where the commit holds none."""
    documents: dict[str, str]
    """Git's names of evidence, by digest where the old form tells it; else under an empty name."""
    content: bytes = b""


def commit(git: Git, parent: str, entry: bytes, evidence: bytes | None, subject: str, time: str) -> str:
    """Make the commit that adds an entry after a tip, or after none; gives its name.

    Args:
        time: of the entry. The commit has it, too: a clock that is set between the two would accuse the entry.
    """
    rows = []
    for name, content in ((ENTRY, entry), (EVIDENCE, evidence)):
        if content is not None:
            rows.append(f"100644 blob {git.run('hash-object', '-w', '--stdin', stdin=content)}\t{name}\n")
    tree = git.run("mktree", stdin="".join(rows).encode())
    seconds = f"{int(datetime.fromisoformat(time).timestamp())} +0000"
    dates = {"GIT_AUTHOR_DATE": seconds, "GIT_COMMITTER_DATE": seconds}
    return git.run("commit-tree", tree, *(["-p", parent] if parent else []), "-m", subject, env=dates)


def added(git: Git, since: str, tip: str) -> Iterator[Added]:
    """What commits after one, or all, add up to a tip, oldest first, each with the content of its entry.

    A commit whose entry is that of the commit before adds none, and is left out here; the verifier names it.
    """
    asked = f"{since}..{tip}" if since else tip
    rows = [line.split(" ") for line in git.lines("log", "--first-parent", "--reverse", "--format=%H %T", asked)]
    before = ""
    if since:
        rows.insert(0, [since, git.run("rev-parse", f"{since}^{{tree}}")])
    old = ""
    for begin in range(0, len(rows), AT_ONCE):
        part = rows[begin : begin + AT_ONCE]
        trees = [_tree(content) for content in contents(git, [tree for _, tree in part])]
        found: list[Added] = []
        for (name, _), tree in zip(part, trees, strict=True):
            blob = tree.get(ENTRY, "")
            if not blob and not before:
                old = name  # of the old form; its last commit holds all entries of that form
                continue
            if old and old != since:
                yield from _old(git, old)
            is_new, before, old = blob != before and name != since, blob or before, ""
            if is_new:
                documents = {"": tree[EVIDENCE]} if EVIDENCE in tree else {}
                found.append(Added(name, f"commit {name[:12]}", None, blob, documents))
        yield from _with_contents(git, found)
    if old and old != since:
        yield from _old(git, old)


def _tree(content: bytes) -> dict[str, str]:
    """Names of the plain files of a tree, with git's name of each."""
    found, at = {}, 0
    while at < len(content):
        end = content.index(b"\0", at)
        mode, _, name = content[at:end].decode(errors="replace").partition(" ")
        if mode == "100644":
            found[name] = content[end + 1 : end + 21].hex()
        at = end + 21
    return found


def _old(git: Git, name: str) -> Iterator[Added]:
    """Entries of the old form up to a commit, as they were added: what a later commit did to their files is nothing."""
    how = ("--raw", "--no-abbrev", "--no-renames", "--first-parent", "--diff-merges=first-parent", "--reverse")
    blobs: dict[str, str] = {}
    for commit in git.lines("log", "--format=%x01", *how, "--diff-filter=A", name, end="\1"):
        rows = sorted((path, *meta.split()) for meta, _, path in (line.partition("\t") for line in commit.split("\n")))
        blobs |= {path: row[3] for path, *row in rows if row[1:2] == ["100644"] and path not in blobs}
    documents = {f"sha256:{path[9:-5]}": blob for path, blob in blobs.items() if OLD_EVIDENCE.fullmatch(path)}
    paths = list(filter(OLD_ENTRY.fullmatch, blobs))
    for begin in range(0, len(paths), AT_ONCE):
        part = paths[begin : begin + AT_ONCE]
        yield from _with_contents(git, [Added(name, path, int(path[8:14]), blobs[path], documents) for path in part])


def backwards(git: Git, tip: str) -> Iterator[Added]:
    """The same from the newest on, for who looks for one of the last."""
    count = READ_FIRST
    while tip:
        rows = git.lines("log", "--first-parent", f"--max-count={count + 1}", "--format=%H", tip)
        since = rows[count] if len(rows) > count else ""
        found = list(added(git, since, tip))
        yield from reversed(found)
        tip = "" if found and found[0].number is not None else since
        count = min(4 * count, AT_ONCE)


def _with_contents(git: Git, found: list[Added]) -> Iterator[Added]:
    texts = iter(contents(git, [one.blob for one in found if one.blob]))
    for one in found:
        yield replace(one, content=next(texts)) if one.blob else one


def contents(git: Git, blobs: list[str]) -> list[bytes]:
    """Content of objects, in their order.

    Raises:
        CorruptionError: one is not there.
    """
    answer = git.read("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs).encode()) if blobs else b""
    found, at = [], 0
    for _ in blobs:
        end = answer.index(b"\n", at)
        if answer.endswith(b" missing", at, end):
            raise CorruptionError(f"the clone {git.path} lacks object {answer[at : at + 40].decode()} of the ledger.")
        size = int(answer[at:end].split()[-1])
        found.append(answer[end + 1 : end + 1 + size])
        at = end + size + 2
    return found


def parse(where: str, content: bytes) -> Entry:
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
            f"{where} of the ledger cannot be read as an entry. Look at what was done to the branch {BRANCH} (git log "
            f"-p {BRANCH}), and put back what was read before, in the home's clone: git push --force origin "
            f"{SEEN}:refs/heads/{BRANCH}."
        )
    return entry


def document(git: Git, blob: str | None, digest: str) -> dict[str, Any]:
    """The evidence with this digest, from git's name of it.

    Raises:
        CorruptionError: it is not there, or its bytes do not match.
    """
    if not blob:
        raise CorruptionError(f"the ledger holds no evidence {digest}.")
    (content,) = contents(git, [blob])
    return held(content, digest)


def held(content: bytes, digest: str) -> dict[str, Any]:
    """The evidence that a file holds.

    Raises:
        CorruptionError: its bytes do not match the digest, or are no document.
    """
    there = "sha256:" + hashlib.sha256(content).hexdigest()
    if there != digest:
        raise CorruptionError(f"evidence {digest} was changed: its content has digest {there}.")
    try:
        found: dict[str, Any] = json.loads(content)
        if isinstance(found, dict) and canonical_json(found) == content:
            return found
    except (ValueError, RecursionError):
        pass
    raise CorruptionError(f"evidence {digest} is no document in canonical JSON.")
