"""What is wrong with a request, in one form on every route: problem details (RFC 9457), with a list of what is wrong
where: row, field, value, message."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

SHOWN = 80
"""Characters of a value, or of a name, that an answer repeats."""
MOST_TOLD = 20
"""Problems of one request that are told: who sends thousands of wrong values learns no more from thousands of
sentences."""
PROBLEM, SCHEMAS = "application/problem+json", "#/components/schemas/{model}"
BEGIN = "Input should be "
"""How pydantic begins most of its sentences."""
Place = Sequence[str | int]
"""Where in a JSON document something stands: keys and indices, outermost first."""


class Problem(BaseModel):
    row: int | None = Field(description="Which row of the request, from 0; null where it is no single row.")
    field: str
    value: bool | int | float | str | None = Field(description="What was sent, cut to 80 characters.")
    message: str = Field(description="What is allowed.")


class Refusal(BaseModel):
    """Problem details, RFC 9457. Nothing of the request was scored or stored."""

    type: str = Field("about:blank", description="The status says what kind of problem it is.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong and what to do, in a sentence.")
    problems: list[Problem] = Field([], description=f"What is wrong where: the first {MOST_TOLD} places at most.")
    more: bool = Field(False, description="Whether more places are wrong than are listed.")


def documented(description: str) -> dict[str, Any]:
    """A refusal, as the OpenAPI document describes it."""
    return {"description": description, "content": {PROBLEM: {"schema": {"$ref": SCHEMAS.format(model="Refusal")}}}}


def schemas() -> dict[str, Any]:
    """What :data:`REFUSED` refers to, by name."""
    own = Refusal.model_json_schema(ref_template=SCHEMAS)
    return {**own.pop("$defs"), "Refusal": own}


REFUSED: dict[int | str, dict[str, Any]] = {
    400: documented("The body is no JSON, or the host is not one of this service."),
    401: documented("No key was sent, or none that holds."),
    403: documented("The key has not the role, or is for other models."),
    413: documented("The body is larger than is allowed."),
    422: documented("The body is JSON, and a value in it is not allowed."),
    429: documented("The key sends more than its rate; Retry-After says when to send again."),
    503: documented("Nothing is answered now: the model is stopped, or the log cannot be written."),
}
"""For the OpenAPI document of every route that takes a body."""


def refusal(status: int, said: Any) -> dict[str, Any]:
    """The body of a refusal.

    Args:
        said: a sentence, or a list of :func:`problem`.
    """
    about = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if not isinstance(said, list):
        return {**about, "detail": str(said), "problems": [], "more": False}
    first, more = said[0], len(said) > MOST_TOLD
    where = f"row {first['row']}, {first['field']}" if first["row"] is not None else str(first["field"])
    count = f"more than {MOST_TOLD} places are" if more else f"{len(said)} places are" if said[1:] else "one place is"
    detail = f"{count} wrong; the first is {where}: {first['message']}"
    return {**about, "detail": detail, "problems": said[:MOST_TOLD], "more": more}


def shown(value: Any) -> bool | int | float | str | None:
    """A value as every JSON reader takes it, and never longer than 80 characters."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and math.isfinite(value) and abs(value) < 2**63:
        return value
    if isinstance(value, bytes):
        return value[:SHOWN].decode("utf-8", "backslashreplace")[:SHOWN]
    if not isinstance(value, str):
        try:
            value = json.dumps(value, default=str)
        except (RecursionError, ValueError):
            value = f"{type(value).__name__} that is nested too deeply to be shown"
    return printable(value)


def printable(text: str) -> str:
    """The beginning of a text; half a surrogate pair, which UTF-8 cannot hold, as its escape."""
    return text[:SHOWN].encode("utf-8", "backslashreplace").decode()[:SHOWN]


def problem(row: int | None, field: str, value: Any, message: str) -> dict[str, Any]:
    return {"row": row, "field": printable(field), "value": shown(value), "message": message}


def at(place: Place, value: Any, message: str) -> dict[str, Any]:
    """A problem at a place of a request's body.

    ``rows[3].age`` is the field ``age`` of row 3, ``row.age`` that of row 0; what stands deeper belongs to its field.
    """
    row = next((part for part in place if isinstance(part, int)), 0 if place[:1] == ("row",) else None)
    inside = place[2:] if isinstance(next(iter(place[1:2]), None), int) else place[1:] if place[:1] == ("row",) else ()
    return problem(row, str((*inside, *reversed(place[:1]), "body")[0]), value, message)


def of_errors(errors: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """pydantic's errors over a body: one problem a field, whatever number of alternatives the field has."""
    found: dict[tuple[int | None, str], list[dict[str, Any]]] = {}
    for error in errors:
        if len(found) > MOST_TOLD:
            break
        place = tuple(error["loc"][1:] if error["loc"][:1] == ("body",) else error["loc"])
        one = at(place, None if error["type"] == "missing" else error.get("input"), _message(error))
        found.setdefault((one["row"], one["field"]), []).append(one)
    return [alike[0] | {"message": _either([one["message"] for one in alike])} for alike in found.values()]


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return "required field is missing"
    if isinstance(error.get("input"), bytes):
        return "the body is not declared as JSON; send it with Content-Type: application/json"
    return re.sub(r"[\ud800-\udfff]", "?", str(error["msg"]).removeprefix("Value error, "))


def _either(messages: list[str]) -> str:
    *most, last = dict.fromkeys(messages)
    if most and all(message.startswith(BEGIN) for message in (*most, last)):
        return f"{', '.join([most[0], *[m.removeprefix(BEGIN) for m in most[1:]]])} or {last.removeprefix(BEGIN)}"
    return "; or: ".join((*most, last))
