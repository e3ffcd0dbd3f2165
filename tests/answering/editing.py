"""Editing a real skops file: other numbers in its arrays, other words in its schema."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np


class File:
    """The members of a model file, open for changes."""

    def __init__(self, content: bytes) -> None:
        archive = zipfile.ZipFile(io.BytesIO(content))
        self.members = {name: archive.read(name) for name in archive.namelist()}
        self.schema: Any = json.loads(self.members["schema.json"])

    def objects(self, name: str) -> list[dict[str, Any]]:
        """All nodes of a class, in the order of the schema."""
        return _objects(self.schema, name)

    def fields(self, name: str, at: int = 0, fitted: str = "") -> Any:
        """The attributes of one object of a class; of those that have an attribute, where one is named."""
        found = [each["content"]["content"] for each in self.objects(name)]
        return [each for each in found if not fitted or fitted in each][at]

    def array(self, node: dict[str, Any], change: Callable[[np.ndarray], Any]) -> None:
        """Change an array in its file, in place or by what ``change`` gives."""
        array = np.load(io.BytesIO(self.members[node["file"]]))
        given = change(array)
        stream = io.BytesIO()
        np.save(stream, array if given is None else given)
        self.members[node["file"]] = stream.getvalue()

    def word(self, node: dict[str, Any], value: Any) -> None:
        """Another plain value in a node, which gets an id of its own."""
        node["content"], node["__id__"] = json.dumps(value), 10**9 + len(json.dumps(self.schema))

    def content(self) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, member in self.members.items():
                archive.writestr(name, json.dumps(self.schema) if name == "schema.json" else member)
        return stream.getvalue()


def _objects(item: Any, name: str) -> list[dict[str, Any]]:
    found = [item] if isinstance(item, dict) and item.get("__class__") == name else []
    inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return found + [each for one in inner for each in _objects(one, name)]


def edited(content: bytes, change: Callable[[File], Any]) -> bytes:
    """The file after a change; a change that gives bytes replaces it."""
    file = File(content)
    given = change(file)
    return given if isinstance(given, bytes) else file.content()
