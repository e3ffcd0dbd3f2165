"""What is wrong with the record: by a look at what is proven, and by the stand-alone verifier on the ledger."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.proof import verify as verifier
from tasks.proof.verify import Check, Found, Model, Repository, Unusable
from tasks.records.registry import branch
from tasks.records.registry.authority import State
from tasks.records.registry.index import index
from tasks.records.registry.memory import recall
from tasks.records.registry.state import Branch, pin, proven
from tasks.records.registry.tags import tag_problems
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import ensure_clone
from tasks.spec.errors import ConfigError
from tasks.spec.settings import Settings

KEPT = "ledger-verified.json"
"""In the home: what the verifier knew where all held the last time."""
CHANGED = "the index of this clone was not as it was written, and was made anew; look at who may write its home"


@dataclass(frozen=True)
class Verified:
    problems: list[str]
    """Everything that is wrong, one sentence each."""
    found: Found
    before: int
    """How many of the entries were checked by an earlier run, which is believed."""


class Resumed(Check):
    """A check that may go on from where all held; what came before that is looked up where it is asked for."""

    def __init__(self, repository: Repository, root: str, git: Git) -> None:
        super().__init__(repository, root)
        self.git = git

    def digest_of(self, number: int) -> str | None:
        return super().digest_of(number) or (Branch(self.git, self.since).digest_of(number) if self.since else None)


def verify(settings: Settings) -> list[str]:
    """Everything that is wrong with the ledger, one sentence each; empty where it holds."""
    return verified(settings).problems


def verified(settings: Settings, whole: bool = False) -> Verified:
    """Check the ledger by ``tasks/proof/verify.py``, with what this clone alone knows.

    That is the first list that it was told or saw, and the newest tip that it saw: what comes now must come after it.
    So an entry changed or cut off since then is always found. A clone that sees the ledger for the first time has no
    such memory. It cannot see a tail that was cut off together with its tags.

    Args:
        whole: check every entry, not only those since all held the last time.
    """
    git = ensure_clone(settings)
    now = proven(settings, git)
    root, anchor = pin(settings, recall(settings, git)), git.run("for-each-ref", "--format=%(objectname)", branch.SEEN)
    if now.remembered:
        root, anchor = "", ""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            check = Resumed(Repository(settings.clone, Path(scratch)), root, git)
            before = 0 if whole or now.remembered else _recall(check, settings.home / KEPT, anchor)
            found = check.run(anchor)
    except Unusable as error:
        raise ConfigError(f"the ledger cannot be verified: {error}. Install git and OpenSSH's client.") from None
    if check.present and not found.problems:
        _keep(check, settings.home / KEPT)
    with index(settings, git) as kept:
        if kept.mend():
            found.notices.append(CHANGED)
    return Verified([*now.remembered, *found.problems], found, before)


def _keep(check: Check, path: Path) -> None:
    """Write what the next run goes on from."""
    document = {
        "by": _by(check),
        "tip": check.found.tip,
        "root": check.found.root,
        "sequence": check.place,
        "head": check.previous,
        "evidence": check.files.get("evidence.json", ""),
        "lists": check.lists,
        "assigned": check.assigned,
        "models": {name: vars(model) for name, model in check.models.items()},
    }
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(document))
    draft.replace(path)


def _recall(check: Check, path: Path, anchor: str) -> int:
    """Let a check go on from where all held; gives how many entries come before that.

    From the beginning where the ledger, the verifier or the first list is another one now.
    """
    tip = next((check.repository.names[name] for name in verifier.BRANCHES if name in check.repository.names), "")
    try:
        kept: dict[str, Any] = json.loads(path.read_bytes())
        if kept["by"] != _by(check):
            return 0
        check.repository.git("merge-base", "--is-ancestor", kept["tip"], tip)
        found = {
            "since": kept["tip"],
            "lists": [(people, name, time) for people, name, time in kept["lists"]],
            "models": {name: _model(model) for name, model in kept["models"].items()},
            "files": {"evidence.json": kept["evidence"]},
            "present": True,
            "place": int(kept["sequence"]),
            "previous": kept["head"],
            "assigned": kept["assigned"],
        }
        root = kept["root"]
    except (OSError, ValueError, KeyError):
        return 0
    vars(check).update(found)
    check.found.root, check.found.entries = root, check.place
    if anchor:
        try:
            check.repository.git("merge-base", "--is-ancestor", anchor, check.since)
            check.held.add(anchor)
        except ValueError:  # it came since, or is none of this ledger: the check itself says so
            pass
    return check.place


def _by(check: Check) -> list[str]:
    """Which verifier kept it, and for which first list."""
    return [verifier.digest(Path(verifier.__file__).read_bytes()), check.root]


def _model(kept: dict[str, Any]) -> Model:
    model = Model()
    vars(model).update(kept)
    return model


def told(settings: Settings, model: str | None = None) -> tuple[State, list[str]]:
    """What is proven, and what is wrong with the record as far as a look at it shows.

    None of it changes what serves. :func:`verified` checks all anew.

    Args:
        model: leave out what is about another model alone.
    """
    git = ensure_clone(settings)
    with index(settings, git) as found:
        now = found.now
        of = found.models(list(now.refused))
        assigned = found.assigned()
    refused = [
        f"entry {sequence} does not count: {why}"
        for sequence, why in sorted(now.refused.items())
        if model is None or of.get(sequence) in (model, "")
    ]
    return now, [*now.problems, *refused, *tag_problems(git, now, assigned, model)]
