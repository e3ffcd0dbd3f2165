"""How a copy of a ledger is forged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.proof.ledgers import Document, Ledger, files, write

Forgery = Callable[[Ledger, Path], None]
KINDS = 14
"""Entries of the ledger that is forged; positions of forgeries are counted from 1 to this."""


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
