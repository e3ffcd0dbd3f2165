"""The stages run in a folder of their own: ingest and prepare on all rows, train and evaluate on a few."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.checks.documents import Document, Finding
from tasks.science.data.tables import LABEL
from tasks.serving.readiness import measure
from tasks.spec.data import Column
from tasks.spec.data_source import Reading
from tasks.spec.errors import AssayError, ConfigError, CorruptionError, Problem
from tasks.spec.training import TrainingConfig
from tasks.stages.common import ModelPaths
from tasks.stages.evaluate import evaluate
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train
from tasks.tables.typed import column_values, typed

FITTED_ROWS = 1000
"""Training rows of the small fit."""
LEAST_OF_A_CLASS = 50
"""Rows of each class among them, where there are so many."""
ASKED = 20
"""Rows that are sent through the service's schema."""


@dataclass(frozen=True)
class Scratch(ModelPaths):
    """A model's files, of which the stages write theirs into a folder that nobody keeps."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder


def ingested(
    paths: Scratch, config: TrainingConfig, document: Document, doubtful: set[str]
) -> tuple[TrainingConfig, list[Finding]]:
    """Read the whole source as the stage does; a cell that is wrong is reported, and missing from there on.

    Args:
        doubtful: columns whose declaration was wrong, so that nothing can be said about their cells.

    Returns:
        The config, in which columns with wrong cells may have gaps, and what was found.
    """
    found: dict[tuple[str | int, ...], Problem] = {}

    def converted(columns: Iterable[Column], cells: pd.DataFrame, reading: Reading, *at: Any) -> pd.DataFrame:
        try:
            return typed(columns, cells, reading, *at)
        except ConfigError as error:
            for problem in error.problems:
                found.setdefault(problem.where, problem)
            values = {c.name: column_values(c, cells[c.name], reading) for c in columns}
            return pd.DataFrame({name: v.mask(wrong) for name, (v, wrong) in values.items()}, index=cells.index)

    try:
        ingest(paths, config, converted)
    except AssayError as error:
        return config, [document.finding(_absent(document, str(error)) or ("data", "source"), str(error))]
    except Exception as error:  # whatever the reader of a file raises that is not what it seems
        said = f"the source cannot be read: {type(error).__name__}: {error}"
        return config, [document.finding(("data", "source"), said)]
    told = [
        document.finding(_declared(document, where), problem.sentence)
        for where, problem in found.items()
        if where[-1] not in doubtful
    ]
    wrong = {where[-1] for where in found} | doubtful
    columns = tuple(c.model_copy(update={"nullable": True}) if c.name in wrong else c for c in config.data.columns)
    return config.model_copy(update={"data": config.data.model_copy(update={"columns": columns})}), told


def _declared(document: Document, where: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The place in the file of a column that a problem names by its name."""
    for index, entry in enumerate(document.raw["data"]["columns"]):
        if isinstance(entry, dict) and where == ("data", "columns", entry.get("name")):
            return ("data", "columns", index)
    return where


def _absent(document: Document, message: str) -> tuple[str | int, ...]:
    """The place of the first declared column that a message names as not there; empty where it names none."""
    for index, entry in enumerate(document.raw["data"]["columns"]):
        name = entry.get("source") or entry.get("name") if isinstance(entry, dict) else None
        if name and f"no column {name}" in message:
            return ("data", "columns", index)
    return ()


def prepared(paths: Scratch, config: TrainingConfig, document: Document) -> tuple[TrainingConfig, list[Finding]]:
    """Label, filter and split as the stage does; what it refuses is reported, and then done without.

    Returns:
        The config whose rows were prepared at last, and what was refused on the way.
    """
    found: list[Finding] = []
    train = pd.read_parquet(paths.ingested)
    for leave_out in (*RELAXED, None):
        try:
            prepare(paths, config)
            break
        except (ConfigError, CorruptionError) as error:
            several = getattr(error, "problems", ())
            new = [document.finding(_declared(document, p.where), p.sentence) for p in several]
            new = new or [document.finding(_key_of(document, str(error), ("data",)), str(error))]
            found += [f for f in new if f.message not in {g.message for g in found}]
        except Exception as error:  # whatever pandas raises of values that an expression did not expect
            said = f"the rows cannot be labelled and split: {type(error).__name__}: {error}"
            return config, [*found, document.finding(("data",), said)]
        if leave_out is not None:
            config = leave_out(config, train)
    return config, found


