"""What a model file says of its pipeline: each step's class and parameters, read without building anything of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

LARGEST, DEEPEST = 1 << 26, 60
"""Bytes of a description that are read; objects within each other."""
SILENT = ("verbose", "n_jobs", "memory", "transform_input")
"""Parameters that change nothing of what a pipeline computes."""
OWN = ("builtins", "numpy")


def outline(path: Path) -> dict[str, Any]:
    """By dotted step names, the class of each step and its parameters as they were set, such as
    ``estimator.C: 1.0``; empty where the file cannot be read so.

    Args:
        path: of ``model.skops``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("schema.json").file_size > LARGEST:
                return {}
            schema = json.loads(archive.read("schema.json"))
        found: dict[str, Any] = {}
        _walk(schema, (), found, 0)
        return found
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, RecursionError):
        return {}


def _walk(node: Any, place: tuple[str, ...], found: dict[str, Any], depth: int) -> None:
    if not isinstance(node, dict) or "__class__" not in node or depth > DEEPEST:
        return
    content, module = node.get("content"), str(node.get("__module__"))
    if module.split(".")[0] not in OWN:
        found[".".join(place) or "pipeline"] = f"{module.split('.')[0]} {node['__class__']}"
        attributes = content.get("content", content) if isinstance(content, dict) else {}
        for name, inner in attributes.items() if isinstance(attributes, dict) else ():
            if name.startswith("_") or name.endswith("_") or name in SILENT:
                continue
            value = _plain(inner)
            if value is not None:
                found[".".join([*place, name])] = value[0]
            else:
                _walk(inner, place if name in ("steps", "transformers") else (*place, name), found, depth + 1)
        return
    for inner in content if isinstance(content, list) else ():
        _walk(inner, (*place, _step(inner)) if _step(inner) else place, found, depth + 1)


def _step(node: Any) -> str:
    """The name of a named step, the first of a pair or triple whose second is an object; empty for anything else."""
    items = node.get("content") if isinstance(node, dict) and node.get("__class__") == "tuple" else None
    if not isinstance(items, list) or len(items) < 2 or not isinstance(items[1], dict):
        return ""
    name = _plain(items[0])
    return str(name[0]) if name and isinstance(name[0], str) else ""


def _plain(node: Any) -> tuple[Any] | None:
    """The value of a node that is a number, a text, nothing, or a list or tuple of such; None for an object."""
    if not isinstance(node, dict):
        return None
    content = node.get("content")
    if node.get("__loader__") == "JsonNode":
        value = json.loads(content) if isinstance(content, str) else None
        return ("NaN",) if value != value else (value,)  # NaN is no value that could be compared
    if node.get("__class__") in ("list", "tuple") and isinstance(content, list):
        values = [_plain(inner) for inner in content]
        return ([value[0] for value in values if value],) if all(values) else None
    return None
