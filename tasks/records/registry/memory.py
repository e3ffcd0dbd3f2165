"""What a home has seen of its ledger, kept by the clone and beside it: a clone that is made anew is held to it.

That is the fingerprint of the first list, and the newest tip that was read. Without them any ledger would be believed
that is signed by itself.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tasks.records.registry.branch import SEEN
from tasks.records.repository.git import Git
from tasks.spec.errors import CorruptionError
from tasks.spec.settings import Settings

NAME, STATE = "ledger-memory.json", "ledger-state.json"
"""In the home. The second is of what the entries prove; where the first was never written, it says as much."""
ROOT = "assay.root"
"""The key of the clone's git config that keeps the fingerprint of the first list."""


class Kept(BaseModel):
    root: str = ""
    """Fingerprint of the first list; empty before there is one."""
    seen: str = ""
    """The newest commit of the ledger that was read; from there it moves only forward."""


class _Proven(BaseModel):
    root: str = ""
    tip: str = ""


@dataclass(frozen=True)
class Memory:
    clone: Kept
    home: Kept

    @property
    def roots(self) -> list[str]:
        """One, as long as nobody changed the clone or the home."""
        return list(dict.fromkeys(filter(None, (self.clone.root, self.home.root))))

    @property
    def marks(self) -> list[str]:
        """What any ledger must come after."""
        return list(dict.fromkeys(filter(None, (self.clone.seen, self.home.seen))))


def recall(settings: Settings, git: Git) -> Memory:
    """What both have seen.

    Raises:
        CorruptionError: the home's file cannot be read, and the clone knows nothing.
    """
    clone = Kept(
        root=git.run("config", "--default", "", "--get", ROOT),
        seen=git.run("for-each-ref", "--format=%(objectname)", SEEN),
    )
    path = settings.home / NAME
    try:
        return Memory(clone, Kept.model_validate_json(path.read_bytes()))
    except FileNotFoundError:
        return Memory(clone, Kept() if clone.root else _proven_before(settings))
    except (OSError, ValidationError):
        if clone.root and clone.seen:
            return Memory(clone, Kept())
    raise CorruptionError(
        f"{path} cannot be read, and the clone was made anew, so nobody knows which ledger is this home's. Bring the "
        "file back, or the home: assay restore FILE --replace"
    )


def _proven_before(settings: Settings) -> Kept:
    """What a home of an earlier release knows whose clone is gone."""
    try:
        found = _Proven.model_validate_json((settings.home / STATE).read_bytes())
    except (OSError, ValidationError):
        return Kept()
    return Kept(root=found.root, seen=found.tip)


def keep(settings: Settings, git: Git, known: Memory, root: str, seen: str) -> None:
    """Write what was read into both; what is empty leaves what each has, and fills what one lacks from the other."""
    roots, marks = (root, *known.roots), (seen, *known.marks)
    clone, home = (
        Kept(root=root or kept.root or max(roots), seen=seen or kept.seen or max(marks))
        for kept in (known.clone, known.home)
    )
    if clone.root != known.clone.root:
        git.run("config", "--replace-all", ROOT, clone.root)
    if clone.seen != known.clone.seen and git.has(clone.seen):
        git.run("update-ref", SEEN, clone.seen)
    path = settings.home / NAME
    if home != known.home or (home != Kept() and not path.exists()):
        _write(path, home.model_dump_json())


def _write(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).replace(path)
