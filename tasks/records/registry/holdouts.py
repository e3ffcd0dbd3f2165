"""Which candidates were measured on which rows of a holdout, as the ledger's entries that count say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tasks.records.registry import ledger
from tasks.records.registry.candidates import Told, candidates
from tasks.spec.data_record import DataRecord
from tasks.spec.evidence import HoldoutRows
from tasks.spec.settings import Settings

FIT = ("examined", "awaiting_signature", "promoted")
"""What follows a verdict that passed."""


@dataclass(frozen=True)
class Asked:
    """One candidate that was measured on a holdout. Its numbers are in git from then on, whatever became of it."""

    model: str
    commit: str
    rows: HoldoutRows | None
    """None where the entry does not say: those before 2026-12-01, and one that cannot be read."""
    model_digest: str
    """Of its model file; empty where the entry does not say."""
    actors: tuple[str, ...]
    """Who asked for it, or for a verdict on it."""
    verdicts: tuple[bool, ...]
    """Whether each verdict on it passed, oldest first; none of a candidate whose run ended before."""
    files: tuple[str, ...] = ()
    """sha256 of the files that its rows came from, as the entry or its manifest says."""
    standing: bool = True
    """Whether no later candidate of the model was promoted: what such a one holds out may train the next."""


def asked(settings: Settings) -> dict[str, list[Asked]]:
    """Every candidate that was measured by its model, in the order of their first entries.

    Raises:
        CorruptionError: nothing that the ledger says is proven, or a document of it was changed.
    """
    entries, _ = ledger.counting(settings)
    models = dict.fromkeys(entry.model for entry in entries if entry.model)
    told = {model: [one for one in candidates(entries, model) if not one.first.rejected_untrained] for model in models}
    named = [one.trained_evidence for found in told.values() for one in found if one.trained_evidence]
    documents = dict(ledger.documents(settings, named))
    return {
        model: [
            _asked(model, one, documents.get(one.trained_evidence or "", {}), place >= _champion(found))
            for place, one in enumerate(found)
        ]
        for model, found in told.items()
    }


def _champion(found: list[Told]) -> int:
    """The place of the newest that was promoted; before all, where none was."""
    return max((place for place, one in enumerate(found) if one.version is not None), default=-1)


def _asked(model: str, told: Told, trained: dict, standing: bool) -> Asked:
    try:
        rows = HoldoutRows.model_validate(trained.get("holdout"), strict=False)
    except ValidationError:
        rows = None
    manifest = trained.get("manifest")
    made = manifest if isinstance(manifest, dict) else {}
    digest = made.get("model_digest")
    return Asked(
        model=model,
        commit=told.commit,
        rows=rows,
        model_digest=digest if isinstance(digest, str) else "",
        actors=tuple(dict.fromkeys(entry.actor for entry in told.entries)),
        verdicts=tuple(_verdicts(told)),
        files=rows.files if rows is not None and rows.files else _files(made.get("data")),
        standing=standing,
    )


def _files(data: Any) -> tuple[str, ...]:
    """Of candidates from before an entry named them."""
    try:
        return tuple(file.sha256 for file in DataRecord.model_validate(data, strict=False).files)
    except ValidationError:
        return ()


def _verdicts(told: Told) -> list[bool]:
    """A promotion after a signature is the verdict that waited for it, and no other."""
    kinds = [entry.kind for entry in told.entries if entry.kind != "trained"]
    signed = "awaiting_signature" in kinds
    return [kind in FIT for kind in kinds if not (kind == "promoted" and signed)]
