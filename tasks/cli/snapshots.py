"""``assay snapshot``: the query of a model's source asked again, and its rows kept under DVC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.records.repository import dvc
from tasks.spec.data_source import SqlSource
from tasks.spec.errors import ConfigError
from tasks.spec.model import load_model
from tasks.tables.sql import take_snapshot


def snapshot(root: Path, model: str) -> dict[str, Any]:
    """Write the snapshot of a model's SQL source into this checkout, and let DVC track it.

    Raises:
        ConfigError: there is no such model, its rows come from elsewhere, or the query cannot be asked.
        UnreachableError: the database does not answer.
        StageError: DVC failed.
    """
    source = load_model(root, model).data.source
    if not isinstance(source, SqlSource):
        raise ConfigError(
            f"data.source of {model} is of kind {source.kind}; only rows of kind sql are asked from a database. Change "
            "the file itself, and track it with 'dvc add'."
        )
    rows = take_snapshot(root, source)
    dvc.add(root, root / source.snapshot)
    return {"file": source.snapshot, "pointer": f"{source.snapshot}.dvc", "rows": rows}


def snapshot_text(found: dict[str, Any]) -> str:
    return f"{found['rows']:,} rows in {found['file']}. Commit {found['pointer']}, and push it with 'dvc push'."
