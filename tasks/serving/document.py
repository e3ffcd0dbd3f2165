"""The OpenAPI document: what the framework knows of the routes, and what the door, the keys and the models add."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tasks.serving.follower import Serving
from tasks.serving.permits import permits_of
from tasks.serving.problems import REFUSED, SCHEMAS, documented, schemas
from tasks.serving.quick_rows import MOST_ROWS

METHODS = ("get", "post")
KEY = {"key": {"type": "http", "scheme": "bearer", "description": "A key of this service: assay keys add."}}
EVERYWHERE, WITH_KEY = (400,), (400, 401, 403, 429, 503)
"""How the door refuses who asks without a key, where none is asked for, and where one is."""
NO_MODEL = documented("No model of that name serves here.")
PREDICT = "/models/{name}/predict"


def completed(document: dict[str, Any], serving: Mapping[str, Serving]) -> dict[str, Any]:
    """The framework's document, with how each route refuses, which needs a key, and a path for each model that serves.

    Args:
        document: is changed.
    """
    components = document["components"]
    components["schemas"] |= schemas()
    components["securitySchemes"] = KEY
    document["security"] = [{"key": []}]
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                _complete(path, method, operations[method])
    for name in ("HTTPValidationError", "ValidationError"):  # the service says it in its own form
        components["schemas"].pop(name, None)
    for now in serving.values():
        components["schemas"][now.row.name] = now.row.json_schema()
        document["paths"][PREDICT.format(name=now.pointer.model)] = {
            "post": _of_model(document["paths"][PREDICT]["post"], now)
        }
    return document


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    permits, _ = permits_of(path)
    told = operation["responses"]
    if permits[method.upper()].needs == "nothing":
        operation["security"] = []
        told |= {str(status): REFUSED[status] for status in EVERYWHERE if str(status) not in told}
    else:
        told |= {str(status): REFUSED[status] for status in WITH_KEY if str(status) not in told}
    if "{name}" in path:
        told["404"] = NO_MODEL
        if method == "get":
            told.pop("422", None)


def _of_model(general: dict[str, Any], now: Serving) -> dict[str, Any]:
    """How one model is asked: the general way, with its own columns."""
    found, name = copy.deepcopy(general), now.pointer.model
    row = {"$ref": SCHEMAS.format(model=now.row.name)}
    del found["parameters"]
    found |= {"summary": f"Score rows: {now.release.manifest.title}", "operationId": f"predict_{name}"}
    found["requestBody"]["content"]["application/json"]["schema"] = {
        "type": "object",
        "properties": {
            "row": row,
            "rows": {"type": "array", "items": row, "minItems": 1, "maxItems": MOST_ROWS},
            "explain": {"type": "boolean", "default": False},
        },
        "additionalProperties": False,
        "oneOf": [{"required": ["row"]}, {"required": ["rows"]}],
    }
    return found
