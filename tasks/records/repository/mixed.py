"""Commits that take some of what makes a model from one commit and the rest from another, with a seed of their own.

Such a commit is on no branch. It is laid out and trained as every other one is, so that nothing of it is trusted more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from tasks.records.repository.declared import MAKES
from tasks.records.repository.differences import LOCK, Difference, differences
from tasks.records.repository.git import Git
from tasks.records.repository.objects import NOTHING, Objects
from tasks.records.repository.temporary import own_folder
from tasks.spec.base import parse_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.training import TrainingConfig

Part = Literal["code", "data", "parameters", "environment"]
PARTS: tuple[Part, ...] = ("code", "data", "parameters", "environment")
"""What makes a model, beside its seed."""
OUTSIDE = re.compile(r"(data|deployments|docs|tests)/.*|[^/]*\.md")
"""What holds no code of the stages, a model's own folder apart."""
APART = ("title", "seed")
"""Keys that belong to no part."""


@dataclass(frozen=True)
class _Change:
    path: str
    mode: str
    blob: str
    """Of the older commit; ``NOTHING`` where it has no such file."""


class Mixing:
    """Two commits of one model, and the parts of what makes it in which they differ.

    Raises:
        ConfigError: ``model.yaml`` of one of them cannot be read.
    """

    def __init__(self, git: Git, model: str, old: str, new: str) -> None:
        self.git, self.model, self.old, self.new = git, model, old, new
        self._config = f"deployments/models/{model}/model.yaml"
        objects = Objects(git)
        self.difference: Difference = differences(objects, model, [(old, new)])[(old, new)]
        self._documents = [self._document(objects, commit) for commit in (old, new)]
        self._changed = list(self._changes())
        self.parts: tuple[Part, ...] = tuple(part for part in PARTS if self._differs(part))

    def commit(self, newer: Collection[Part], seed: int) -> str:
        """A commit with these parts of the newer one, all others of the older one, and a seed."""
        with own_folder("mixed") as folder:
            index = {"GIT_INDEX_FILE": str(folder / "index")}
            self.git.run("read-tree", self.new, env=index)
            lines = [
                f"{'0' if one.blob == NOTHING else one.mode} {one.blob}\t{one.path}\0"
                for one in self._changed
                if (part := self._part(one.path)) is not None and part not in newer
            ]
            config = self.git.run("hash-object", "-w", "--stdin", stdin=self._model_yaml(newer, seed))
            lines.append(f"100644 {config}\t{self._config}\0")
            words = "".join(lines).encode("utf-8", "surrogateescape")
            self.git.run("update-index", "-z", "--index-info", stdin=words, env=index)
            tree = self.git.run("write-tree", env=index)
        said = f"{self.model}: {', '.join(sorted(newer)) or 'nothing'} of {self.new[:12]}, the rest of {self.old[:12]}"
        return self.git.run("commit-tree", tree, "-p", self.new, "-m", said)

    def _document(self, objects: Objects, commit: str) -> dict[str, Any]:
        text = objects.text(objects.tree(commit).get(self._config))
        return TrainingConfig.upgraded(parse_yaml(text, f"model.yaml of {commit[:12]}"))

    def _changes(self) -> Iterator[_Change]:
        how = ("-r", "--raw", "-z", "--no-renames", "--no-abbrev")
        parts = iter(self.git.lines("diff-tree", *how, self.old, self.new, end="\0"))
        for about in parts:
            mode, _, blob, _, _ = about.removeprefix(":").split(" ")
            yield _Change(next(parts), mode, blob)

    def _part(self, path: str) -> Part | None:
        """Which part a file belongs to; none where it makes nothing, or is written anew."""
        own, data = f"deployments/models/{self.model}/code/", f"data/{self.model}/"
        if path == LOCK:
            return "environment"
        if path.startswith(data):
            made = path == f"{data}metrics.json" or path.startswith(f"{data}plots/")  # a candidate's commit has them
            return None if made else "data"
        if path.startswith(own):
            return "code"
        return None if OUTSIDE.fullmatch(path) or path == "dvc.lock" else "code"

    def _differs(self, part: Part) -> bool:
        old, new = self._documents
        if part == "code":  # of what the model loads, and not by comments or layout
            return bool(self.difference.code)
        if part == "environment":
            return bool(self.difference.packages)
        if part == "data":
            return _source(old) != _source(new) or any(self._part(one.path) == "data" for one in self._changed)
        return _parameters(old) != _parameters(new)

    def _model_yaml(self, newer: Collection[Part], seed: int) -> bytes:
        old, new = self._documents
        made = deepcopy(new)
        if "parameters" not in newer:
            made = {key: value for key, value in made.items() if key not in MAKES or key in APART}
            made |= deepcopy({key: value for key, value in old.items() if key in MAKES and key not in APART})
        made.setdefault("data", {})["source"] = deepcopy(_source(new if "data" in newer else old))
        made["seed"] = seed
        return yaml.safe_dump(made, sort_keys=False, allow_unicode=True).encode()


def _source(document: dict[str, Any]) -> Any:
    data = document.get("data")
    return data.get("source") if isinstance(data, dict) else None


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    """What makes a model, without its seed and where its rows come from."""
    found = deepcopy({key: value for key, value in document.items() if key in MAKES and key not in APART})
    if not isinstance(found.get("data"), dict):
        raise ConfigError("model.yaml has no mapping under data; nothing was trained from it.")
    found["data"].pop("source", None)
    return found
