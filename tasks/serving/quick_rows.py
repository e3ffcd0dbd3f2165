"""The quick way to read a request's rows: it takes what is plainly allowed, and gives up on everything else.

The schema (:mod:`tasks.serving.schema`) says what a row may hold and how a refusal reads. Here msgspec decodes and
checks in one pass over the bytes. Whatever it does not take, and whatever it could read otherwise than the schema
does, is left to the schema: a request is refused there alone, so that every sentence has one place. A property test
holds that both give equal rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import UNSET

ROUNDED = 2.0**53
"""From here on a float may be another number than the whole one that was sent."""
MOST_ROWS, MOST_EXPLAINED = 1000, 100
"""Rows of one request, and of one whose answers are explained."""
PLAIN = (float, int, bool, str)


class QuickRows:
    """Rows of one model, read quickly.

    Args:
        fields: by column, the type of its JSON value and the constraints of its field, as a column's kind gives them,
            and whether it may be null or left out.
        markers: by column, values that mean missing in the model's files, and are none in a request.
        checks: by column, what a value has to pass beyond that; it gives the value as it is taken, or raises.
        most: rows of one request.
    """

    def __init__(
        self,
        fields: Mapping[str, tuple[Any, dict[str, Any], bool]],
        markers: Mapping[str, Collection[Any]],
        checks: Mapping[str, Callable[[Any], Any]],
        most: int,
    ) -> None:
        self.columns, self.most = tuple(fields), most
        places = {name: f"c{i}" for i, name in enumerate(fields)}
        row = msgspec.defstruct(
            "Row",
            [_field(places[name], *fields[name]) for name in fields],
            rename={place: name for name, place in places.items()},
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
        body = msgspec.defstruct(
            "Body",
            [("row", row | None, None), ("rows", list[row] | None, None)],  # type: ignore[valid-type]
            forbid_unknown_fields=True,
        )
        self._decode = msgspec.json.Decoder(body).decode
        self._floats = [i for i, name in enumerate(fields) if fields[name][0] is float]
        self._markers = [
            (name, frozenset(found))
            for name, found in markers.items()
            if found and get_origin(fields[name][0]) is not Literal  # a declared name is a value
        ]
        self._checks = list(checks.items())

    def read(self, body: bytes) -> list[dict[str, Any]] | None:
        """The rows of a body, each with every column; None where the schema has to look at it."""
        if b"\\" in body:  # with escapes one key can be written in two ways
            return None
        try:
            found: Any = self._decode(body)
            given = [found.row] if found.row is not None else found.rows or []
            values = [msgspec.structs.astuple(row) for row in given]
            out = sum(row.count(UNSET) for row in values)
            keys = 1 + len(values) * len(self.columns) - out
            # No text holds a quote here, so this counts keys: of one that stands twice a value would be lost.
            if not 0 < len(values) <= self.most or body.count(b'":') != keys:
                return None
            minus = b"-0" in body
            if not all(self._exact(row, minus) for row in values):
                return None
            full: Any = ([None if v is UNSET else v for v in row] for row in values) if out else values
            rows = [dict(zip(self.columns, row, strict=True)) for row in full]
            return rows if all(map(self._taken, rows)) else None
        except Exception:  # whatever a decoder or a check raises is a refusal, and the schema words it
            return None

    def _exact(self, row: Sequence[Any], minus: bool) -> bool:
        """Whether each number is the one that was sent, whatever its form; a minus zero is none of the schema's."""
        for i in self._floats:
            value = row[i]
            if value.__class__ is float and (not -ROUNDED < value < ROUNDED or (minus and value == 0)):
                return False
        return True

    def _taken(self, row: dict[str, Any]) -> bool:
        for name, markers in self._markers:
            if row[name] in markers:
                return False
        for name, check in self._checks:
            if row[name] is not None:
                row[name] = check(row[name])
        return True


def _field(place: str, kind: Any, constraints: Mapping[str, Any], nullable: bool) -> Any:
    allowed = {key: value for key, value in constraints.items() if key != "allow_inf_nan"}
    value: Any = kind if kind in PLAIN or get_origin(kind) is Literal else str
    if get_origin(kind) is Literal and not all(isinstance(v, str) for v in get_args(kind)):
        raise TypeError(f"{kind} is no set of names")
    if allowed:
        value = Annotated[value, msgspec.Meta(**allowed)]
    return (place, value | None | msgspec.UnsetType, UNSET) if nullable else (place, value)
