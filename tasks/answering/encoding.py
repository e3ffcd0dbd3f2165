"""From validated values to vectors: quantities as they are, names as the codes that training gave them.

One vector is what an estimator's preparation reads. A name that training never saw has code -1; so has a missing one
where training saw none missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tasks.spec.kind import DeclaredColumn

UNSEEN = -1
ABSENT = ""
"""What the imputer of names puts for a missing one; an empty cell is missing, so that no category is called so."""


class Table(Protocol):
    """Columns by name: a dict of lists, or a DataFrame."""

    def __getitem__(self, name: str, /) -> Any: ...


class Encoding:
    """Reads rows, as JSON or in table form, into (n, features) float64."""

    def __init__(self, columns: Sequence[DeclaredColumn], names: Mapping[str, Sequence[str]]) -> None:
        """
        Args:
            columns: of the features, in their order.
            names: for each feature that is a name, the names that training saw, in the order of their codes.
        """
        self.columns = tuple(columns)
        self.codes = {
            feature: {name: float(code) for code, name in enumerate(known)} for feature, known in names.items()
        }
        self._readers = tuple((c.name, self._reader(c)) for c in self.columns)
        self._by_name = dict(self._readers)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Rows of JSON values that a schema found valid, None for missing.

        Returns:
            (n, features).
        """
        flat = [read(row[name]) for row in rows for name, read in self._readers]
        return np.array(flat, dtype=np.float64).reshape(len(rows), len(self._readers))

    def value(self, name: str, value: Any) -> float:
        """One JSON value of a feature, None for missing."""
        return self._by_name[name](value)

    def table(self, columns: Table) -> np.ndarray:
        """Columns in table form: numbers, or texts and NaN.

        Returns:
            (n, features).
        """
        found = [self._column(c, columns[c.name]) for c in self.columns]
        return np.ascontiguousarray(np.stack(found, axis=1))

    def _column(self, column: DeclaredColumn, values: Sequence[Any]) -> np.ndarray:
        if column.kind.numeric:
            return np.asarray(values, dtype=np.float64)
        codes = self.codes[column.name]
        absent = codes.get(ABSENT, UNSEEN)
        listed = values.tolist() if hasattr(values, "tolist") else values
        return np.array([absent if v != v or v is None else codes.get(v, UNSEEN) for v in listed], dtype=np.float64)

    def _reader(self, column: DeclaredColumn) -> Callable[[Any], float]:
        kind = column.kind
        if kind.numeric:
            quantity = kind.from_request
            return lambda value: float("nan") if value is None else quantity(value)
        codes = self.codes[column.name]
        known = {kind.to_json(name): code for name, code in codes.items() if name != ABSENT}
        known[None] = codes.get(ABSENT, UNSEEN)
        return lambda value: known.get(value, UNSEEN)
