"""What two commits declare of one model: parameters, packages, and the digests of what the stages read and made."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from tasks.records.repository.lockfile import Quick
from tasks.spec.base import parse_yaml
from tasks.spec.errors import ConfigError

PINNED = re.compile(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
MAKES = ("title", "seed", "data", "features", "estimator")
"""Keys of ``model.yaml`` that make a model; the others judge, watch or describe it."""


def packages(lock: str) -> dict[str, str]:
    """Name and version of each package that a lock file pins."""
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PINNED.findall(lock)}


def differing(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, in the order of the older mapping; None where a key is not there."""
    keys = dict.fromkeys([*old, *new])
    return {key: (old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)}


@lru_cache(maxsize=1024)
def parameters(text: str) -> dict[str, Any]:
    """A YAML mapping by dotted keys; items of a list that have a name stand under it, other lists are one value.

    What cannot be read is empty: whoever asks compares commits that were trained, and shows what there is.
    """
    try:
        read = parse_yaml(text, "model.yaml", Quick)
    except ConfigError:
        return {}
    found: dict[str, Any] = {}
    _flatten(read, "", found)
    return found


def _flatten(value: Any, place: str, found: dict[str, Any]) -> None:
    items = value if isinstance(value, list) else []
    names = {item["name"] for item in items if isinstance(item, dict) and isinstance(item.get("name"), str)}
    if items and len(names) == len(items):
        value = {v["name"]: {k: x for k, x in v.items() if k != "name"} for v in value}
    if not isinstance(value, dict):
        found[place] = value
        return
    for key, inner in value.items():
        _flatten(inner, f"{place}.{key}" if place else str(key), found)


def makes(key: str) -> bool:
    """Whether a dotted key of ``model.yaml`` makes a model."""
    return key.split(".")[0] in MAKES


@lru_cache(maxsize=4096)
def stage(lock: str, name: str) -> dict[str, Any]:
    """What ``dvc.lock`` says of one stage; empty where it says nothing. Only that part is parsed: the file is long."""
    found = re.search(rf"(?m)^  {re.escape(name)}:\n((?:    .*\n|  - .*\n)*)", lock + "\n")
    if not found:
        return {}
    try:
        return parse_yaml(found[1], "dvc.lock", Quick)
    except ConfigError:
        return {}


def digests(lock: str, name: str, side: str) -> dict[str, str]:
    """Path and md5 of what a stage read (``deps``) or made (``outs``), by ``dvc.lock``."""
    listed = stage(lock, name).get(side)
    items = (item for item in (listed if isinstance(listed, list) else ()) if isinstance(item, dict))
    return {str(item.get("path")): str(item.get("md5")) for item in items}
