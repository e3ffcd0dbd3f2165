"""The rows of a holdout: how they are known again later, by the same model and by others of the same source."""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.asked import SAID_OF_A_COLUMN, sealed
from tasks.records.registry.holdouts import Asked
from tasks.science.data.asked_rows import keys_digest, row_keys, shared_rows
from tasks.science.data.same_rows import Cells, Declared, Table
from tasks.science.data.tables import ROW
from tasks.spec.base import canonical_json, digest_file, digest_json
from tasks.spec.data_record import DataRecord
from tasks.spec.evidence import HoldoutRows
from tasks.spec.model import ModelConfig
from tasks.spec.settings import Settings
from tasks.spec.training import TrainingConfig
from tasks.stages.common import ModelPaths

READ = ("type", "format", "zone", "unit", "missing")
"""What of a column's declaration decides which value a cell is."""


def rows_of(settings: Settings, paths: ModelPaths, config: ModelConfig) -> HoldoutRows:
    """The rows that a checkout's candidate is measured on; the home keeps what later ones are compared with."""
    holdout = paths.table(paths.prepared / "holdout.parquet", "prepare")
    columns, keys = row_keys(holdout)
    cells = table_of(paths, config, holdout).sample()
    rows = HoldoutRows(
        content=keys_digest(columns, keys),
        rows=len(keys),
        columns=columns,
        declared=_declared(config, columns),
        sealed=sealed(config),
        cells=cells.digest,
        reading=_reading(config),
        files=_files(paths),
    )
    _keep_all(settings, paths.name, rows, keys, cells)
    return rows


def note_shown(
    settings: Settings, model: str, config: TrainingConfig, rows: pd.DataFrame, files: Sequence[str], answers: int
) -> None:
    """Note in the home that numbers of these rows are shown to somebody, of which the ledger has no entry.

    Args:
        rows: (n, columns) of a prepared side.
        files: sha256 of the source's files.
        answers: how many numbers of models are shown.
    """
    columns, keys = row_keys(rows)
    cells = Table(
        _columns(config, set(map(str, rows))), rows[[c.name for c in config.data.columns if c.name in rows]]
    ).sample()
    found = HoldoutRows(
        content=keys_digest(columns, keys),
        rows=len(keys),
        columns=columns,
        declared=_declared(config, columns),
        cells=cells.digest,
        reading=_reading(config),
        files=tuple(files),
    )
    _keep_all(settings, model, found, keys, cells)
    said = canonical_json({"answers": answers, "rows": found.model_dump(mode="json")})
    _keep(settings.home / "holdouts" / model / f"shown-{uuid.uuid4().hex}.json", lambda stream: stream.write(said))


def shown(settings: Settings) -> list[Asked]:
    """One for each answer that a note of the home tells of; a note that cannot be read is one about all rows."""
    found = []
    for path in sorted((settings.home / "holdouts").glob("*/shown-*.json")):
        rows, answers = None, 1
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(path.read_text())
            rows, answers = HoldoutRows.model_validate(note["rows"], strict=False), int(note["answers"])
        blank = Asked(path.parent.name, "", rows, "", (), (), rows.files if rows is not None else ())
        found += [blank] * answers
    return found


def _keep_all(settings: Settings, model: str, rows: HoldoutRows, keys: np.ndarray, cells: Cells) -> None:
    if keys_of(settings, model, rows) is None:
        _keep(_kept(settings, model, rows.content, ".npy"), lambda stream: np.save(stream, keys))
    if cells_of(settings, model, rows) is None:
        names = np.array(["\n".join(column.names) for column in cells.columns])
        read = np.array([column.read for column in cells.columns])
        _keep(
            _kept(settings, model, rows.cells, ".npz"),
            lambda stream: np.savez(stream, names=names, read=read, hashes=cells.hashes),
        )


def _keep(path: Path, write: Callable[[io.BufferedWriter], object]) -> None:
    """For the owner of the home alone: hashes of single cells can be guessed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        write(stream)
    draft.replace(path)


def _declared(config: TrainingConfig, columns: Sequence[str]) -> str:
    """Digest of what decides how a cell becomes a value: another type or unit gives the same row another key."""
    said = {
        column.name: column.model_dump(mode="json", exclude=set(SAID_OF_A_COLUMN))
        for column in config.data.columns
        if column.name in columns
    }
    return digest_json({"columns": said, "reading": config.data.source.reading.model_dump(mode="json")})


def _reading(config: TrainingConfig) -> str:
    return digest_json(config.data.source.reading.model_dump(mode="json"))


def _files(paths: ModelPaths) -> tuple[str, ...]:
    """Source and collected files, and tables made of them: DVC has these as well, for a pointer of anybody's."""
    with paths.reading(paths.record, "prepare"):
        record = DataRecord.model_validate_json(paths.record.read_text())
    made = [paths.ingested, *(paths.prepared / f"{side}.parquet" for side in ("train", "holdout"))]
    made += sorted(paths.collected.glob("*.parquet"))
    return (*(file.sha256 for file in record.files), *(digest_file(path).removeprefix("sha256:") for path in made))