def _without_bounds(config: TrainingConfig, table: pd.DataFrame) -> TrainingConfig:
    free = {"minimum": None, "maximum": None, "categories": None, "nullable": True}
    columns = tuple(c.model_copy(update=free) for c in config.data.columns)
    return config.model_copy(update={"data": config.data.model_copy(update={"columns": columns})})


def _with_labels_only(config: TrainingConfig, table: pd.DataFrame) -> TrainingConfig:
    target = config.data.target.model_copy(update={"missing": "drop"})
    return config.model_copy(update={"data": config.data.model_copy(update={"target": target})})


def _with_full_features(config: TrainingConfig, table: pd.DataFrame) -> TrainingConfig:
    full = tuple(name for name in config.features if table[name].notna().any())
    return config.model_copy(update={"features": full})


def _unpinned(config: TrainingConfig, table: pd.DataFrame) -> TrainingConfig:
    return config.model_copy(update={"data": config.data.model_copy(update={"holdout_sha256": None})})


RELAXED = (_without_bounds, _with_labels_only, _with_full_features, _unpinned)
"""What rows are prepared without, one after the other, so that a refusal does not hide what comes after it."""


def fitted(paths: Scratch, config: TrainingConfig, document: Document) -> list[Finding]:
    """Train and evaluate on a few rows, save, load, and send rows of the file through the service's schema."""
    path = paths.prepared / "train.parquet"
    rows = pd.read_parquet(path)
    try:
        few(config, rows).to_parquet(path, index=False)
        train(paths, config)
        recorded = json.loads((paths.model / "requests.json").read_text())
        asked = {key: values[:ASKED] for key, values in recorded.items() if isinstance(values, list)}
        (paths.model / "requests.json").write_text(json.dumps(recorded | asked))
        found = measure(paths.model)
        evaluate(paths, config)
    except (ConfigError, CorruptionError) as error:
        return [document.finding(_key_of(document, str(error), ("estimator",)), str(error))]
    except Exception as error:  # whatever an estimator raises that cannot be fitted on these rows
        said = f"the estimator cannot be fitted on {min(len(rows), FITTED_ROWS)} rows: {type(error).__name__}: {error}"
        return [document.finding(("estimator",), said)]
    finally:
        rows.to_parquet(path, index=False)
    refused = [f"the service refuses rows of the file: {said}" for said in found["refused"]]
    if found["differing"]:
        refused.append(
            f"{found['differing']} of {found['rows']} rows of the file get another score as a request than in training"
        )
    return [document.finding(("data", "columns"), said) for said in refused]


def few(config: TrainingConfig, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows for a small fit, drawn with the model's seed; a rare class keeps some of its rows."""
    if len(rows) <= FITTED_ROWS:
        return rows
    drawn = rows.sample(FITTED_ROWS, random_state=config.seed)
    if config.kind == "regression":
        return drawn
    rare = [part.head(LEAST_OF_A_CLASS) for _, part in rows.sample(frac=1, random_state=config.seed).groupby(LABEL)]
    more = pd.concat(rare)
    return pd.concat([drawn, more[~more.index.isin(drawn.index)]])


def _key_of(document: Document, message: str, otherwise: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The place whose key begins a message, such as ``data.rows``; another one where none does."""
    for word in message.replace(",", " ").split():
        here, place = document.raw, list[str | int]()
        for part in word.strip(":;.'").split("."):
            if not isinstance(here, dict) or part not in here:
                break
            here = here[part]
            place.append(part)
        if len(place) > 1:
            return tuple(place)
    return otherwise
