"""Versions and candidates on disk: files of a registered version, checkout of a candidate, their materiality."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.asked import main_config
from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry, Version
from tasks.records.repository import dvc, workspace
from tasks.records.repository.git import Git
from tasks.science.data.tables import BENCHMARK, LABEL
from tasks.spec.base import digest_file, load_registered
from tasks.spec.errors import CorruptionError
from tasks.spec.gate import MATERIALITIES, Materiality
from tasks.spec.line import flat
from tasks.spec.manifest import Manifest
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.models import model_folder
from tasks.spec.settings import Settings
from tasks.spec.sources import sources
from tasks.stages.common import ModelPaths

KEPT_VERSIONS = 5
"""How many versions of a model keep their files at hand beside the champion."""


@dataclass(frozen=True)
class VersionFiles:
    """The files of a registered version, taken out of DVC once and kept beside the release store."""

    version: str
    folder: Path

    @property
    def config(self) -> ModelConfig:
        return load_registered(self.folder / "model.yaml", ModelConfig)

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def code(self) -> Path:
        """The model's own modules at that version; empty where it has none."""
        return self.folder / "code"

    @property
    def evaluation(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "evaluation/evaluation.json").read_text())
        return document

    def reference(self) -> pd.DataFrame:
        """The reference window: scored holdout rows of the newest benchmark that this version has answered.

        Collected rows are in the order in which they were served, so their end is the newest. Labels
        are as in a window of the log: 0 or 1, a class's name, or a number.
        """
        rows = pd.read_parquet(self.folder / "evaluation/holdout_scored.parquet")
        newest = newest_benchmark(rows)
        rows = rows[rows[BENCHMARK] == newest]
        if newest == "recent":
            rows = rows.tail(self.config.monitoring.reference_rows)
        label = rows[LABEL] if self.config.kind == "multiclass" else rows[LABEL].astype(float)
        return rows.assign(**{LABEL: label}).reset_index(drop=True)


def newest_benchmark(rows: pd.DataFrame) -> str:
    return "recent" if (rows[BENCHMARK] == "recent").any() else "holdout"


def version_files(settings: Settings, model: str, version: Version) -> VersionFiles:
    """Restore one version's model and evaluation from its commit, compared with the digests in its ``dvc.lock``.

    What the DVC cache has lost is fetched, or made anew from the commit's code, parameters and data.

    The files stay for the next caller; of each model the champion and the versions used last are kept.

    Raises:
        CorruptionError: the cache holds other bytes than were recorded, or what was made anew differs.
    """
    folder = settings.home / "versions" / model / version.tag
    if folder.exists() and not (folder / "code").exists():  # restored by a release that left it out
        _remove(folder)
    if not folder.exists():
        with workspace.worktree(settings, version.commit) as tree:
            paths = ModelPaths(tree, model)
            dvc.restore(tree, f"train@{model}", f"evaluate@{model}")
            draft = folder.with_name(f".{version.tag}-{tree.name}")
            try:
                shutil.copytree(paths.model, draft / "model")
                shutil.copytree(paths.evaluation, draft / "evaluation")
                code = model_folder(tree, model) / "code"
                code.mkdir(exist_ok=True)
                shutil.copytree(code, draft / "code", symlinks=True)  # a link may name any file of this machine
                for name in ("model.yaml", "rules.yaml", "expectations.yaml"):
                    if (model_folder(tree, model) / name).exists():
                        shutil.copy(model_folder(tree, model) / name, draft / name)
                _refuse_other(settings, model, version, draft / "model/model.skops")
                draft.rename(folder)
            except OSError:
                if not folder.exists():  # else another run restored the same version first; both hold the same bytes
                    raise
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        _prune(settings, model)
    os.utime(folder)  # the time of the last use decides what is kept
    return VersionFiles(version.tag, folder)


def _refuse_other(settings: Settings, model: str, version: Version, file: Path) -> None:
    """Compare a restored model file with the one that the version's verdict speaks of."""
    verdict = ledger.evidence(settings, version.evidence).get("verdict") if version.evidence else None
    examined = verdict.get("model_digest") if isinstance(verdict, dict) else None
    if isinstance(examined, str) and file.exists() and (found := digest_file(file)) != examined:
        raise CorruptionError(
            f"commit {version.commit[:12]} gives {model} {version.tag} a model file with digest {found}, and its "
            f"verdict speaks of {flat(examined)}. Nothing of it is used; see whether the record "
            "holds: assay ledger --verify"
        )


