"""Follow the release store: load a new champion wholly, then swap it in."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tasks.serving.elsewhere import load_elsewhere
from tasks.serving.explaining import Explainer, explainer
from tasks.serving.release import Release, blank, load_release, read_pointer
from tasks.serving.schema import RowSchema
from tasks.serving.trial import try_release
from tasks.serving.trust import Trust
from tasks.spec.errors import AssayError, CorruptionError
from tasks.spec.manifest import Pointer

EVERY_SECONDS = 0.5
START_SECONDS, MOMENT_SECONDS, TELL_SECONDS, TRY_AGAIN_SECONDS = 30.0, 0.3, 5.0, 30.0
"""How long a start waits for releases, and a look for one. After which it is told that one is being loaded, and after
which one that failed is tried again as it is."""
STORE = "release store"
"""The name under which a problem with the store itself is reported; no model can have it."""
log = logging.getLogger("assay.serving")


@dataclass(frozen=True)
class Loaded:
    """A release that was loaded wholly, and the schema of its rows."""

    release: Release
    row: RowSchema
    explainer: Explainer | str
    """What explains its answers, or why nothing does."""
    files: tuple[Path, ...]
    """Those that it was loaded from, and will be loaded from again."""
    identity: tuple[str, str, str]
    """Version and digests that the pointer asked for."""


@dataclass(frozen=True)
class Serving:
    """What answers for one model: its pointer and what was loaded for it."""

    pointer: Pointer
    loaded: Loaded

    @property
    def release(self) -> Release:
        return self.loaded.release

    @property
    def row(self) -> RowSchema:
        return self.loaded.row

    @property
    def files(self) -> tuple[Path, ...]:
        return self.loaded.files

    @property
    def version(self) -> str:
        return self.pointer.version


class Loading:
    """A release that is being loaded in a thread of its own, so that nothing waits for it but its own model."""

    def __init__(self, folder: Path, pointer: Pointer) -> None:
        self.folder, self.pointer, self.identity = folder, pointer, _identity(pointer)
        own = folder / "versions" / pointer.version
        self.files = (own / "model.skops", own / "manifest.json")
        self.since, self.stamp = time.monotonic(), self._stamp()
        self.found: Loaded | None = None
        self.said = ""
        self.thread = threading.Thread(target=self._load, name=f"loading {folder.name}", daemon=True)

    def start(self) -> None:
        """Begin, and wait a moment: most files are loaded within it."""
        self.thread.start()
        self.thread.join(MOMENT_SECONDS)

    @property
    def worth_another_try(self) -> bool:
        """Whether it failed, and its files have changed since, or a while has passed."""
        return bool(self.said) and (self._stamp() != self.stamp or time.monotonic() - self.since > TRY_AGAIN_SECONDS)

    def _load(self) -> None:
        try:
            release = load_release(self.files[0].parent, self.pointer, try_release, load_elsewhere)
            if release.manifest.model != self.folder.name:
                raise CorruptionError(
                    f"{self.files[1]} is the manifest of {release.manifest.model}, and {self.folder.name} is asked "
                    "for. Publish the version again."
                )
            release.answer([blank(release)])  # the first call of a pipeline is slow; nobody should wait for it
            self.found = Loaded(release, RowSchema(release.manifest), explainer(release), self.files, self.identity)
        except Exception as error:
            self.said = _sentence(error)

    def _stamp(self) -> list[tuple[int, int, int] | None]:
        found: list[tuple[int, int, int] | None] = []
        for path in self.files:
            try:
                about = path.stat()
                found.append((about.st_ino, about.st_size, about.st_mtime_ns))
            except OSError:
                found.append(None)
        return found


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
    _loading: dict[str, Loading] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Look, wait a while for what is being loaded, and follow from then on."""
        self.look()
        end = time.monotonic() + START_SECONDS
        for loading in self._loading.values():
            loading.thread.join(max(end - time.monotonic(), 0))
        self.look()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=10)
        for now in self.serving.values():
            now.release.close()

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
        name, pointer = folder.name, read_pointer(folder)
        now = self.serving.get(name)
        if pointer is None:
            return self.trust.gone(name)
        if now is not None and _same(now.pointer, pointer) and now.loaded.identity == _identity(pointer):
            return ""
        self.trust.check(name, pointer)
        if now is not None and now.loaded.identity == _identity(pointer):
            return self._serve(name, Serving(pointer, now.loaded))
        if now is not None and pointer.stopped:  # it is obeyed at once, whatever its version takes to be loaded
            self.serving = self.serving | {name: Serving(pointer, now.loaded)}
        return self._load(folder, pointer)

    def _load(self, folder: Path, pointer: Pointer) -> str:
        """Begin to load what a pointer names, or take what was loaded."""
        name, wanted = folder.name, _identity(pointer)
        loading = self._loading.get(name)
        if loading is None or loading.identity != wanted or loading.worth_another_try:
            loading = self._loading[name] = Loading(folder, pointer)
            loading.start()
        if loading.found is not None:
            del self._loading[name]
            return self._serve(name, Serving(pointer, loading.found))
        waits = name not in self.serving or time.monotonic() - loading.since > TELL_SECONDS
        return loading.said or (f"{pointer.version} is being loaded" if waits else "")

    def _serve(self, name: str, serving: Serving) -> str:
        self.serving = self.serving | {name: serving}
        log.info("%s", json.dumps({"model": name, "version": serving.version}))
        self.trust.saw(name, serving.pointer)
        return ""


def _identity(pointer: Pointer) -> tuple[str, str, str]:
    return pointer.version, pointer.model_digest, pointer.manifest_digest


def _same(one: Pointer, other: Pointer) -> bool:
    return one.model_copy(update={"assigned": ""}) == other.model_copy(update={"assigned": ""})


def _sentence(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, AssayError)
        else f"it could not be loaded ({type(error).__name__}: {error}). Publish the version again."
    )
