"""Forgeries of the trees of commits, by who may push: in the present form, in the old one, and across both."""

from __future__ import annotations

from collections.abc import Callable

from tasks.spec.base import canonical_json
from tests.proof.by_git import adds, newest
from tests.proof.forging import KINDS, Forgery
from tests.proof.ledgers import Commit, Ledger, files, following, write


def then(*makes: Callable[[Ledger], Commit], after: int = -1) -> Forgery:
    """Commits after one of the ledger."""
    return lambda made, repository: write(repository, made.commits[after], [make(made) for make in makes])


def again(at: int, **change: str) -> Callable[[Ledger], Commit]:
    """The commit of an entry once more, perhaps changed."""
    return lambda made: files(made, {**made.entries[at - 1], **change})


def unnamed(made: Ledger) -> Commit:
    path = f"evidence/{'0' * 64}.json" if made.old else "evidence.json"
    return {**files(made, following(made, kind="examined")), path: b"{}"}


def two(made: Ledger) -> Commit:
    return {**files(made, made.entries[-2]), **files(made, made.entries[-1])}


NEWEST = f"entries/{KINDS:06d}.json"
PRESENT: dict[str, tuple[Forgery, str]] = {
    "an entry's name with a line end of Unicode": (
        adds("entry.json\u2028", b"x"),
        'adds 0 entries and "entry.json\\342\\200\\250"',
    ),
    "evidence deleted": (then(lambda m: {"evidence.json": None}), "adds 0 entries, and a commit of the ledger adds"),
    "evidence left out": (
        then(lambda m: {**files(m, m.entries[-1]), "evidence.json": None}, after=-2),
        "entry 14: the ledger holds no evidence",
    ),
    "evidence that nobody names": (then(unnamed), "adds evidence that its entry 15 does not name"),
    "a symbolic link": (newest(lambda c: ("120000", b"/etc/passwd")), "adds 0 entries and entry.json"),
    "a file that can be run": (newest(lambda c: ("100755", c)), "adds 0 entries and entry.json"),
    "another mode later": (
        then(lambda m: {"entry.json": ("100755", canonical_json(m.entries[-1]))}),
        "adds 0 entries and entry.json",
    ),
    "the entry deleted": (then(lambda m: {"entry.json": None}), "adds 0 entries, and a commit of the ledger adds"),
    "a file of another name": (adds("entries/notes.txt", b"x"), "adds 0 entries and entries/notes.txt"),
    "a file beside": (adds("README.md", b"x"), "adds 0 entries and README.md"),
    "an entry in the old place": (
        then(lambda m: {"entries/000015.json": canonical_json(following(m, kind="examined"))}),
        "adds 0 entries and entries/000015.json",
    ),
    "an entry in both places": (
        then(lambda m: {**files(m, following(m, kind="examined")), "entries/000015.json": b"{}"}),
        "adds 1 entries and entries/000015.json",
    ),
    "evidence in the old place": (
        then(lambda m: {**files(m, following(m, kind="examined")), f"evidence/{'0' * 64}.json": b"{}"}),
        "adds 1 entries and evidence/0000",
    ),
    "entries in another order": (then(again(14), again(13), after=-3), "entry 13 is missing: 14 stands in its place"),
    **{
        f"entry {at} once more": (then(again(at)), f"entry 15 is missing: {at} stands in its place")
        for at in (1, 6, 13)
    },
    **{
        f"entry {at} once more, edited": (then(again(at, actor="them")), f"entry 15 is missing: {at} stands in its")
        for at in (1, 7, 14)
    },
}
OLD: dict[str, tuple[Forgery, str]] = {
    "evidence deleted": (
        then(lambda m: {f"evidence/{m.entries[-1]['evidence'][7:]}.json": None}),
        "changes or removes evidence/",
    ),
    "evidence left out": (
        then(lambda m: {NEWEST: canonical_json(m.entries[-1])}, after=-2),
        "entry 14: the ledger holds no evidence",
    ),
    "evidence that nobody names": (then(unnamed), "adds evidence that its entry 15 does not name"),
    "a symbolic link": (newest(lambda c: ("120000", b"/etc/passwd")), f"adds 0 entries and {NEWEST}"),
    "a file that can be run": (newest(lambda c: ("100755", c)), f"adds 0 entries and {NEWEST}"),
    "another mode later": (
        then(lambda m: {NEWEST: ("100755", canonical_json(m.entries[-1]))}),
        f"changes or removes {NEWEST}",
    ),
    "a file of another name": (adds("entries/notes.txt", b"x"), "adds 0 entries and entries/notes.txt"),
    "a file beside": (adds("README.md", b"x"), "adds 0 entries and README.md"),
    "a file below": (adds("entries/1/000015.json", b"{}"), "adds 0 entries and entries/1/000015.json"),
    "an entry under another number": (
        then(lambda m: {"entries/000099.json": canonical_json(m.entries[-1])}),
        "its number is not that of its file",
    ),
    "two entries in a commit": (then(two, after=-3), "adds 2 entries"),
    "entries in another order": (then(again(14), again(13), after=-3), "entry 13 is missing: 14 stands in its place"),
    **{
        f"entry {at} edited by a later commit": (
            then(again(at, actor="them")),
            f"changes or removes entries/{at:06d}.json",
        )
        for at in range(1, KINDS + 1, 4)
    },
    **{
        f"entry {at} deleted by a later commit": (
            lambda m, r, at=at: write(r, m.commits[-1], [{f"entries/{at:06d}.json": None}]),
            f"changes or removes entries/{at:06d}.json",
        )
        for at in range(1, KINDS + 1, 4)
    },
}
