"""How a copy of a ledger is forged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.proof.ledgers import Document, Ledger, files, write

Forgery = Callable[[Ledger, Path], None]
KINDS = 14
"""Entries of the ledger that is forged; positions of forgeries are counted from 1 to this."""

ODD = (
    "x\u2028y",
    "x\u2029y",
    "\x85x",
    "x\u2003",
    "\u3000x\u2028",
    "HEAD/x",
    os.fsdecode(b"x\xff"),
    "\u202ex",
    "\x9b1mx",
)
"""Names that git takes, and that hold what Python takes for the end of a line, for a blank, or for no text."""


def at_end(*entries: Callable[[Ledger], Document | tuple[Document, Document]]) -> Forgery:
    """Entries that somebody with the examiner's key chains to the newest one."""

    def forge(made: Ledger, repository: Path) -> None:
        after = made.commits[-1]
        for make in entries:
            found = make(made)
            entry, evidence = found if isinstance(found, tuple) else (found, None)
            write(repository, after, [files(made, entry, evidence)])

    return forge


def rewritten(change: Callable[[Ledger], list[Document]]) -> Forgery:
    """A whole branch of other entries, each with the evidence that it names."""
    return lambda made, repository: write(repository, None, [files(made, e) for e in change(made)])


def edited(entries: list[Document], at: int, **change: Any) -> list[Document]:
    return [{**e, **change} if n == at else e for n, e in enumerate(entries, 1)]


def own() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(b"m" * 32)
