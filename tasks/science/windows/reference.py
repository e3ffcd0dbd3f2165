"""What the windows of one version are compared with, fitted once on its reference window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from tasks.science.models.embeddings import Represent
from tasks.science.monitors.drift.monitor import DRIFT
from tasks.science.monitors.protocol import EXPLAINED, FitInput, Monitor, Reference
from tasks.science.windows.monitors import watching
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.formats import FITTED_REFERENCE, refuse_other_format
from tasks.spec.model import ModelConfig

Explain = Callable[[pd.DataFrame, int], pd.DataFrame]


def fit_reference(
    config: ModelConfig, represent: Represent, rows: pd.DataFrame, explain: Explain, kept: dict[str, Any] | None = None
) -> Reference:
    """Everything that is costly, on the rows of the newest benchmark.

    Args:
        rows: (m, columns) labelled and scored.
        explain: attributions (r, features) of raw rows under a seed.
        kept: a document of before. What it holds of a monitor, and what can be read, is taken; the rest is fitted.
    """
    stored = kept if kept is not None and kept.get("format") == FITTED_REFERENCE.number else {}
    basis = FitInput(config, represent, rows)
    documents = {m.name: _document(m, basis, stored.get(m.name)) for m in watching() if m.fits}
    explained = _frame(stored["attributions"]) if "attributions" in stored else _explained(config, rows, explain)
    return _reference(rows, documents, explained)


def load_reference(document: dict[str, Any], rows: pd.DataFrame) -> Reference:
    """What :func:`reference_document` wrote, and the rows that it was fitted on.

    Raises:
        ConfigError, CorruptionError: it was written in another format, is none, or lacks what a monitor fits.
    """
    refuse_other_format(document, FITTED_REFERENCE, "It is fitted again.")
    lacking = [m.name for m in watching() if m.fits and m.name not in document]
    if lacking or "attributions" not in document:
        raise ConfigError(f"the fitted reference lacks {', '.join(lacking) or 'attributions'}. It is fitted again.")
    documents = {m.name: document[m.name] for m in watching() if m.fits}
    return _reference(rows, documents, _frame(document["attributions"]))


def reference_document(reference: Reference) -> dict[str, Any]:
    """All but the rows, and what follows from them quickly, as JSON."""
    explained = {str(name): [float(v) for v in column] for name, column in reference.attributions.items()}
    return {"format": FITTED_REFERENCE.number, **reference.documents, "attributions": explained}


def _document(monitor: Monitor, basis: FitInput, stored: dict[str, Any] | None) -> dict[str, Any]:
    """What a monitor fits, as it was stored where it can be read."""
    if stored is not None:
        try:
            monitor.load(stored)
            return stored
        except (ConfigError, CorruptionError):
            pass  # another format: it follows from the version's files, so it is fitted again
    return monitor.fit(basis) or {}


def _reference(rows: pd.DataFrame, documents: dict[str, dict[str, Any]], explained: pd.DataFrame) -> Reference:
    fitted = {m.name: m.load(documents[m.name]) for m in watching() if m.fits}
    return Reference(rows, explained, fitted[DRIFT.name].layout, fitted, documents)


def _explained(config: ModelConfig, rows: pd.DataFrame, explain: Explain) -> pd.DataFrame:
    """(k, features) attributions of at most :data:`EXPLAINED` rows, drawn at random."""
    if rows.empty:
        return pd.DataFrame(columns=list(config.features), dtype=float)
    return explain(rows.sample(min(EXPLAINED, len(rows)), random_state=config.seed), config.seed)


def _frame(stored: dict[str, list[float]]) -> pd.DataFrame:
    return pd.DataFrame(stored)
