"""GTO's tags, the public face of the registry: written from entries, compared with them, and never asked what holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.records.registry.authority import State, number_of
from tasks.records.registry.index import Row, index
from tasks.records.repository.git import Git
from tasks.spec.ledger import Entry
from tasks.spec.line import flat
from tasks.spec.settings import Settings

CHAMPION = "champion"
OURS = re.compile(r"(?a)(?P<model>[a-z][a-z0-9_]*)(@v\d+\.\d+\.\d+|#champion#\d{1,9})")
FACE = re.compile(r"[^@#]*[@#].*")
"""Names that GTO could mean; others are tags of people."""
FAR, LAST = 10**8, 10**9 - 1
"""Numbers that the next champion tag may leave out, and the last one: a tag beyond is none of an entry's."""


@dataclass(frozen=True)
class Tag:
    commit: str
    trailers: dict[str, str]
    """``Name: value`` lines of the last paragraph of its message."""


def message(entry: Entry) -> str:
    """What the tags of an assignment say: nothing that a person wrote."""
    subject = f"{entry.kind.replace('_', ' ')}: {entry.model} {entry.version}, entry {entry.sequence} of the ledger"
    return f"{subject}\n\nEvidence: {entry.evidence}\nEntry: {entry.digest()}\nKind: {entry.kind}\n"


def names_for(settings: Settings, git: Git, entry: Entry, tenures: int, new: bool) -> list[str]:
    """Names of the tags that an assignment makes.

    Its number comes after those of the tags that entries made, and is one that nobody took. What others have tagged
    far beyond does not count.
    """
    start = f"{entry.model}#{CHAMPION}#"
    taken = {number_of(name.removeprefix(start)) for name in _names(git, start)}
    number = tenures
    if max(taken, default=0) > tenures:
        with index(settings, git) as found:
            number = max(tenures, _newest_number(git, entry.model, found.assigned()))
    number = number + 1 if number < LAST else tenures + 1
    while number in taken:
        number += 1
    return [*([f"{entry.model}@{entry.version}"] if new else []), f"{start}{number}"]


def _newest_number(git: Git, model: str, assigned: Sequence[Row]) -> int:
    """The number of the newest champion tag that an entry made; 0 where there is none."""
    own = [
        number_of(name.rpartition("#")[2])
        for name, tag in read_tags(git, model).items()
        if "#" in name and OURS.fullmatch(name)
        if any(row.commit == tag.commit and _made(name, tag, row) for row in assigned if row.model == model)
    ]
    newest = 0
    for number in sorted(own):
        newest = number if number <= newest + FAR else newest
    return newest


def write(git: Git, names: list[str], entry: Entry, instead: bool = False) -> None:
    """Make annotated tags in the clone, as GTO would.

    Args:
        instead: put them in the place of tags that have these names.
    """
    forced = ["--force"] if instead else []
    for name in names:
        git.run("tag", *forced, "--annotate", "--file", "-", name, str(entry.commit), stdin=message(entry).encode())


def free_version(git: Git, model: str, highest: int) -> str:
    """The version after the highest that was given, whose tag nobody took."""
    taken = {number_of(name.removeprefix(f"{model}@")) for name in _names(git, f"{model}@v")}
    number = highest + 1
    while number in taken:
        number += 1
    return f"v{number}.0.0"


def _names(git: Git, start: str) -> list[str]:
    """Names of tags that begin so, up to a slash: beside a tag below a name, git takes none of that name."""
    asked = (f"refs/tags/{start}*", f"refs/tags/{start}*/**")
    return [name.split("/")[0] for name in git.lines("for-each-ref", "--format=%(refname:strip=2)", *asked)]


def read_tags(git: Git, model: str | None = None) -> dict[str, Tag]:
    """All tags that GTO could mean, by name; of one model, or of all."""
    form = "%(refname:strip=2)%09%(*objectname)%09%(objectname)%09%(contents)%00"
    found = {}
    asked = [f"refs/tags/{model}{sign}" for sign in ("@*", "#*", "@*/**", "#*/**")] if model else ["refs/tags"]
    for record in git.lines("for-each-ref", f"--format={form}", *asked, end="\0"):
        name, annotated, plain, text = (record.strip("\n").split("\t", 3) + ["", "", ""])[:4]
        if FACE.fullmatch(name):
            lines = [line.partition(": ") for line in text.strip().split("\n\n")[-1].split("\n")]
            found[name] = Tag(annotated or plain, {key: value for key, sign, value in lines if sign})
    return found


