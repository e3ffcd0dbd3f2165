"""What may be compiled: a class by its path, with the parameters that its array code repeats."""

from __future__ import annotations

from typing import Any

from tasks.answering.contents import Record, shown


class NotCompiled(Exception):
    """Array code for this is not written; scikit-learn can answer. The message is the reason, half a sentence."""


def expect(record: Any, kind: str, **attributes: Any) -> None:
    """Check the class of an object, and attributes that change what it computes.

    Raises:
        NotCompiled: it is another, or an attribute has another value.
    """
    if not isinstance(record, Record) or record.kind != kind:
        found = record.kind if isinstance(record, Record) else shown(record)
        raise NotCompiled(f"{found} stands where {kind.rpartition('.')[2]} is known")
    for name, value in attributes.items():
        found = record[name]
        if found is not value and (type(found) is not type(value) or found != value):
            raise NotCompiled(f"{record.name} has {name} {shown(found)}, and {value!r} is known")
