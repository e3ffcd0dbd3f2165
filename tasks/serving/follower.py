"""Follow the release store: load a new champion wholly, then swap it in."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tasks.serving.release import Release, load_release, read_pointer
from tasks.spec.errors import AssayError

EVERY_SECONDS = 0.5
log = logging.getLogger("assay.serving")


@dataclass(frozen=True)
class Serving:
    version: str
    release: Release


@dataclass
class Follower:
    """``serving`` maps a model to what answers for it now; ``problems`` says what could not be loaded."""

    releases: Path
    serving: dict[str, Serving] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
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
        for folder in sorted(self.releases.glob("[a-z]*")) if self.releases.exists() else []:
            try:
                self._follow_one(folder)
                self.problems.pop(folder.name, None)
            except (AssayError, OSError, ValueError, KeyError) as error:
                if self.problems.get(folder.name) != str(error):
                    log.error("%s: %s", folder.name, error)
                self.problems[folder.name] = str(error)

    def _follow_one(self, folder: Path) -> None:
        pointer = read_pointer(folder)
        now = self.serving.get(folder.name)
        if pointer is None or (now is not None and now.version == pointer["version"]):
            return
        release = load_release(folder / "versions" / pointer["version"])
        release.score(_blank(release))  # the first call of a pipeline is slow; nobody should wait for it
        self.serving[folder.name] = Serving(pointer["version"], release)
        log.info("%s", json.dumps({"model": folder.name, "version": pointer["version"]}))


def _blank(release: Release) -> pd.DataFrame:
    kinds = {c["name"]: c["type"] for c in release.manifest.inputs}
    return pd.DataFrame({n: ["missing"] if kinds[n] == "category" else [0.0] for n in release.manifest.features})
