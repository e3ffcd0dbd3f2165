"""The verifier imports nothing of Assay, so what both must know alike is compared here."""

from __future__ import annotations

from typing import get_args

from tasks.proof import verify
from tasks.spec.ledger import EntryKind


def test_the_verifier_knows_every_kind_of_entry_that_assay_writes() -> None:
    """One more kind in Assay alone would make the verifier name honest entries."""
    assert get_args(EntryKind) == verify.KINDS
