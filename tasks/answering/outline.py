"""What a model file says of its pipeline: each step's class and parameters, read without building anything of it."""

from __future__ import annotations

import difflib
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.answering.compiled_estimators import NETWORK
from tasks.answering.contents import Contents, Record, Unsound, numbers

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


@dataclass(frozen=True)
class Layer:
    """One layer of a network: its units, what is applied to their sums, and the numbers learned for it."""

    name: str
    """``inputs``, ``layer 1`` and so on for the hidden ones, ``outputs``."""
    units: int
    activation: str = ""
    weights: int = 0
    """With intercepts; the inputs have none."""


def layers(path: Path) -> list[Layer]:
    """From the inputs to the outputs, by the arrays of a model file; none where it holds no multi-layer perceptron.

    Args:
        path: of ``model.skops``.
    """
    try:
        contents = Contents(path.read_bytes())
        pipeline = contents.value(contents.schema)
        steps = pipeline.sequence("steps") if isinstance(pipeline, Record) else []
        network = steps[-1][1] if steps else None
        if not isinstance(network, Record) or not network.kind.startswith(NETWORK):
            return []
        found = [numbers(w, f"{network.name}.coefs_", (None, None)).shape for w in network.sequence("coefs_")]
        within, last = str(network["activation"]), str(network["out_activation_"])
    except (OSError, Unsound, LookupError, TypeError):
        return []
    names = [f"layer {at}" for at in range(1, len(found))] + ["outputs"]
    return [Layer("inputs", found[0][0])] + [
        Layer(name, after, last if name == "outputs" else within, (before + 1) * after)
        for name, (before, after) in zip(names, found, strict=True)
    ]


def layer_changes(old: Sequence[Layer], new: Sequence[Layer]) -> list[str]:
    """What differs between two networks, layer by layer, a line each; none where either is no network, or none does.

    Hidden layers are matched in their order, so that one put between two others is one that was added.
    """
    if not old or not new:
        return []
    return [*_changed(old[0], new[0]), *_hidden(old[1:-1], new[1:-1]), *_changed(old[-1], new[-1]), *_total(old, new)]


def _hidden(old: Sequence[Layer], new: Sequence[Layer]) -> Iterator[str]:
    keys = [[(layer.units, layer.activation) for layer in side] for side in (old, new)]
    if {a for _, a in keys[0]} != {a for _, a in keys[1]}:  # one activation holds for all hidden layers
        keys = [[(units, "") for units, _ in side] for side in keys]
    for _, a, b, c, d in difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        before, after = old[a:b], new[c:d]
        for one, other in zip(before, after, strict=False):
            yield from _changed(one, other)
        for layer in after[len(before) :]:
            yield f"{layer.name} added: {layer.units} units, {layer.activation}"
        for layer in before[len(after) :]:
            yield f"{layer.name} removed: {layer.units} units, {layer.activation}"


def _changed(old: Layer, new: Layer) -> Iterator[str]:
    units = f"{old.units} to {new.units} units" if old.units != new.units else ""
    activation = f"{old.activation} to {new.activation}" if old.activation != new.activation else ""
    if units or activation:
        yield f"{new.name}: {', '.join(filter(None, (units, activation)))}"


def _total(old: Sequence[Layer], new: Sequence[Layer]) -> Iterator[str]:
    one, other = (sum(layer.weights for layer in side) for side in (old, new))
    if one != other:
        yield f"weights in all: {one:,} to {other:,}"