def tag_problems(git: Git, state: State, assigned: Sequence[Row], model: str | None = None) -> list[str]:
    """What differs between the tags and the entries that count, a sentence each; nothing of it changes what serves."""
    found = compare(git, state, assigned, model)
    absent = [
        f"tag {name} of entry {entry.sequence} is missing or moved, and what serves stays as it is. Put it back with: "
        "assay ledger --mend"
        for name, entry in found.missing
    ]
    return [*found.foreign, *absent]


@dataclass(frozen=True)
class Compared:
    foreign: list[str]
    """Sentences about tags that no entry made."""
    missing: list[tuple[str, Row]]
    """Names of tags that are not there, each with the entry that it is of."""


def compare(git: Git, state: State, assigned: Sequence[Row], model: str | None = None) -> Compared:
    """Tags against promotions and rollbacks, both ways; of one model, or of all."""
    counted = [
        row for row in assigned if row.sequence not in state.refused and row.version and model in (None, row.model)
    ]
    of: dict[tuple[str, str | None], list[Row]] = {}
    for row in counted:
        of.setdefault((row.model, row.commit), []).append(row)
    there = read_tags(git, model)
    foreign: list[str] = []
    made: set[tuple[int, bool]] = set()
    newest: dict[str, int] = {}
    for name in sorted(there, key=lambda n: (n.partition("#")[0], number_of(n.rpartition("#")[2]), n)):
        version, ours, number = "@" in name, OURS.fullmatch(name), number_of(name.rpartition("#")[2])
        same = of.get((ours["model"], there[name].commit), []) if ours else []
        fitting = [row for row in same if _made(name, there[name], row)]
        entry = next((row for row in fitting if (row.sequence, version) not in made), None)
        if entry is None or number > newest.get(entry.model, 0) + FAR:
            foreign.append(_foreign(name, there[name], bool(fitting)))
        else:
            made.add((entry.sequence, version))
            newest[entry.model] = max(number, newest.get(entry.model, 0))
    return Compared(foreign, _missing(counted, made))


def _missing(counted: list[Row], made: set[tuple[int, bool]]) -> list[tuple[str, Row]]:
    """Tags of entries that none was found for, by entry and whether it is that of the version."""
    missing: list[tuple[str, Row]] = []
    counts: dict[str, int] = {}
    known: set[tuple[str, str]] = set()
    for row in counted:
        counts[row.model] = counts.get(row.model, 0) + 1
        is_new = (row.model, str(row.version)) not in known
        known.add((row.model, str(row.version)))
        if is_new and (row.sequence, True) not in made:
            missing.append((f"{row.model}@{row.version}", row))
        if (row.sequence, False) not in made:
            missing.append((f"{row.model}#{CHAMPION}#{counts[row.model]}", row))
    return missing


def _made(name: str, tag: Tag, entry: Row) -> bool:
    """Whether an entry of its model and commit made a tag; tags before 2026-11-28 name its evidence alone."""
    if "@" in name and (entry.kind != "promoted" or name != f"{entry.model}@{entry.version}"):
        return False
    return tag.trailers.get("Evidence") == entry.evidence and tag.trailers.get("Entry", entry.digest) == entry.digest


def _foreign(name: str, tag: Tag, again: bool) -> str:
    if OURS.fullmatch(name) is None:
        return f"tag {flat(name)} is none that Assay makes; it changes nothing. Remove it from the origin"
    if again:
        return f"tag {name} repeats another tag of its entry: it was not made by Assay, and changes nothing"
    if "Evidence" not in tag.trailers:
        return f"tag {name} names no evidence: it was not made by Assay, and changes nothing"
    return (
        f"tag {name} names an entry for commit {tag.commit[:12]} that the ledger does not hold: entries were changed "
        "or cut off, or the tag was set past the ledger; it changes nothing"
    )
