"""What ``assay ledger --verify`` checks: chain, evidence, signatures, who might, history, and tags both ways."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.records.registry import branch, ledger
from tasks.records.registry.authority import State
from tasks.records.registry.state import pin, proven, read_on
from tasks.records.registry.tags import tag_problems
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import ensure_clone
from tasks.spec.errors import CorruptionError
from tasks.spec.ledger import Entry
from tasks.spec.settings import Settings


@dataclass(frozen=True)
class Verified:
    problems: list[str]
    """Everything that is wrong, one sentence each."""
    state: State


def verify(settings: Settings) -> list[str]:
    """Everything that is wrong with the ledger, one sentence each; empty where it holds."""
    return verified(settings).problems


def verified(settings: Settings) -> Verified:
    """Check the whole ledger anew, with nothing that was read before.

    Checked are:

    - the chain of entries, and each entry's evidence;
    - signatures of entries, lists and warrants, each by the list in force at its place;
    - the branch's history: each commit adds one entry and changes none;
    - the registry's tags, both ways: every tag was made by an entry, and every entry's tags are there;
    - the newest tip that this clone saw before: what comes now must come after it, so that an entry changed or cut off
      since then is always found.

    A clone that sees the ledger for the first time has no such memory. It cannot see a tail that was cut off together
    with its tags.
    """
    git = ensure_clone(settings)
    told = proven(settings, git).problems  # the memory of this clone: another root, a rewritten branch
    tip = branch.tip_of(git)
    if tip is None:
        return Verified(told + tag_problems(git, State(), []), State())
    found = State()
    read_on(found, git, tip, pin(settings, git))
    chain, entries = _chain(git, tip)
    refused = [f"entry {sequence} does not count: {why}" for sequence, why in sorted(found.refused.items())]
    told = [sentence for sentence in told if sentence not in found.problems]
    problems = [*told, *chain, *refused, *_history(git, tip), *tag_problems(git, found, entries)]
    return Verified(problems, found)


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


def _chain(git: Git, tip: str) -> tuple[list[str], list[Entry]]:
    problems: list[str] = []
    found: list[Entry] = []
    files = branch.files(git, tip, "entries/", "evidence/")
    previous: str | None = None
    known = True
    for position, path in enumerate(branch.entry_paths(git, tip), 1):
        try:
            entry = branch.parse(path, files[path])
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
        problem = branch.evidence_problem(files, entry.evidence) if entry.evidence else None
        if problem:
            problems.append(f"entry {entry.sequence}: {problem}")
        previous, known = entry.digest(), True
        found.append(entry)
    return problems, found


def _history(git: Git, tip: str) -> list[str]:
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
