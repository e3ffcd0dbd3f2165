"""Rows of the source kept as they stand in the file, to be sent to the service as a client would send them.

Readiness asks the candidate these rows and compares with the scores of the training table's same rows. Whatever
changes a value between the file and the table, or between the file and the request, shows there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from tasks.spec.data import Column
from tasks.spec.data_source import Reading
from tasks.tables.formats import INTEGERS
from tasks.tables.typed import as_json, plain_cells, typed

MOST = 100_000
"""Source rows that are kept; of a larger table they are drawn by a hash of the row's number."""
ROW, READING = "_row", b"assay.reading"


class SourceRows:
    """Collects cells part by part, and keeps :data:`MOST` rows of them all."""

    def __init__(self, most: int = MOST) -> None:
        self.most, self.count = most, 0
        self.parts: list[pd.DataFrame] = []

    def add(self, cells: pd.DataFrame) -> None:
        self.parts.append(cells.set_axis(range(self.count, self.count + len(cells))))
        self.count += len(cells)
        if sum(map(len, self.parts)) > 2 * self.most:
            self.parts = [self._kept()]

    def _kept(self) -> pd.DataFrame:
        cells = pd.concat(self.parts)
        if len(cells) <= self.most:
            return cells
        places = pd.util.hash_array(cells.index.to_numpy(np.uint64))
        return cells.iloc[np.sort(np.argsort(places, kind="stable")[: self.most])]

    def write(self, path: Path, reading: Reading) -> None:
        """Write the kept rows as Parquet, with how their cells are read."""
        cells = plain_cells(self._kept())
        table = pa.Table.from_pandas(cells.assign(**{ROW: cells.index}), preserve_index=False)
        parquet.write_table(table.replace_schema_metadata({READING: reading.model_dump_json()}), path)


def source_requests(path: Path, columns: Sequence[Column], rows: Sequence[int]) -> list[dict[str, Any]]:
    """Source rows as a client would send them: read as ``assay predict`` reads a file.

    Args:
        columns: those of a request.
        rows: numbers of kept rows.
    """
    table = parquet.read_table(path)
    reading = Reading.model_validate_json(table.schema.metadata[READING])
    cells = table.replace_schema_metadata(None).to_pandas(types_mapper=INTEGERS.get).set_index(ROW)
    return as_json(columns, typed(columns, cells.loc[list(rows)], reading))


def kept_rows(path: Path) -> np.ndarray:
    """The numbers of the rows that are kept."""
    return np.asarray(parquet.read_table(path, columns=[ROW])[ROW].to_numpy())
