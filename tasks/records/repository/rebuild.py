"""Make what a commit records again, stage by stage, and name the first thing that differs.

Nothing of DVC's cache is used but files that no stage can make. What is compared are the digests in the commit's
``dvc.lock``: what each stage read, its parameters, and what it made.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.records.repository import dvc, process, sandbox
from tasks.records.repository.declared import differing, packages, stage
from tasks.records.repository.git import Git
from tasks.records.repository.lockfile import read
from tasks.records.repository.modules import importable
from tasks.records.repository.tracked import content, kept, md5_of
from tasks.spec.base import Loader, digest_file, parse_yaml
from tasks.spec.data_source import collected_folder, source_folder
from tasks.spec.errors import AssayError, StageError
from tasks.spec.line import flat
from tasks.spec.models import model_folder

STAGES = ("ingest", "prepare", "train", "evaluate")
SECONDS, LOOKED_BACK = 3600, 200
"""For one stage; commits in which the recorded form of a file is looked for."""


@dataclass(frozen=True)
class Other:
    """The first thing that is not as it was recorded."""

    stage: str
    artefact: str
    """A file or folder, or a key of ``model.yaml``."""
    made: bool
    """Whether the stage made it; else it read it."""
    cause: str
    """In words."""
    chance: bool = False
    """Whether the stage gives something else each time."""


@dataclass(frozen=True)
class Apart:
    """How far what was made is from what was recorded, at most."""

    what: str
    most: float
    share: float
    """The same as a share of how much the numbers vary, or of the number itself."""


class Rebuilding:
    """One version's commit, laid out in a folder.

    Args:
        tree: a clean checkout of the commit.
        cache: where files that no stage can make are looked for.
    """

    def __init__(self, tree: Path, model: str, cache: Path) -> None:
        self.tree, self.model, self.cache = tree, model, cache
        lock = tree / "dvc.lock"
        self.lock = lock.read_text() if lock.exists() else ""
        self.metrics = self._json(f"data/{model}/metrics.json")
        """As git has them, before anything is made."""

    def prepare(self) -> None:
        """Bring what no stage can make, and remove what the stages will make.

        Raises:
            StageError: the commit records no training, or a file is neither in the cache nor at a remote.
            CorruptionError: the cache holds other bytes than were recorded.
        """
        for name in STAGES:
            if not self.recorded(name):
                raise StageError(
                    f"dvc.lock of the commit says nothing of {name}@{self.model}, so nothing can be compared."
                )
        if pointers := dvc.pointers_of(self.tree, [f"{name}@{self.model}" for name in STAGES]):
            dvc.fetch(self.tree, *pointers)
        for folder in (source_folder(self.model), collected_folder(self.model)):
            (self.tree / folder).mkdir(parents=True, exist_ok=True)
        (model_folder(self.tree, self.model) / "code").mkdir(exist_ok=True)
        for name in STAGES:
            for path in self.outs(name):
                shutil.rmtree(self.tree / path) if (self.tree / path).is_dir() else (self.tree / path).unlink(True)

    def recorded(self, name: str) -> dict[str, Any]:
        return stage(self.lock, f"{name}@{self.model}")

    def outs(self, name: str) -> dict[str, str]:
        """Path and digest of what a stage made, as recorded."""
        return {str(out["path"]): str(out["md5"]) for out in self.recorded(name).get("outs", ())}

    def other_source(self) -> Other | None:
        """The first file or parameter that is not what a stage read, among those that no stage makes."""
        made: set[str] = set()
        for name in STAGES:
            if (found := self.other_input(name, made)) is not None:
                return found
            made |= set(self.outs(name))
        return None

    def other_input(self, name: str, without: Collection[str] = ()) -> Other | None:
        """The first file or parameter that is not what a stage read.

        Args:
            without: files that are not looked at.
        """
        for dep in self.recorded(name).get("deps", ()):
            path, md5 = str(dep["path"]), str(dep["md5"])
            found = "" if path in without else content(self._inside(path))
            if path not in without and found != md5:
                return Other(name, path, False, self._why(name, path, md5, found))
        for file, keys in (self.recorded(name).get("params") or {}).items():
            now = parse_yaml(read(self._inside(file), file), file, Loader)
            for key, value in keys.items():
                if not alike(value, _at(now, key)):
                    place, one, other = _deepest(key, value, _at(now, key))
                    said = f"{file} says {place}: {_shown(other)}, and {name} read {_shown(one)}"
                    return Other(name, place, False, said)
        return None

    def _inside(self, path: str) -> Path:
        """A path of ``dvc.lock`` as one of the checkout.

        Raises:
            StageError: it leads out; whoever pushed the file may have written any.
        """
        if not (self.tree / path).resolve().is_relative_to(self.tree.resolve()):
            raise StageError(f"dvc.lock names {flat(path)}, which lies outside the checkout. Let dvc write it anew.")
        return self.tree / path

    def other_output(self, name: str) -> Other | None:
        """The first file that a stage made otherwise."""
        for path, md5 in self.outs(name).items():
            found = content(self.tree / path)
            if found != md5:
                where = self._first_file(path, md5)
                return Other(
                    name, where, True, f"{where} comes out otherwise, although all that {name} reads is as recorded"
                )
        return None

    def by_chance(self, name: str, python: Path, environment: Mapping[str, str], seen: Path) -> bool:
        """Whether a stage gives something else when it is run once more on the same files."""
        before = {path: content(self.tree / path) for path in self.outs(name)}
        self.run(name, python, environment, seen)
        return any(content(self.tree / path) != md5 for path, md5 in before.items())

    def run(self, name: str, python: Path, environment: Mapping[str, str], seen: Path) -> None:
        """Run one stage with an interpreter, apart from everything else.

        Args:
            seen: the folder of the environment, which it may read.

        Raises:
            StageError: it failed.
        """
        words = shlex.split(str(self.recorded(name).get("cmd", "")))
        if words[:1] != ["python"]:
            raise StageError(f"the command of {name} is {flat(' '.join(words))!r}, and begins with no python.")
        written = self.tree / "data" / self.model
        written.mkdir(parents=True, exist_ok=True)
        with (
            importable(self.tree) as (modules, path),
            sandbox.apart(
                [written], [self.tree, modules, seen], network=name in sandbox.NETWORK_STAGES,
                environment={**path, **environment},
            ) as apart,
        ):  # fmt: skip
            try:
                code, out, err = process.run([*apart, str(python), *words[1:]], self.tree, {}, SECONDS)
            except subprocess.TimeoutExpired:
                raise StageError(f"{name} did not end within {SECONDS} s.") from None
        if code:
            lines = (out + b"\n" + err).decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            raise StageError(f"{name} failed: {flat((own or lines)[-1])[:400]}")

    def digests(self) -> dict[str, str]:
        """Path and sha256 of every file that the stages made."""
        found: dict[str, str] = {}
        for name in STAGES:
            for path in self.outs(name):
                files = [self.tree / path] if (self.tree / path).is_file() else sorted((self.tree / path).rglob("*"))
                found |= {f.relative_to(self.tree).as_posix(): digest_file(f) for f in files if f.is_file()}
        return found

    def libraries(self, recorded: Mapping[str, Any]) -> str:
        """In which libraries the manifest that was made differs from the recorded one, in words."""
        now = self._json(f"data/{self.model}/model/manifest.json").get("libraries") or {}
        return ", ".join(f"{k} {old} then and {new} now" for k, (old, new) in differing(dict(recorded), now).items())

    def largest(self) -> Apart | None:
        """How far the scores, or else the metrics, are from the recorded ones; None where neither can be compared."""
        return self._scores() or self._metrics()

    def _scores(self) -> Apart | None:
        import pandas as pd

        path = f"data/{self.model}/evaluation"
        then = self._kept(path, "holdout_scored.parquet")
        now = self.tree / path / "holdout_scored.parquet"
        if then is None or not now.exists():
            return None
        one, other = pd.read_parquet(then), pd.read_parquet(now)
        columns = [c for c in one if str(c).startswith("_score") and c in other]
        if len(one) != len(other) or not columns:
            return None
        most = float((one[columns] - other[columns]).abs().max().max())
        return Apart("a score of the holdout", most, most / (float(one[columns].to_numpy().std()) or 1.0))

    def _metrics(self) -> Apart | None:
        now = self._json(f"data/{self.model}/metrics.json")
        apart = [
            (abs(value - now[part][name]), abs(value - now[part][name]) / (abs(value) or 1.0))
            for part, values in self.metrics.items()
            for name, value in values.items()
            if isinstance(value, int | float) and isinstance(now.get(part, {}).get(name), int | float)
        ]
        return Apart("a metric", *max(apart)) if apart else None

    def _kept(self, path: str, name: str) -> Path | None:
        """A recorded file of a folder, where the cache has it."""
        md5 = self.outs("evaluate").get(path) or self.outs("train").get(path, "")
        listed = kept(self.cache, md5)
        if not md5.endswith(".dir") or not listed.exists():
            return None
        found = next((i["md5"] for i in json.loads(listed.read_bytes()) if i["relpath"] == name), "")
        return kept(self.cache, found) if found and kept(self.cache, found).exists() else None

    def _first_file(self, path: str, md5: str) -> str:
        """The first file of a folder that differs, where the cache has the list of them; else the folder."""
        listed = kept(self.cache, md5)
        if not md5.endswith(".dir") or not listed.exists():
            return path
        for item in json.loads(listed.read_bytes()):
            file = self.tree / path / item["relpath"]
            if not file.is_file() or md5_of(file) != item["md5"]:
                return f"{path}/{item['relpath']}"
        return path

    def _why(self, name: str, path: str, md5: str, found: str) -> str:
        """Why a file is not what a stage read; of a lock file its lines."""
        file = self.tree / path
        if not found:
            return f"{path}, which {name} read, is not there"
        before = _as_recorded(self.tree, path, md5) if file.is_file() else None
        if before is not None and path.endswith(".lock"):
            lines = differing(packages(before), packages(file.read_text()))
            named = ", ".join(f"{k} {old or 'none'} became {new or 'none'}" for k, (old, new) in lines.items())
            return f"{path} is not the one that {name} read: {named or 'its hashes differ'}"
        if before is not None:
            return f"{path} was changed after {name} had read it; its recorded form is in the history"
        return f"{path} has md5 {found}, and {name} read {md5}"

    def _json(self, path: str) -> dict[str, Any]:
        try:
            found = json.loads((self.tree / path).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def alike(one: Any, other: Any) -> bool:
    """Whether two values of YAML are the same; DVC writes 1e-3 as 0.001, which is no other parameter."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if one == other and isinstance(one, bool) == isinstance(other, bool):
        return True
    try:
        return not isinstance(one, bool) and not isinstance(other, bool) and float(one) == float(other)
    except (TypeError, ValueError):
        return str(one) == str(other)


