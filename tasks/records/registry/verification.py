"""What is wrong with the record: by a look at what is proven, and by the stand-alone verifier on the whole ledger."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.proof.verify import Found, Unusable, check
from tasks.records.registry import branch, ledger
from tasks.records.registry.authority import State
from tasks.records.registry.state import pin, proven
from tasks.records.registry.tags import tag_problems
from tasks.records.repository.workspace import ensure_clone
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.ledger import Entry
from tasks.spec.settings import Settings


@dataclass(frozen=True)
class Verified:
    problems: list[str]
    """Everything that is wrong, one sentence each."""
    found: Found


def verify(settings: Settings) -> list[str]:
    """Everything that is wrong with the ledger, one sentence each; empty where it holds."""
    return verified(settings).problems


def verified(settings: Settings) -> Verified:
    """Check the whole ledger anew by ``tasks/proof/verify.py``, with what this clone alone knows.

    That is the first list that it was told or saw, and the newest tip that it saw: what comes now must come after it.
    So an entry changed or cut off since then is always found. A clone that sees the ledger for the first time has no
    such memory. It cannot see a tail that was cut off together with its tags.
    """
    git = ensure_clone(settings)
    known = proven(settings, git).remembered
    root, seen = pin(settings, git), git.run("for-each-ref", "--format=%(objectname)", branch.SEEN)
    try:
        found = check(settings.clone, *(("", "") if known else (root, seen)))
    except Unusable as error:
        raise ConfigError(f"the ledger cannot be verified: {error}. Install git and OpenSSH's client.") from None
    return Verified([*known, *found.problems], found)


def told(settings: Settings, model: str | None = None) -> tuple[State, list[Entry], list[str]]:
    """What is proven, all entries, and what is wrong with the record as far as a look at it shows.

    None of it changes what serves. :func:`verified` checks all anew.

    Args:
        model: leave out what is about another model alone.
    """
    git = ensure_clone(settings)
    now = proven(settings, git)
    try:
        entries = ledger.entries(settings)
    except CorruptionError as error:
        return now, [], list(dict.fromkeys([*now.problems, str(error)]))
    of = {e.sequence: e.model for e in entries}
    refused = [
        f"entry {sequence} does not count: {why}"
        for sequence, why in sorted(now.refused.items())
        if model is None or of.get(sequence) in (model, "")
    ]
    return now, entries, [*now.problems, *refused, *tag_problems(git, now, entries, model)]
