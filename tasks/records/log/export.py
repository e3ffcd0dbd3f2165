"""A window as a Parquet file: evidence that DVC can keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from tasks.records.log.reading import EXTRAS, OWN, Reading
from tasks.spec.base import digest_file
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError


@dataclass(frozen=True)
class Exported:
    path: Path
    digest: str
    """sha256 of the file."""
    rows: int
    rows_missing: int


class Export(Reading):
    def export(self, model: str, first_seq: int, last_seq: int, path: Path, columns: Iterable[Column] = ()) -> Exported:
        """Write the predictions between two positions, with outcomes and what people answered, as Parquet.

        The rows are streamed, a row group for 50,000 rows; once more where a later row shows that a column needs a
        wider type. The bytes depend on the rows, the declared columns and pyarrow's release alone. The file is at
        ``path`` only once it is complete.

        Args:
            columns: inputs as the version that answered declares them. Their types decide, not the look of the rows:
                a window without a value of a category has a column of text all the same. Inputs of other versions,
                and values that the type cannot hold, decide for themselves.

        Raises:
            ConfigError: there is no row.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        types: dict[str, pa.DataType] = {}
        declared = {c.name: _declared(c) for c in columns}
        try:
            whole = False
            while not whole:
                rows, types, whole = self._write_rows(model, first_seq, last_seq, part, types, declared)
            if rows:
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        missing = self.missing(model, first_seq, last_seq)
        if not rows:
            raise ConfigError(
                f"the log holds no prediction of {model} from position {first_seq} to {last_seq}; {missing} that "
                "were there have been deleted."
            )
        return Exported(path, digest_file(path), rows, missing)

    def _write_rows(
        self,
        model: str,
        first_seq: int,
        last_seq: int,
        part: Path,
        types: dict[str, pa.DataType],
        declared: Mapping[str, pa.DataType],
    ) -> tuple[int, dict[str, pa.DataType], bool]:
        """Write rows with columns of given types.

        Args:
            types: by column; without any, those of the first chunk.
            declared: by column, as the version that answered declares it.

        Returns:
            The number of rows, the types that all rows need, and whether all rows were written.
        """
        rows, writer, seen = 0, None, dict(types)
        try:
            for chunk in self.chunks(model, first_seq, last_seq, extras=True):
                rows += len(chunk)
                for name in chunk.columns:
                    seen[name] = _wider(seen.get(name), _type(chunk[name], declared.get(name)))
                types = types or dict(seen)
                if seen == types:  # else the rest is read for its types alone
                    schema = _schema(types)
                    writer = writer or parquet.ParquetWriter(part, schema, compression="zstd")
                    writer.write_table(_table(chunk, schema))
        finally:
            if writer is not None:
                writer.close()
        return rows, seen, seen == types


def _schema(types: dict[str, pa.DataType]) -> pa.Schema:
    own = [*OWN, *[n for n in types if n.startswith("_score:")], *EXTRAS]
    names = [n for n in types if not n.startswith("_")] + [n for n in own if n in types]
    return pa.schema([(n, pa.float64() if pa.types.is_null(types[n]) else types[n]) for n in names])


def _declared(column: Column) -> pa.DataType:
    """The type that holds a column's values as requests write them."""
    kind = column.kind
    if kind.operand == "truth":
        return pa.bool_()
    if not kind.numeric or kind.calendar:
        return pa.string()
    return pa.int64() if kind.whole else pa.float64()


def _type(column: pd.Series, declared: pa.DataType | None) -> pa.DataType:
    """The type of one chunk's values: the declared one where it holds them."""
    found = _found(column)
    if declared is None or found == declared:
        return found
    if pa.types.is_null(found) or declared == pa.float64() and found == pa.int64():
        return declared
    whole = found == pa.float64() and declared == pa.int64() and bool((column.dropna() % 1 == 0).all())
    return declared if whole else found  # whole numbers with gaps come as floats


def _found(column: pd.Series) -> pa.DataType:
    if column.isna().all():
        return pa.null()
    if column.dtype == "str":
        return pa.string()
    if pd.api.types.is_bool_dtype(column):
        return pa.bool_()
    if pd.api.types.is_integer_dtype(column):
        return pa.int64()
    if pd.api.types.is_float_dtype(column):
        return pa.float64()
    return pa.bool_() if {type(v) for v in column.dropna()} == {bool} else pa.string()


def _wider(one: pa.DataType | None, other: pa.DataType) -> pa.DataType:
    """The type that holds both: none gives way to any, whole numbers to numbers, everything to text."""
    if one is None or one == other or pa.types.is_null(one):
        return other
    if pa.types.is_null(other):
        return one
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()


def _table(chunk: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays(
        [_array(chunk[f.name], f.type) if f.name in chunk else pa.nulls(len(chunk), f.type) for f in schema],
        schema=schema,
    )


def _array(column: pd.Series, kind: pa.DataType) -> pa.Array:
    if column.isna().all():
        return pa.nulls(len(column), kind)
    if pa.types.is_string(kind) and column.dtype != "str":
        column = column.astype(object).map(str, na_action="ignore")
    return pa.array(column.astype("float64") if pa.types.is_floating(kind) else column, type=kind, from_pandas=True)