def _at(document: Any, key: str) -> Any:
    for step in key.split("."):
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _deepest(key: str, one: Any, other: Any) -> tuple[str, Any, Any]:
    """The innermost key at which two values differ."""
    while isinstance(one, dict) and isinstance(other, dict):
        apart = [k for k in {**one, **other} if not alike(one.get(k), other.get(k))]
        if len(apart) != 1:
            break
        key, one, other = f"{key}.{apart[0]}", one.get(apart[0]), other.get(apart[0])
    return key, one, other


def _shown(value: Any) -> str:
    said = json.dumps(value, default=str, ensure_ascii=False)
    return said if len(said) <= 80 else f"{said[:77]}..."


def _as_recorded(tree: Path, path: str, md5: str) -> str | None:
    """A file of the history with this md5; None where the newest changes of it hold none."""
    for text in _forms(Git(tree), path):
        if hashlib.md5(text, usedforsecurity=False).hexdigest() == md5:
            return text.decode(errors="replace")
    return None


def _forms(git: Git, path: str) -> Iterator[bytes]:
    commits = git.lines("log", f"--max-count={LOOKED_BACK}", "--format=%H", "HEAD", "--", path)
    for commit in commits:
        try:
            yield git.read("show", f"{commit}:{path}")
        except AssayError:  # the commit that removed it
            continue
