"""Which candidates were measured on which rows of a holdout, as the ledger's entries that count say."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from tasks.records.registry import ledger
from tasks.records.registry.candidates import Told, candidates
from tasks.spec.evidence import HoldoutRows
from tasks.spec.settings import Settings

FIT = ("examined", "awaiting_signature", "promoted")
"""What follows a verdict that passed."""


@dataclass(frozen=True)
class Asked:
    """One candidate that was measured on a holdout. Its numbers are in git from then on, whatever became of it."""

    commit: str
    rows: HoldoutRows | None
    """None where the entry does not say: those before 2026-12-01, and one that cannot be read."""
    model_digest: str
    """Of its model file; empty where the entry does not say."""
    actors: tuple[str, ...]
    """Who asked for it, or for a verdict on it."""
    verdicts: tuple[bool, ...]
    """Whether each verdict on it passed, oldest first; none of a candidate whose run ended before."""


def asked(settings: Settings, model: str) -> list[Asked]:
    """Every candidate of a model that was measured, in the order of their first entries.

    Raises:
        CorruptionError: nothing that the ledger says is proven, or a document of it was changed.
    """
    entries, _ = ledger.counting(settings)
    found = [told for told in candidates(entries, model) if not told.first.rejected_untrained]
    named = [told.trained_evidence for told in found if told.trained_evidence]
    documents = dict(ledger.documents(settings, named))
    return [_asked(told, documents.get(told.trained_evidence or "", {})) for told in found]


def _asked(told: Told, trained: dict) -> Asked:
    try:
        rows = HoldoutRows.model_validate(trained.get("holdout"), strict=False)
    except ValidationError:
        rows = None
    manifest = trained.get("manifest")
    digest = manifest.get("model_digest") if isinstance(manifest, dict) else None
    return Asked(
        commit=told.commit,
        rows=rows,
        model_digest=digest if isinstance(digest, str) else "",
        actors=tuple(dict.fromkeys(entry.actor for entry in told.entries)),
        verdicts=tuple(_verdicts(told)),
    )


def _verdicts(told: Told) -> list[bool]:
    """A promotion after a signature is the verdict that waited for it, and no other."""
    kinds = [entry.kind for entry in told.entries if entry.kind != "trained"]
    signed = "awaiting_signature" in kinds
    return [kind in FIT for kind in kinds if not (kind == "promoted" and signed)]
