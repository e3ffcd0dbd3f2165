"""What commands change in a person's checkout: the snapshot of a source, and a branch for the trial of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.cli.common import ROOT, Json, Model, say, settings
from tasks.spec.errors import ConfigError


def snapshot(model: Model, as_json: Json = False) -> None:
    """Ask the query of a model's source again, and keep its rows as a Parquet file that DVC tracks."""
    found = take(ROOT, model)
    text = f"{found['rows']:,} rows in {found['file']}. Commit {found['pointer']}, and push it with 'dvc push'."
    say(found, as_json, text)


def take(root: Path, model: str) -> dict[str, Any]:
    """Write the snapshot of a model's SQL source into this checkout, and let DVC track it.

    Raises:
        ConfigError: there is no such model, its rows come from elsewhere, or the query cannot be asked.
        UnreachableError: the database does not answer.
        StageError: DVC failed.
    """
    from tasks.records.repository import dvc
    from tasks.spec.data_source import SqlSource
    from tasks.spec.model import load_model
    from tasks.tables.sql import take_snapshot

    source = load_model(root, model).data.source
    if not isinstance(source, SqlSource):
        raise ConfigError(
            f"data.source of {model} is of kind {source.kind}; only rows of kind sql are asked from a database. Change "
            "the file itself, and track it with 'dvc add'."
        )
    rows = take_snapshot(root, source)
    dvc.add(root, root / source.snapshot)
    return {"file": source.snapshot, "pointer": f"{source.snapshot}.dvc", "rows": rows}


def adopt(
    model: Model,
    trial: Annotated[
        int | None, typer.Option(help="The trial; without it the first, where no other is a compromise.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="The study; without it the one that was searched last.")] = None,
    as_json: Json = False,
) -> None:
    """Commit a trial's configuration on a branch of this checkout; its working tree stays as it is."""
    from tasks import adoption

    record, found = adoption.chosen(settings(), model, study, trial)
    done = adoption.adopt(ROOT, model, record, found)
    text = (
        f"branch {done.branch} holds the configuration of trial {done.trial} of study {done.study} "
        f"(commit {done.commit[:12]}).\nExamine it: assay examine {model} --revision {done.branch}, once it is pushed; "
        f"or merge it and push."
    )
    say(done.__dict__, as_json, text)
