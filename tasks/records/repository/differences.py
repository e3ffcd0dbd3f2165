"""What changed of a model from one commit to another: code, data, parameters, environment; in full and in one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.records.repository.code_changes import CodeChange, code_changes
from tasks.records.repository.declared import differing, digests, makes, packages, parameters
from tasks.records.repository.objects import Objects
from tasks.spec.wording import plural

LOCK, STAGES = "requirements.lock", "dvc.lock"
NAMED, LONGEST = 3, 60


@dataclass(frozen=True)
class Difference:
    """What differs between two commits, as far as it makes a model; ``judging`` is what does not."""

    code: tuple[CodeChange, ...] = ()
    parameters: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    judging: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """Keys of ``model.yaml`` that judge, watch or describe it."""
    packages: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    data: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """Files that the data come from or are, by digest."""

    @property
    def any(self) -> bool:
        return bool(self.code or self.parameters or self.judging or self.packages or self.data)

    @property
    def sentence(self) -> str:
        """In one line, largest cause first by the order code, data, parameters, environment."""
        parts = [_code(self.code), _data(self.data), _keys("parameters", self.parameters), _packages(self.packages)]
        parts.append(_keys("what judges and watches it", self.judging))
        return "; ".join(filter(None, parts)) or "nothing that makes or judges it"


def differences(objects: Objects, model: str, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Difference]:
    """What differs between each older and newer commit, which the clone has."""
    config, found = f"deployments/models/{model}/model.yaml", {}
    for pair, changes in objects.changes(pairs).items():
        changed = {change.path: change for change in changes}
        mine = (changed[name] for name in (config, LOCK, STAGES) if name in changed)
        objects.read(blob for change in mine for blob in (change.old, change.new) if blob)

        def both(name: str, changed: dict[str, Any] = changed) -> tuple[str, str]:
            change = changed.get(name)
            return (objects.text(change.old), objects.text(change.new)) if change else ("", "")

        keys = differing(*map(parameters, both(config)))
        code = any(path.endswith(".py") for path in changed) or any("factory" in key for key in keys)
        found[pair] = Difference(
            code=tuple(code_changes(objects, model, *pair)) if code else (),
            parameters={key: values for key, values in keys.items() if makes(key)},
            judging={key: values for key, values in keys.items() if not makes(key)},
            packages=differing(*map(packages, both(LOCK))),
            data=_data_changes(model, *both(STAGES)),
        )
    return found


def _data_changes(model: str, old: str, new: str) -> dict[str, tuple[str | None, str | None]]:
    """Files by digest: what was read, then the tables that were made of it. A stage one side does not have says
    nothing: a commit that was only pushed has run none."""
    found: dict[str, tuple[str | None, str | None]] = {}
    for name, side in ((f"ingest@{model}", "outs"), (f"prepare@{model}", "deps"), (f"prepare@{model}", "outs")):
        one, other = digests(old, name, side), digests(new, name, side)
        if one and other:
            tables = [path for path in {**one, **other} if path.startswith("data/") and not path.endswith(".json")]
            found |= {p: (one.get(p), other.get(p)) for p in tables if one.get(p) != other.get(p)}
    return found


def _code(changes: Sequence[CodeChange]) -> str:
    if not changes:
        return ""
    names = [f"{change.file.rpartition('/')[2].removesuffix('.py')}.{change.name}" for change in changes]
    return f"code: {_some(names)}"


def _data(data: dict[str, tuple[str | None, str | None]]) -> str:
    if not data:
        return ""
    tables = [path for path in data if path.endswith("prepared")] or list(data)
    return f"data: {_some([path.rpartition('/')[2] for path in tables])}"


def _keys(title: str, keys: dict[str, tuple[Any, Any]]) -> str:
    named = [f"{key} {value_said(old)} to {value_said(new)}" for key, (old, new) in keys.items()]
    return f"{title}: {_some(named)}" if named else ""


def _packages(found: dict[str, tuple[str | None, str | None]]) -> str:
    named = [f"{name} {old or 'none'} to {new or 'none'}" for name, (old, new) in found.items()]
    return f"environment: {_some(named)}" if named else ""


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {plural(more, 'more', 'more')}" if more > 0 else "")


def value_said(value: Any) -> str:
    """A value of ``model.yaml`` in a few characters."""
    if value is None:
        return "none"
    said = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 3]}..."
