"""Follow the release store: load a new champion wholly, then swap it in."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.serving.release import Release, load_release, read_pointer
from tasks.serving.schema import RowSchema
from tasks.serving.trust import Trust
from tasks.spec.errors import AssayError
from tasks.spec.manifest import Pointer

EVERY_SECONDS = 0.5
STORE = "release store"
"""The name under which a problem with the store itself is reported; no model can have it."""
log = logging.getLogger("assay.serving")


@dataclass(frozen=True)
class Serving:
    """What answers for one model: its pointer, its release, and the schema of its rows."""

    pointer: Pointer
    release: Release
    row: RowSchema
    files: tuple[Path, ...] = ()
    """Those that it was loaded from, and will be loaded from again."""

    @property
    def version(self) -> str:
        return self.pointer.version


@dataclass
class Follower:
    """``serving`` maps a model to what answers for it now; ``problems`` says what could not be loaded.

    Both are replaced, never changed, so a request may go through them while the follower works.
    """

    releases: Path
    trust: Trust
    serving: dict[str, Serving] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    looked: float = field(default_factory=time.monotonic)
    """When the store was last looked at, by the clock of this process."""
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

    def general(self) -> dict[str, str]:
        """The models that scikit-learn's pipeline answers for, each with the reason."""
        return {
            name: f"scikit-learn's pipeline answers: {now.release.general}"
            for name, now in self.serving.items()
            if now.release.answering is None
        }

    def _follow(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            self.look()

    def look(self) -> None:
        """Bring every model in line with its pointer; a version that cannot be loaded leaves the old one serving.

        Whatever a broken release raises is reported in ``problems`` and logged once. An exception here would end the
        thread, and the service would silently follow nothing any more.
        """
        found: dict[str, str] = {}
        try:
            folders = sorted(f for f in self.releases.glob("[a-z]*") if f.is_dir()) if self.releases.exists() else []
        except Exception as error:
            folders, found[STORE] = [], _sentence(error)
        for folder in folders:
            try:
                said = self._follow_one(folder)
            except Exception as error:
                said = _sentence(error)
            if said:
                found[folder.name] = said
        for name, sentence in found.items():
            if self.problems.get(name) != sentence:
                log.error("%s: %s", name, sentence)
        self.problems, self.looked = found, time.monotonic()

    def _follow_one(self, folder: Path) -> str:
        """Serve what the pointer names; gives what is to be said of it, if anything."""
        pointer = read_pointer(folder)
        now = self.serving.get(folder.name)
        if pointer is None:
            return self.trust.gone(folder.name)
        if now is not None and _same(now.pointer, pointer):
            return self.trust.complaint(folder.name, pointer)
        self.trust.check(folder.name, pointer)
        own = folder / "versions" / pointer.version
        release, files = load_release(own, pointer), (own / "model.skops", own / "manifest.json")
        release.answer([_blank(release)])  # the first call of a pipeline is slow; nobody should wait for it
        self.serving = self.serving | {folder.name: Serving(pointer, release, RowSchema(release.manifest), files)}
        log.info("%s", json.dumps({"model": folder.name, "version": pointer.version}))
        self.trust.saw(folder.name, pointer)
        return self.trust.complaint(folder.name, pointer)


def _same(one: Pointer, other: Pointer) -> bool:
    return one.model_copy(update={"assigned": ""}) == other.model_copy(update={"assigned": ""})


def _sentence(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, AssayError)
        else f"it could not be loaded ({type(error).__name__}: {error}). Publish the version again."
    )


def _blank(release: Release) -> dict[str, Any]:
    return {column.name: column.kind.to_json(column.kind.placeholder) for column in release.manifest.columns}