def table_of(paths: ModelPaths, config: ModelConfig, rows: pd.DataFrame | None = None) -> Table:
    """Rows with all declared columns: those that ``prepare`` left out are as the source has them.

    Args:
        rows: of a prepared side; None for all rows of the source.
    """
    names = [column.name for column in config.data.columns]
    source = paths.table(paths.ingested, "ingest", names)[names]
    if rows is not None:  # what was collected in production is in no row of the source
        known = [name for name in names if name in rows]
        source = source.reindex(rows[ROW].to_numpy()).reset_index(drop=True)
        source = source.assign(**{name: rows[name].array for name in known})
    return Table(_columns(config, set(names)), source)


def _columns(config: TrainingConfig, names: Collection[str]) -> list[Declared]:
    return [
        Declared(
            tuple(dict.fromkeys((column.original, column.name))),
            digest_json({key: value for key, value in column.model_dump(mode="json").items() if key in READ}),
        )
        for column in config.data.columns
        if column.name in names
    ]


def _kept(settings: Settings, model: str, digest: str, ending: str) -> Path:
    return settings.home / "holdouts" / model / f"{digest.removeprefix('sha256:')}{ending}"


def keys_of(settings: Settings, model: str, rows: HoldoutRows) -> np.ndarray | None:
    """The keys of an earlier holdout; None where the home does not hold those that the ledger speaks of."""
    try:
        found = np.load(_kept(settings, model, rows.content, ".npy"), allow_pickle=False)
    except (OSError, ValueError):
        return None
    return found if keys_digest(rows.columns, found) == rows.content else None


def cells_of(settings: Settings, model: str, rows: HoldoutRows) -> Cells | None:
    """Cells of some rows of an earlier holdout; None where the home does not hold those that the ledger speaks of."""
    if not rows.cells:
        return None
    try:
        with np.load(_kept(settings, model, rows.cells, ".npz"), allow_pickle=False) as kept:
            columns = tuple(
                Declared(tuple(str(names).split("\n")), str(read))
                for names, read in zip(kept["names"], kept["read"], strict=True)
            )
            found = Cells(columns, kept["hashes"])
    except (OSError, ValueError, KeyError):
        return None
    return found if found.digest == rows.cells else None


class Strangers:
    """How much of other models' holdouts is among rows of this one."""

    def __init__(self, settings: Settings, table: Table, reading: str, files: Sequence[str]) -> None:
        self._settings, self._table, self._reading, self._files = settings, table, reading, frozenset(files)
        self._known: dict[tuple[str, HoldoutRows | None, tuple[str, ...]], float | None] = {}

    @classmethod
    def of(cls, settings: Settings, paths: ModelPaths, config: ModelConfig, table: Table) -> Strangers:
        return cls(settings, table, _reading(config), _files(paths))

    def among(self, one: Asked) -> float | None:
        """The share of its holdout that is here; None where a file is the same, and nobody can tell its rows apart."""
        key = (one.model, one.rows, one.files)
        if key not in self._known:
            self._known[key] = self._among(one)
        return self._known[key]

    def _among(self, one: Asked) -> float | None:
        one_file = bool(self._files & set(one.files))
        read_alike = one.rows is not None and one.rows.reading == self._reading
        theirs = None if one.rows is None else cells_of(self._settings, one.model, one.rows)
        if one_file and not read_alike:
            return None
        found = None if theirs is None else self._table.shared(theirs, one_file)
        return found if found is not None or one_file else 0.0


class Shares:
    """The share of a holdout's rows that earlier candidates saw."""

    def __init__(self, settings: Settings, paths: ModelPaths, config: ModelConfig, now: HoldoutRows) -> None:
        self._settings, self._paths, self._config, self._now = settings, paths, config, now
        self._mine = keys_of(settings, paths.name, now)
        self._known: dict[tuple[str, str], float | None] = {(now.content, now.declared): 1.0}
        self._strangers: Strangers | None = None

    def of(self, one: Asked) -> float:
        """In [0, 1]; 1 where nobody knows."""
        share = self._share(one)
        return 1.0 if share is None else share

    def part(self, one: Asked) -> tuple[str, float]:
        """The rows that it saw, by their digest, and the share; answers of all rows belong together."""
        share = self.of(one)
        return "" if one.rows is None or share >= 1 else f"{one.model} {one.rows.content}", share

    def unknown(self, one: Asked) -> bool:
        return self._share(one) is None

    def _share(self, one: Asked) -> float | None:
        if one.model != self._paths.name:
            return self._of_a_stranger(one)
        if one.rows is None:
            return None
        key = (one.rows.content, one.rows.declared)
        if key not in self._known:
            self._known[key] = self._compared(one.rows)
        return self._known[key]

    def _of_a_stranger(self, one: Asked) -> float | None:
        if self._strangers is None:
            holdout = self._paths.table(self._paths.prepared / "holdout.parquet", "prepare")
            table = table_of(self._paths, self._config, holdout)
            self._strangers = Strangers(self._settings, table, self._now.reading, self._now.files)
        found = self._strangers.among(one)
        if found is None or one.rows is None:
            return found
        return min(1.0, found * one.rows.rows / max(self._now.rows, 1))

    def _compared(self, then: HoldoutRows) -> float | None:
        alike = (then.columns, then.declared) == (self._now.columns, self._now.declared)
        theirs = keys_of(self._settings, self._paths.name, then) if alike else None
        if theirs is None or self._mine is None:
            return None
        return shared_rows(self._mine, theirs) / max(len(self._mine), 1)
