"""A skops file as plain records: its schema and its arrays, read without making any object of it.

skops stores a zip archive. Its ``schema.json`` is a tree of nodes, each with a class and a loader; an object that is
met twice is known again by its ``__id__``. Arrays are ``.npy`` members. Reading that takes numpy and nothing else, so a
hostile file runs no code here, and scikit-learn need not be imported.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

MOST_BYTES = 4 * 2**30
"""Of all members, unpacked. A larger model would not fit beside others in a service."""
SHOWN = 60


class Unsound(ValueError):
    """The file holds what no training writes. The message continues a sentence that begins with the file's name."""


class Record:
    """One object of the file: its class by dotted path, and its attributes, read when they are asked for."""

    def __init__(self, contents: Contents, node: dict[str, Any]) -> None:
        self._contents, self._node = contents, node
        self.kind = f"{node.get('__module__')}.{node.get('__class__')}"
        inner = node.get("content")
        while isinstance(inner, dict) and "__loader__" in inner:  # the state of an object is a dict's own node
            inner = inner.get("content")
        self._fields: dict[str, Any] = inner if isinstance(inner, dict) else {}

    @property
    def name(self) -> str:
        """The class without its module, for sentences."""
        return self.kind.rpartition(".")[2]

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def __getitem__(self, name: str) -> Any:
        if name not in self._fields:
            raise Unsound(f"holds a {self.name} without {name}")
        return self._contents.value(self._fields[name])

    def arguments(self) -> Any:
        """What the constructor of a reduced object is called with."""
        reduced = self._node.get("__reduce__")
        if not isinstance(reduced, dict) or "args" not in reduced:
            raise Unsound(f"holds a {self.name} without the arguments that make it")
        return self._contents.value(reduced["args"])

    def whole(self, name: str) -> int:
        """A whole number, not negative."""
        value = self[name]
        if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iu":
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise Unsound(f"holds a {self.name} whose {name} is {shown(value)} and not a whole number from 0")
        return value

    def numbers(self, name: str, *shapes: tuple[int | None, ...], finite: bool = True) -> np.ndarray:
        """A float64 array of one of the shapes, in the memory order in which scikit-learn would get it.

        Args:
            shapes: what is allowed; None stands for any length.
            finite: whether every number must be.
        """
        return numbers(self[name], f"{self.name}.{name}", *shapes, finite=finite)

    def sequence(self, name: str, length: int | None = None) -> list[Any]:
        """A list, or a tuple, as a list."""
        value = self[name]
        if not isinstance(value, list | tuple):
            raise Unsound(f"holds a {self.name} whose {name} is {shown(value)} and not a list")
        if length is not None and len(value) != length:
            raise Unsound(f"holds a {self.name} whose {name} has {len(value)} items and not {length}")
        return list(value)


