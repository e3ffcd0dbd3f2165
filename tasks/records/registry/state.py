"""What the ledger's entries prove, read once and kept: champion, versions, stops, candidates that wait, the list."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.records.registry import branch, memory
from tasks.records.registry.authority import ModelState, State, apply, reached, refusal
from tasks.records.repository.git import Git, GitError
from tasks.records.repository.workspace import ensure_clone, lock
from tasks.spec.errors import CorruptionError
from tasks.spec.settings import Settings


class Branch:
    """What the rules look up while the entries up to a tip are read: their evidence, and digests of earlier ones."""

    def __init__(self, git: Git, tip: str) -> None:
        self.git, self.tip = git, tip
        self.documents: dict[str, str] = {}
        """Of the entry at hand, as :class:`branch.Added` has them."""
        self.drafted: dict[str, dict[str, Any]] = {}
        """Evidence by digest that is not in git yet."""
        self.digests: dict[int, str] = {}

    def evidence(self, digest: str) -> dict[str, Any]:
        if digest in self.drafted:
            return self.drafted[digest]
        return branch.document(self.git, self.documents.get(digest) or self.documents.get(""), digest)

    def digest_of(self, sequence: int) -> str | None:
        if sequence not in self.digests and self.tip:
            for one in branch.backwards(self.git, self.tip):
                entry = branch.parse(one.where, one.content)
                self.digests[entry.sequence] = entry.digest()
                if entry.sequence <= sequence:
                    break
        return self.digests.get(sequence)


def state(settings: Settings) -> State:
    """What holds now, by the origin's ledger."""
    return proven(settings, ensure_clone(settings, tags=False))


def proven(settings: Settings, git: Git) -> State:
    """The same of a clone that is up to date; where the branch was rewritten, what held before.

    What was read before is kept in the home, where the examiner's key is, and only what came since is read. Of a ledger
    whose first list is another than the one that was told, no model is proven.
    """
    with lock(settings):  # several runs share the clone's refs and config
        return _proven(settings, git)


def _proven(settings: Settings, git: Git) -> State:
    tip, known = branch.tip_of(git), memory.recall(settings, git)
    seen = branch.seen_beyond(git, tip, known.marks)
    at = seen or tip
    is_here = at is None or git.has(at)
    if at is not None and is_here:
        branch.refuse_cut(settings, git, at)
    found = _kept(settings, git, at) if is_here else State()
    if at is not None and is_here and (found.tip != at or found.problems):  # what broke it may have been put back
        read_on(found, git, at, pin(settings, known))
        _keep(settings, found)
    is_first = found.root and (not known.roots or found.root == settings.root)
    # what cannot be read is not taken for what was there
    memory.keep(settings, git, known, found.root if is_first else "", found.tip if seen is None else "")
    wrong = _wrong_root(settings, known, found) if is_here else []
    lost = [branch.rewritten(settings, seen, tip, is_here)] if seen else []
    remembered = [*lost, *wrong]
    unproven = next(iter(wrong or ([] if is_here else lost)), "")
    change: dict[str, Any] = {"problems": [*found.problems, *remembered], "remembered": remembered}
    change |= {"models": {}, "unproven": unproven} if unproven else {}
    return found.model_copy(update=change)


def model_state(settings: Settings, git: Git, model: str) -> ModelState:
    """What is proven of one model.

    Raises:
        CorruptionError: the first list is not the one that this installation was told, or the clone lacks what was seen
            of the ledger, so that nothing is proven.
    """
    found = proven(settings, git)
    if found.unproven:
        raise CorruptionError(found.unproven)
    return found.of(model)


def read_on(found: State, git: Git, tip: str, root: str) -> None:
    """Bring a state forward to a tip, entry by entry; it ends where the chain does."""
    source, found.problems = Branch(git, found.tip), []
    for one in branch.added(git, found.tip, tip):
        if one.number is not None and one.number <= found.sequence:
            continue  # of the old form, whose commits hold what was read before
        try:
            entry = branch.parse(one.where, one.content)
        except CorruptionError as error:
            found.problems = [str(error)]
            return
        if entry.sequence != found.sequence + 1 or entry.previous != found.digest:
            found.problems = [
                f"{one.where} does not follow from the entry before it: entries were changed, removed or put in, and "
                "what comes from there on does not count"
            ]
            return
        source.documents = one.documents
        why = refusal(found, entry, source, root)
        if why:
            found.refused[entry.sequence] = why
        else:
            apply(found, entry, source)
        reached(found, entry)
        source.digests[entry.sequence] = entry.digest()
        if one.number is None:
            found.tip = one.commit
    found.tip = tip


def pin(settings: Settings, known: memory.Memory) -> str:
    """The fingerprint of the first list that this installation was told, or that was seen; empty before."""
    return settings.root or next(iter(known.roots), "")


def _wrong_root(settings: Settings, known: memory.Memory, found: State) -> list[str]:
    other = [root for root in ([settings.root] if settings.root else known.roots) if root != found.root]
    if not other:
        return []
    there = f"the first list is {found.root}" if found.root else "the ledger has no list"
    told = "ASSAY_ROOT names" if settings.root else "this clone knows"
    if not settings.root and other[0] != known.clone.root:
        told = f"{settings.home / memory.NAME} holds"
    return [
        f"{there}, and {told} {other[0]}, so nothing that the ledger says is proven. Put the ledger back from a "
        "backup, or see 'Lost keys' in docs/ledger.md"
    ]


def _path(settings: Settings) -> Path:
    return settings.home / memory.STATE


def _kept(settings: Settings, git: Git, tip: str | None) -> State:
    """What was read before, where the tip comes after it; else the beginning."""
    try:
        found = State.model_validate_json(_path(settings).read_bytes())
    except (OSError, ValidationError):
        return State()
    if tip is None or found.form != State().form or not found.tip:
        return State()
    if settings.root and settings.root != found.root:
        return State()  # a new root changes what holds from its entry on
    if found.tip != tip:
        try:
            git.run("merge-base", "--is-ancestor", found.tip, tip)
        except GitError:
            return State()
    return found


def _keep(settings: Settings, found: State) -> None:
    handle, name = tempfile.mkstemp(dir=settings.home)
    with os.fdopen(handle, "w") as stream:
        stream.write(found.model_dump_json())
    Path(name).replace(_path(settings))
