"""A YAML file with the line of every key, and all that its schema finds wrong in it."""

from __future__ import annotations

import copy
import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tasks.spec.base import PLACED, UNQUOTED, Loader, Spec, problems_of, read_yaml
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError, Problem

Place = tuple[str | int, ...]
"""Where something stands in a document: keys, and places in lists counted from 0."""
S = TypeVar("S", bound=Spec)
CHOICES = ("literal_error", "enum", "column_type")
"""Kinds of problems whose sentence ends with all that is allowed."""
STAND_INS: dict[str, Any] = {
    "title": "?", "purpose": "?", "owner": "?", "seed": 0, "materiality": "low",
    "decision_threshold": 0.5, "positive": "positive", "negative": "negative",
}  # fmt: skip
"""Required keys of which nothing else hangs: where one is missing, the rest is read with this in its place."""
ROUNDS = 40
"""How often a document is read again without what was found wrong, to see what that hid."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or that a person should look at, and where it stands."""

    file: str
    line: int | None
    key: str
    message: str
    wrong: bool = True
    """False: nothing refuses the model for it, and yet it is seldom meant."""


@dataclass
class Document:
    """A file of a model's folder; ``name`` is how findings call it."""

    path: Path
    name: str
    raw: dict[str, Any] = field(default_factory=dict)
    node: Any = None

    def line(self, place: Place) -> int | None:
        """The line of a place, counted from 1; of what is not there, the line of what it is missing in."""
        node, line = self.node, None
        for part in place:
            if isinstance(node, yaml.MappingNode):
                pair = next((p for p in node.value if p[0].value == str(part)), None)
                if pair is None:
                    continue  # the name that pydantic gives to the branch of a union
                line, node = pair[0].start_mark.line + 1, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line if line is not None else (1 if self.node is not None else None)

    def written(self, place: Place) -> str | None:
        """A value without quotes, as it is written; None where none stands at the place."""
        node = self.node
        for part in place:
            if isinstance(node, yaml.MappingNode):
                node = next((value for key, value in node.value if key.value == str(part)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            else:
                return None
        plain = isinstance(node, yaml.ScalarNode) and node.style is None and node.value
        return str(node.value) if plain else None

    def finding(self, place: Place, message: str, wrong: bool = True) -> Finding:
        """A finding at a place of this file."""
        message = message.removeprefix(f"{self.path}: ").rstrip(".")
        return Finding(self.name, self.line(place), ".".join(map(str, place)), message, wrong)


def read(path: Path, name: str, findings: list[Finding]) -> Document:
    """Read a file; where it holds no mapping, or a key twice, that is a finding."""
    found = Document(path, name)
    try:
        found.raw = read_yaml(path, Loader)
        found.node = yaml.compose(path.read_text(encoding="utf-8"), Loader=Loader)
    except ConfigError as error:
        findings.append(Finding(name, error.line, "", str(error).removeprefix(f"{path} ").rstrip(".")))
    return found


def repeated(document: Document) -> list[Finding]:
    """Keys that stand twice in one mapping: whoever reads the file in earnest refuses it at the first."""
    found: list[Finding] = []
    open_nodes: list[tuple[Any, Place]] = [(document.node, ())]
    while open_nodes:
        node, place = open_nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            open_nodes += [(item, (*place, index)) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                line, name = key.start_mark.line + 1, str(key.value)
                if name in first:
                    said = f"{name} stands here again, after line {first[name]}; remove one of the two"
                    found.append(Finding(document.name, line, ".".join(map(str, (*place, name))), said))
                first.setdefault(name, line)
                open_nodes.append((value, (*place, name)))
    return found


class _Columns(Spec):
    columns: tuple[Column, ...]


def declared(document: Document) -> tuple[Column, ...]:
    """The columns that a config declares, however wrong the rest of it is; none where they cannot be read."""
    data = document.raw.get("data")
    part = {"columns": data.get("columns") if isinstance(data, dict) else None}
    found, _ = understood(Document(document.path, document.name, part, document.node), _Columns, [])
    return found.columns if found is not None else ()


def understood(document: Document, schema: type[S], findings: list[Finding]) -> tuple[S | None, set[str]]:
    """Read a document as ``schema`` with everything that is wrong in it, also what a first mistake would hide.

    What is wrong is left out, or replaced by the nearest allowed value, and the rest is read again.

    Returns:
        What could be read, None where too much is wrong; names of what was left out or replaced on the way.
    """
    draft = _Draft(copy.deepcopy(document.raw))
    for _ in range(ROUNDS):
        value, problems = problems_of(draft.raw, schema)
        for problem in problems:
            place = draft.original(problem.where)
            follows = draft.follows(place, problem.sentence)
            text = document.written(place) if problem.kind == UNQUOTED else None
            found = document.finding(place, f"{problem.sentence}: {text!r}" if text else problem.sentence)
            if not follows and _gist(found) not in {_gist(f) for f in findings if f.file == found.file}:
                findings.append(found)
        if value is not None:
            return value, draft.names
        done = [draft.mend(p, document) for p in sorted(problems, key=_later_first, reverse=True)]
        if not any(done):
            break
    return None, draft.names


def _gist(found: Finding) -> tuple[str, str]:
    """A finding without what is allowed: of a part of a schema, that is less than of the whole."""
    return found.key, re.sub(r"; (did you mean '[^']*'\? )?allowed: .*", "", found.message)


def _later_first(problem: Problem) -> tuple[tuple[int, str], ...]:
    return tuple((part, "") if isinstance(part, int) else (-1, part) for part in problem.where)


class _Draft:
    """A document from which mistakes are taken out, and which remembers where the rest stood in the file."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.names: set[str] = set()
        """What a complaint that only follows from something removed would name."""
        self.removed: set[Place] = set()
        self.renamed: dict[tuple[int, str], str] = {}
        """By the identity of a mapping and a key that was mistyped: as it was written."""
        self.places: dict[int, list[int]] = {}
        """By the identity of a list that has lost items: where the others stood."""

    def walk(self, where: Place) -> tuple[list[Any], list[str | int]]:
        """The holders on the way to a place, and its parts without the names that pydantic gives to branches."""
        holders, parts = list[Any](), list[str | int]()
        here: Any = self.raw
        for index, part in enumerate(where):
            known = part in here if isinstance(here, dict) else isinstance(here, list) and isinstance(part, int)
            branch = isinstance(here, dict) and part in [v for v in here.values() if isinstance(v, str)]
            if not known and (branch or index < len(where) - 1):
                continue
            holders.append(here)
            parts.append(part)
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                here = None
        return holders, parts

    def original(self, where: Place) -> Place:
        """A place of this draft as it is in the file."""
        holders, parts = self.walk(where)
        return tuple(
            self.places[id(holder)][part]
            if isinstance(part, int) and id(holder) in self.places and part < len(self.places[id(holder)])
            else self.renamed.get((id(holder), str(part)), part)
            for holder, part in zip(holders, parts, strict=True)
        )

    def follows(self, place: Place, sentence: str) -> bool:
        """Whether a problem is there only because something was taken out before."""
        taken = self.removed | {removed[:-1] for removed in self.removed}
        return place in taken or any(repr(name) in sentence for name in self.names)

    def mend(self, problem: Problem, document: Document) -> bool:
        """Replace a value that is none of a few by the nearest of them, and a missing one by a stand-in.

        A value that lacks quotes, and a key that is nearly one, becomes what was meant. Else take it out, or what it is
        missing in.
        """
        kind, sentence = problem.kind, problem.sentence
        holders, parts = self.walk(problem.where)
        text = document.written(self.original(problem.where)) if kind == UNQUOTED else None
        if text is not None and len(parts) == len(problem.where):
            holders[-1][parts[-1]] = text
            return True
        near = re.search(r"did you mean '([^']*)'", sentence) if kind == "extra_forbidden" else None
        if near and isinstance(holders[-1], dict) and parts[-1] in holders[-1] and near[1] not in holders[-1]:
            self.renamed[id(holders[-1]), near[1]] = str(parts[-1])
            holders[-1][near[1]] = holders[-1].pop(parts[-1])
            return True
        if kind == "missing" and parts[-1:] and parts[-1] in STAND_INS and isinstance(holders[-1], dict):
            holders[-1][parts[-1]] = STAND_INS[str(parts[-1])]
            return True
        allowed = re.findall(r"'([^']*)'", sentence.partition("input should be ")[2]) if kind in CHOICES else []
        for depth in range(len(holders), 0, -1):
            holder, part = holders[depth - 1], parts[depth - 1]
            there = isinstance(holder, dict) and part in holder
            if not there and not (isinstance(holder, list) and part in range(len(holder))):
                continue
            if depth == 1 and kind == PLACED:
                return False  # a whole part of the file is not taken out for what it lacks
            if allowed:
                nearest = difflib.get_close_matches(str(holder[part]), allowed, n=1, cutoff=0.3)
                holder[part] = nearest[0] if nearest else allowed[0]
                self.names |= _names(holder)
                return True
            self.removed.add(self.original(tuple(parts[:depth])))
            self.names |= _names(holder[part]) | ({str(part)} if isinstance(holder[part], dict) else set())
            if isinstance(holder, list):
                self.places.setdefault(id(holder), list(range(len(holder)))).pop(int(part))
            holder.pop(part)
            return True
        return False


def _names(removed: Any) -> set[str]:
    return {str(removed["name"])} if isinstance(removed, dict) and "name" in removed else set()
