"""The service's input schema, made from the model's manifest."""

from __future__ import annotations

import difflib
import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from tasks.spec.evidence import Manifest

EXACT = 2**53
"""Above it, a float and so JSON does not hold every integer."""
MOST_TEXT = 200
MOST_PROBLEMS = 20
PREFIX = "field_"
"""A column may be called ``copy`` or ``model_dump``, which pydantic keeps for itself; its alias is the column's name."""


def row_model(manifest: Manifest) -> type[BaseModel]:
    """A closed pydantic model of one input row; nullable columns may be null or left out."""
    fields: dict[str, Any] = {}
    for column in manifest.inputs:
        kind = Annotated[_kind(column), Field(**_bounds(column))]
        description = f"{column['description']}{f' ({column["unit"]})' if column['unit'] else ''}"
        default = {"default": None} if column["nullable"] else {}
        described = Field(alias=column["name"], title=column["name"], description=description, **default)
        fields[PREFIX + column["name"]] = (kind | None if column["nullable"] else kind, described)
    name = "".join(part.title() for part in manifest.model.split("_")) + "Row"
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def problems(rows: list[dict[str, Any]], model: type[BaseModel], manifest: Manifest) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Validate rows.

    Returns:
        The validated rows, and one dict a problem: row, field, value, message. After ``MOST_PROBLEMS`` problems
        the rest of the rows are not looked at.
    """
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        try:
            good.append(model.model_validate(row).model_dump(by_alias=True))
        except ValidationError as error:
            bad += [_problem(index, item, manifest) for item in error.errors()]
            if len(bad) >= MOST_PROBLEMS:
                break
    return good, bad[:MOST_PROBLEMS]


def allowed(column: dict[str, Any]) -> str:
    """What a column takes, in words: ``integer from 0 to 120 years``."""
    if column["categories"]:
        words = "one of " + ", ".join(map(repr, column["categories"]))
    elif column["type"] == "category":
        words = f"text of at most {MOST_TEXT} characters"
    else:
        low, high = column["minimum"], column["maximum"]
        words = str(column["type"])
        words += f" from {low:g} to {high:g}" if low is not None and high is not None else ""
        words += f" of at least {low:g}" if low is not None and high is None else ""
        words += f" of at most {high:g}" if high is not None and low is None else ""
        words += f" {column['unit']}" if column["unit"] else ""
    return words + (", or null" if column["nullable"] else "")


def document(openapi: dict[str, Any], name: str, version: str, row: type[BaseModel]) -> None:
    """Put one model's row schema, and a path of its own that names it, into the OpenAPI document."""
    components = openapi["components"]["schemas"]
    components[row.__name__] = row.model_json_schema()
    body = {**components["PredictBody"], "title": row.__name__.removesuffix("Row") + "PredictBody"}
    reference = {"$ref": f"#/components/schemas/{row.__name__}"}
    properties = dict(body["properties"])
    properties["row"] = {"description": "One input row.", "anyOf": [reference, {"type": "null"}]}
    many = {"type": "array", "items": reference, "minItems": 1, "maxItems": 1000}
    properties["rows"] = {"description": "Up to 1,000 input rows.", "anyOf": [many, {"type": "null"}]}
    components[body["title"]] = {**body, "properties": properties}
    general = openapi["paths"]["/models/{name}/predict"]["post"]
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body['title']}"}}}
    openapi["paths"][f"/models/{name}/predict"] = {
        "post": {
            **{key: value for key, value in general.items() if key != "parameters"},
            "summary": f"Score rows with {name} {version}",
            "operationId": f"predict_{name}",
            "requestBody": {"required": True, "content": content},
        }
    }


def shown(value: Any) -> Any:
    """A value as an error message may repeat it: short, and JSON (which has no NaN)."""
    if value is None or isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and abs(value) <= EXACT:
        return value
    try:
        text = value if isinstance(value, str) else str(value)
    except ValueError:  # Python refuses to write out integers of thousands of digits
        text = "an integer of thousands of digits"
    text = text.encode(errors="replace").decode()
    return text if len(text) <= 80 else text[:77] + "..."


def _kind(column: dict[str, Any]) -> Any:
    if column["categories"]:
        return Literal[tuple(column["categories"])]
    return {"number": float, "integer": Annotated[int, BeforeValidator(_whole)], "category": str}[column["type"]]


def _whole(value: Any) -> Any:
    # JSON has one kind of number: many clients write 3.0 for 3.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _bounds(column: dict[str, Any]) -> dict[str, Any]:
    low, high = column["minimum"], column["maximum"]
    if column["type"] == "category":
        return {} if column["categories"] else {"max_length": MOST_TEXT}
    if column["type"] == "integer":
        return {"ge": -EXACT if low is None else math.ceil(low), "le": EXACT if high is None else math.floor(high)}
    return {k: v for k, v in (("ge", low), ("le", high)) if v is not None} | {"allow_inf_nan": False}


def _problem(index: int, item: Any, manifest: Manifest) -> dict[str, Any]:
    columns = {c["name"]: c for c in manifest.inputs}
    if not item["loc"]:
        return {"row": index, "field": None, "value": shown(item["input"]), "message": "a row is an object of field: value"}
    name = str(item["loc"][0])
    if name not in columns:
        near = difflib.get_close_matches(name, columns, n=1)
        message = f"unknown field;{f' did you mean {near[0]!r}?' if near else ''} allowed: {', '.join(columns)}"
    elif item["type"] == "missing":
        message = f"required field is missing; allowed: {allowed(columns[name])}"
    else:
        message = f"allowed: {allowed(columns[name])}"
        near = difflib.get_close_matches(str(shown(item["input"])), columns[name]["categories"] or (), n=1)
        message += f"; did you mean {near[0]!r}?" if near else ""
    value = None if item["type"] == "missing" else shown(item["input"])
    return {"row": index, "field": str(shown(name)), "value": value, "message": message}