def _prune(settings: Settings, model: str) -> None:
    """Remove what was not used for longest; everything here can be restored."""
    champion = Registry(settings).champion(model)
    with workspace.lock(settings):  # of two runs that tidy up at once, the second sees what the first left
        folders = [
            f for f in (settings.home / "versions" / model).glob("v*") if champion is None or f.name != champion.tag
        ]
        for folder in sorted(folders, key=lambda f: f.stat().st_mtime, reverse=True)[KEPT_VERSIONS:]:
            _remove(folder)


def _remove(folder: Path) -> None:
    """In one step: a reader finds a version whole or not at all."""
    gone = folder.with_name(f".{folder.name}-gone")
    with suppress(FileNotFoundError):  # another run removed it first
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


@dataclass(frozen=True)
class Candidate:
    """One trained and measured model, as a commit of the origin and as files of a checkout."""

    model: str
    commit: str
    branch: str
    worktree: Path
    model_digest: str

    @property
    def paths(self) -> ModelPaths:
        return ModelPaths(self.worktree, self.model)

    @property
    def config(self) -> ModelConfig:
        return load_model(self.worktree, self.model)

    @property
    def manifest(self) -> Manifest:
        return Manifest.model_validate_json((self.paths.model / "manifest.json").read_text())

    def requesters(self, actor: str) -> tuple[str, ...]:
        """Who may not sign for this candidate: who asked for it, and who wrote what is new in it.

        The author of the commit that it was trained from comes first after who asked.
        """
        git, base = Git(self.worktree), f"{self.commit}^"
        while git.run("diff-tree", "--no-commit-id", "--name-only", "-r", base) == self._signature:
            base += "^"
        return (actor, *dict.fromkeys([git.run("log", "-1", "--format=%ae", base), *self._authors(git)]))

    @property
    def _signature(self) -> str:
        """The file of an envelope's signature: whoever brings it wrote nothing of the model."""
        return f"deployments/models/{self.model}/envelope.yaml"

    def _authors(self, git: Git) -> Iterator[str]:
        """Who, since the champion, changed what makes or judges the model; where nothing serves yet, its own files.

        Whoever merges a change did not write it, unless the merge holds something that no side of it had.
        """
        champion = Registry(Settings()).champion(self.model)
        since, paths = [f"{self.commit}^"], [f"deployments/models/{self.model}", f"data/{self.model}"]
        if champion is not None and git.has(champion.commit):
            since.append(f"^{champion.commit}")
            paths += sources(git.run("show", f"{self.commit}:dvc.yaml"), self.model)
        asked = (*since, "--", *(f":(literal){path}" for path in paths), f":(exclude,literal){self._signature}")
        together = "%(trailers:key=Co-authored-by,valueonly,only)"
        for line in git.lines("log", "--no-merges", "--full-history", f"--format=%ae%n{together}", *asked):
            if line.strip():
                yield (re.findall(r"<([^<>]*)>", line) or [line.strip()])[-1]
        merges = git.read("log", "--merges", "--full-history", "--cc", "--name-only", "--format=%x01%ae", *asked)
        for merge in merges.decode(errors="replace").split("\1"):
            author, _, files = merge.partition("\n")
            if files.strip():
                yield author


def materiality(candidate: Candidate) -> Materiality:
    """The highest one of the candidate's, the champion's and the main branch's: a candidate cannot talk itself out of
    an examination."""
    settings = Settings()
    champion = Registry(settings).champion(candidate.model)
    found = [candidate.config.materiality]
    if (main := main_config(candidate.model)) is not None:
        found.append(main.materiality)
    if champion is not None:
        found.append(version_files(settings, candidate.model, champion).config.materiality)
    return max(found, key=MATERIALITIES.index)


def unprotected(candidate: Candidate) -> str:
    """Why no protected group can be named; empty where the candidate names some.

    It is empty too where the champion or the main branch names some: a candidate cannot talk itself out of its fairness
    gates.
    """
    settings = Settings()
    if (main := main_config(candidate.model)) is not None and main.protected:
        return ""
    champion = Registry(settings).champion(candidate.model)
    if champion is not None and version_files(settings, candidate.model, champion).config.protected:
        return ""
    return candidate.config.unprotected