class Contents:
    """The archive of one model file.

    Raises:
        Unsound: it is no archive, too large, or its schema is not as skops writes it.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
            size = sum(member.file_size for member in self._archive.infolist())
            if size > MOST_BYTES:
                raise Unsound(f"unpacks to {size:,} bytes, and at most {MOST_BYTES:,} are read")
            schema = json.loads(self._archive.read("schema.json"))
        except Unsound:
            raise
        except (OSError, KeyError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise Unsound(f"is no skops archive ({type(error).__name__}: {_first(error)})") from None
        if not isinstance(schema, dict):
            raise Unsound("has a schema that is no tree of nodes")
        self.schema: dict[str, Any] = schema
        self._arrays: dict[str, np.ndarray] = {}
        self._refuse_twins()

    def value(self, node: Any) -> Any:
        """What a node stands for: a plain value, a list, a tuple, a dict, an array, or a record of an object."""
        if not isinstance(node, dict):
            raise Unsound(f"has {shown(node)} where a node should be")
        match node.get("__loader__"):
            case "JsonNode":
                return self._json(node)
            case "ListNode" | "TupleNode" as loader:
                items = node.get("content")
                if not isinstance(items, list):
                    raise Unsound(f"has a {loader} whose content is {shown(items)}")
                found = [self.value(item) for item in items]
                return found if loader == "ListNode" else tuple(found)
            case "DictNode":
                items = node.get("content")
                if not isinstance(items, dict):
                    raise Unsound(f"has a DictNode whose content is {shown(items)}")
                return {name: self.value(item) for name, item in items.items()}
            case "NdArrayNode":
                return self._array(node)
        return Record(self, node)

    def member(self, name: Any) -> bytes:
        """The bytes of one member."""
        try:
            return self._archive.read(name)
        except Exception as error:  # zip raises whatever its readers raise of damaged bytes
            raise Unsound(f"has a member {shown(name)} that cannot be read ({type(error).__name__})") from None

    def nodes(self) -> Iterator[tuple[dict[str, Any], tuple[dict[str, Any], ...]]]:
        """Every node of the schema, in its order and whatever it stands in, with the nodes around it."""
        waiting: list[tuple[Any, tuple[dict[str, Any], ...]]] = [(self.schema, ())]
        while waiting:
            item, around = waiting.pop()
            if isinstance(item, dict) and "__class__" in item:
                yield item, around
                around = (*around, item)
            inside = list(item.values()) if isinstance(item, dict) else item
            waiting += [(inner, around) for inner in reversed(inside) if isinstance(inner, dict | list)]

    def _refuse_twins(self) -> None:
        """skops takes the first node of an ``__id__`` for all of them, so each must stand for the same."""
        first: dict[Any, dict[str, Any]] = {}
        try:
            for node, _ in self.nodes():
                known = first.setdefault(node["__id__"], node) if node.get("__id__") else node
                if known is not node and not self._same(known, node):
                    raise Unsound(f"has two different nodes of one id, {shown(node['__id__'])}")
        except (RecursionError, TypeError):
            raise Unsound("has a schema that is nested too deeply, or ids that are no numbers") from None

    def _same(self, one: Any, other: Any) -> bool:
        """Whether two parts of the schema say the same; what is made anew for each has ids and files of its own."""
        if isinstance(one, dict) and isinstance(other, dict):
            keys = one.keys() - {"__id__"}
            return keys == other.keys() - {"__id__"} and all(
                self._same_file(one[key], other[key]) if key == "file" else self._same(one[key], other[key])
                for key in keys
            )
        if isinstance(one, list) and isinstance(other, list):
            return len(one) == len(other) and all(map(self._same, one, other))
        return type(one) is type(other) and bool(one == other)

    def _same_file(self, one: Any, other: Any) -> bool:
        return bool(one == other) or self.member(one) == self.member(other)

    def _json(self, node: dict[str, Any]) -> Any:
        try:
            return json.loads(node["content"])
        except (KeyError, TypeError, ValueError, RecursionError):
            raise Unsound(f"has a JsonNode whose content is {shown(node.get('content'))}") from None

    def _array(self, node: dict[str, Any]) -> np.ndarray:
        if node.get("type") == "json":
            items, shape = node.get("content"), self.value(node.get("shape"))
            if not isinstance(items, list) or shape != (len(items),):
                raise Unsound(f"has an array of objects whose shape is {shown(shape)}")
            found = np.empty(len(items), dtype=object)
            for at, item in enumerate(items):
                found[at] = self.value(item)
            return found
        name = node.get("file")
        if node.get("type") != "numpy" or not isinstance(name, str):
            raise Unsound(f"has an array of type {shown(node.get('type'))}")
        if name not in self._arrays:
            self._arrays[name] = self._read(name)
        return self._arrays[name]

    def _read(self, name: str) -> np.ndarray:
        """An ``.npy`` member, whose header must fit its bytes: nothing is allocated on a header's word."""
        try:
            stream = io.BytesIO(self._archive.read(name))
            version = np.lib.format.read_magic(stream)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = header[version](stream)
        except Exception as error:  # zip and numpy raise whatever their readers raise of damaged bytes
            raise Unsound(f"has a member {shown(name)} that is no array ({type(error).__name__})") from None
        left = len(stream.getbuffer()) - stream.tell()
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != left or min(shape, default=0) < 0:
            raise Unsound(f"has a member {shown(name)} of {left:,} bytes that should be {shown(shape)} of {dtype}")
        flat = np.frombuffer(stream.getbuffer(), dtype, offset=stream.tell()) if left else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if fortran else "C")


def numbers(value: Any, what: str, *shapes: tuple[int | None, ...], finite: bool = True) -> np.ndarray:
    """Check that a value is a float64 array of one of the shapes; see :meth:`Record.numbers`.

    Raises:
        Unsound: it is not.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.float64:
        said = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else shown(value)
        raise Unsound(f"has {said} as {what}, which should be an array of float64")
    if not any(
        len(shape) == value.ndim and all(want in (None, is_) for want, is_ in zip(shape, value.shape, strict=True))
        for shape in shapes
    ):
        allowed = " or ".join(str(tuple("any" if n is None else n for n in shape)) for shape in shapes)
        raise Unsound(f"has {what} of shape {value.shape}, which should be {allowed.replace(chr(39), '')}")
    if finite and not np.isfinite(value).all():
        raise Unsound(f"has {what} with numbers that are not finite")
    return value


def shown(value: Any) -> str:
    """A value of the file in a sentence, at most 60 characters of it."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:SHOWN]
