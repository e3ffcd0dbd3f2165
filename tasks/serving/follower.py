"""Follow the release store: load a new champion wholly, then swap it in."""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from tasks.serving.release import Release, load_release, read_pointer
from tasks.serving.schema import row_model
from tasks.spec.errors import CorruptionError

EVERY_SECONDS = 0.5
AGAIN_SECONDS = 5.0
"""How long a release that could not be loaded is left alone."""
MODEL, VERSION = re.compile(r"[a-z][a-z0-9_]{1,39}"), re.compile(r"v\d+\.\d+\.\d+")
log = logging.getLogger("assay.serving")


@dataclass(frozen=True)
class Serving:
    """What answers for one model; a request takes it once and so never sees two versions."""

    version: str
    digest: str
    release: Release
    row: type[BaseModel]


@dataclass
class Follower:
    """What serves now. The three mappings are replaced, never changed: whoever reads one keeps a whole picture."""

    releases: Path
    serving: dict[str, Serving] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    """Per model, why its champion could not be loaded; an earlier version may still serve."""
    known: tuple[str, ...] = ()
    """Models that have a folder in the store, with or without a champion."""
    _failed: dict[str, tuple[Any, float]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self.look()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=10)

    def _follow(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.look()

    def look(self) -> None:
        """Bring every model in line with its pointer; a version that cannot be loaded leaves the old one serving."""
        try:
            folders = [f for f in sorted(self.releases.iterdir()) if MODEL.fullmatch(f.name) and f.is_dir()]
        except FileNotFoundError:
            folders = []  # nothing was released yet
        except OSError as error:
            log.error("%s cannot be read: %s", self.releases, error)
            return
        self.known = tuple(sorted({f.name for f in folders} | set(self.serving)))
        for folder in folders:
            try:
                self._follow_one(folder)
            except Exception as error:  # a file may be wrong in any way; the thread must live and the old version serve
                self._complain(folder.name, str(error) or type(error).__name__)
        for name in set(self.serving) - {f.name for f in folders}:
            self._complain(name, f"{self.releases / name} is gone; {self.serving[name].version} still serves. Publish it again.")

    def _follow_one(self, folder: Path) -> None:
        name, pointer, now = folder.name, read_pointer(folder), self.serving.get(folder.name)
        if pointer is None:
            if now is not None:
                raise CorruptionError(f"{folder / 'champion.json'} is gone; {now.version} still serves. Point to a version again.")
            return
        version, digest = str(pointer["version"]), str(pointer["digest"])
        if now is None or (now.version, now.digest) != (version, digest):
            wanted, when = self._failed.get(name, (None, 0.0))
            if wanted == (version, digest) and time.monotonic() - when < AGAIN_SECONDS:
                return
            self._failed[name] = ((version, digest), time.monotonic())  # stands unless the lines below come to their end
            self.serving = {**self.serving, name: _load(folder, version, digest)}
            log.info("%s %s serves", name, version)
        self._failed.pop(name, None)
        self.problems = {key: text for key, text in self.problems.items() if key != name}

    def _complain(self, name: str, text: str) -> None:
        if self.problems.get(name) != text:
            log.error("%s: %s", name, text)
        self.problems = {**self.problems, name: text}


def _load(folder: Path, version: str, digest: str) -> Serving:
    """One version, ready to answer: bytes checked, opened, its row schema made, one row scored."""
    if not VERSION.fullmatch(version):
        raise CorruptionError(f"{folder / 'champion.json'} names version {version!r}; allowed: v<major>.<minor>.<patch>.")
    release = load_release(folder / "versions" / version)
    if release.manifest.model_digest != digest:
        raise CorruptionError(
            f"{folder / 'champion.json'} names digest {digest}, and the manifest of {version} says {release.manifest.model_digest}. "
            "It is not served; publish the version again."
        )
    release.score(_blank(release))  # the first call of a pipeline is slow; nobody should wait for it
    return Serving(version, digest, release, row_model(release.manifest))


def _blank(release: Release) -> pd.DataFrame:
    kinds = {c["name"]: c["type"] for c in release.manifest.inputs}
    return pd.DataFrame({n: ["missing"] if kinds[n] == "category" else [0.0] for n in release.manifest.features})
