"""DVC stage: label, filter and split the rows; take in what was collected in production."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tasks.science.data.splitting import split_base, split_collected
from tasks.science.data.tables import content_digest
from tasks.spec.data_record import DataRecord, Ingested
from tasks.spec.errors import ConfigError, CorruptionError, Problem
from tasks.spec.training import TrainingConfig
from tasks.stages.common import ModelPaths, run


def prepare(paths: ModelPaths, config: TrainingConfig) -> None:
    """Write ``prepared/{train,holdout,replay}.parquet``, and ``prepared/record.json`` with what became of all rows."""
    split = split_base(config, paths.table(paths.ingested, "ingest", (c.name for c in config.data.columns)))
    parts = split.frames
    sides = {side: len(rows) for side, rows in parts.items()}
    timed = config.data.split.by == "time"
    for side in ("train", "holdout"):
        if parts[side].empty:
            raise ConfigError(
                f"the {side} side of {config.name} has no row; look at data.rows, data.base and data.split"
                + (
                    f", and at how many values {config.data.period} has: rows of one are never divided."
                    if timed
                    else "."
                )
            )
    _check_features(config, parts["train"])
    _check_pin(config, parts["holdout"])
    collected = sorted(paths.collected.glob("*.parquet"))
    for path in collected:
        benchmark = "recent" if path == collected[-1] else "earlier"
        for side, rows in split_collected(config, _collected(path), benchmark).items():
            parts[side] = pd.concat([parts[side], rows], ignore_index=True)
    with paths.reading(paths.ingested_record, "ingest"):
        source = Ingested.model_validate_json(paths.ingested_record.read_text())
    record = DataRecord(
        files=source.files,
        rows=source.rows,
        dropped=split.dropped,
        sides=sides,
        weight=config.data.weight,
        collected=sum(map(len, parts.values())) - sum(sides.values()),
    )
    paths.prepared.mkdir(parents=True, exist_ok=True)
    paths.record.write_text(record.model_dump_json(indent=2) + "\n")
    for side, rows in parts.items():
        rows.to_parquet(paths.prepared / f"{side}.parquet", index=False)


def _collected(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        said = (str(error).splitlines() or [""])[0]
        raise CorruptionError(
            f"{path} cannot be read ({said}). Fetch it again: dvc checkout --force {path.name}.dvc."
        ) from None


def _check_features(config: TrainingConfig, train: pd.DataFrame) -> None:
    empty = [name for name in config.features if train[name].isna().all()]
    if empty:
        raise ConfigError(
            f"{', '.join(empty)} {'is' if len(empty) == 1 else 'are'} missing in all {len(train):,} training rows of "
            f"{config.name}, so nothing can be learned from it. Look at the column's missing and at data.rows, or take "
            "it out of features.",
            tuple(
                Problem(("data", "columns", name), f"column {name} is missing in all {len(train):,} training rows")
                for name in empty
            ),
        )


def _check_pin(config: TrainingConfig, holdout: pd.DataFrame) -> None:
    found, pinned = content_digest(holdout), config.data.holdout_sha256
    if pinned is not None and found != pinned:
        raise CorruptionError(
            f"the holdout of {config.name} has digest {found}, and data.holdout_sha256 pins {pinned}. A benchmark that "
            "changes compares nothing: restore the data or the split, or pin the new digest on purpose."
        )


if __name__ == "__main__":
    run(prepare)
