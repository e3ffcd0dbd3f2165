"""Forgeries of each entry in turn, by who may push to the origin."""

from __future__ import annotations

from collections.abc import Callable

from tests.proof.forging import KINDS, Forgery, edited, own, rewritten
from tests.proof.ledgers import Document, chained, sealed, write


def swapped(entries: list[Document], at: int) -> list[Document]:
    return [*entries[: at - 1], entries[at], entries[at - 1], *entries[at + 1 :]]


BY_POSITION: dict[str, tuple[range, Callable[[int], Forgery], str]] = {
    "edited": (range(1, KINDS + 1), lambda at: rewritten(lambda m: edited(m.entries, at, actor="them")), "entry {at}"),
    "edited and chained anew": (
        range(2, KINDS + 1),
        lambda at: rewritten(lambda m: chained(edited(m.entries, at, actor="them"))),
        "entry {at} does not count: it is not signed by an examiner",
    ),
    "unsigned and chained anew": (
        range(2, KINDS + 1, 3),
        lambda at: rewritten(
            lambda m: chained(
                [{k: v for k, v in e.items() if k != "signature" or n != at} for n, e in enumerate(m.entries, 1)]
            )
        ),
        "entry {at} does not count: no examiner signed it",
    ),
    "deleted": (
        range(1, KINDS),
        lambda at: rewritten(lambda m: [*m.entries[: at - 1], *m.entries[at:]]),
        "entry {at} is missing",
    ),
    "deleted and chained anew": (
        range(2, KINDS),
        lambda at: rewritten(lambda m: chained([*m.entries[: at - 1], *m.entries[at:]])),
        "entry {at} does not count: it is not signed by an examiner",
    ),
    "swapped and chained anew": (
        range(2, KINDS),
        lambda at: rewritten(lambda m: chained(swapped(m.entries, at))),
        "entry {at} does not count",
    ),
    "tail cut off, tags left": (
        range(2, KINDS),
        lambda at: lambda m, r: write(r, m.commits[at - 1], []),
        "does not hold {anchor}",
    ),
    "signed by a stranger": (
        range(2, KINDS + 1, 4),
        lambda at: rewritten(
            lambda m: chained([sealed(e, own()) if n == at else e for n, e in enumerate(m.entries, 1)])
        ),
        "entry {at} does not count: it is not signed by an examiner",
    ),
    "signature of another entry": (
        range(3, KINDS + 1, 4),
        lambda at: rewritten(lambda m: chained(edited(m.entries, at, signature=m.entries[0]["signature"]))),
        "entry {at} does not count: it is not signed by an examiner",
    ),
    "signed in another namespace": (
        range(2, KINDS + 1, 5),
        lambda at: rewritten(
            lambda m: chained([sealed(e, m.examiner, "assay") if n == at else e for n, e in enumerate(m.entries, 1)])
        ),
        "entry {at} does not count: it is not signed by an examiner",
    ),
}
