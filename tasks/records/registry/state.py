"""What the ledger's entries prove, read once and kept: champion, versions, stops, candidates that wait, the list."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.records.registry import branch
from tasks.records.registry.authority import ModelState, State, apply, refusal
from tasks.records.repository.git import Git, GitError
from tasks.records.repository.workspace import ensure_clone, lock
from tasks.spec.errors import CorruptionError
from tasks.spec.settings import Settings

ROOT = "assay.root"
"""The key of the clone's git config that keeps the fingerprint of the first list."""


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
    tip = branch.tip_of(git)
    seen = branch.seen_beyond(git, tip)
    at = seen or tip
    found = _kept(settings, git, at)
    if at is not None and (found.tip != at or found.problems):  # what broke it may have been put back
        read_on(found, git, at, pin(settings, git))
        _keep(settings, found)
    if seen is None:  # what cannot be read is not taken for what was there
        branch.remember(git, found.tip)
    if found.root:
        _pin(settings, git, found)
    wrong = _wrong_root(settings, git, found)
    remembered = [*([branch.rewritten(settings, seen, tip)] if seen else []), *wrong]
    change: dict[str, Any] = {"problems": [*found.problems, *remembered], "remembered": remembered}
    change |= {"models": {}} if wrong else {}
    return found.model_copy(update=change)


def model_state(settings: Settings, git: Git, model: str) -> ModelState:
    """What is proven of one model.

    Raises:
        CorruptionError: the first list is not the one that this installation was told, so that nothing is proven.
    """
    found = proven(settings, git)
    wrong = _wrong_root(settings, git, found)
    if wrong:
        raise CorruptionError(wrong[0])
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
        found.sequence, found.digest, found.newest = entry.sequence, entry.digest(), entry.time
        source.digests[entry.sequence] = found.digest
        if one.number is None:
            found.tip = one.commit
    found.tip = tip


def pin(settings: Settings, git: Git) -> str:
    """The fingerprint of the first list that this installation was told, or that its clone saw; empty before."""
    return settings.root or git.run("config", "--default", "", "--get", ROOT)


def _wrong_root(settings: Settings, git: Git, found: State) -> list[str]:
    wanted = pin(settings, git)
    if not wanted or wanted == found.root:
        return []
    there = f"the first list is {found.root}" if found.root else "the ledger has no list"
    told = "ASSAY_ROOT names" if settings.root else "this clone knows"
    return [
        f"{there}, and {told} {wanted}, so nothing that the ledger says is proven. Put the ledger back from a backup, "
        "or see 'Lost keys' in docs/ledger.md"
    ]


def _pin(settings: Settings, git: Git, found: State) -> None:
    known = git.run("config", "--default", "", "--get", ROOT)
    if known != found.root and (not known or found.root == settings.root):
        git.run("config", ROOT, found.root)


def _path(settings: Settings) -> Path:
    return settings.home / "ledger-state.json"


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
