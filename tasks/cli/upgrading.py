"""A home of an older release is brought forward in one step, with a way back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tasks.cli.backups import backup
from tasks.cli.homes import FILE, copy_before, number_of
from tasks.records.log.predictions import PredictionLog
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import prepare_origin
from tasks.spec.errors import LogUnavailable
from tasks.spec.formats import HOME
from tasks.spec.settings import Settings


def upgrade(settings: Settings) -> str | None:
    """Bring the home of a stopped system to this code's format; gives what was done, in a sentence.

    A backup comes first, without DVC's cache, which no step changes. A step that fails leaves the number as it was,
    and may be taken again.
    """
    number, said = number_of(settings.home), None
    if number < HOME.number:
        copy = copy_before(settings, HOME.number)
        copy.parent.mkdir(exist_ok=True)
        without = "" if copy.exists() else _copied(settings, copy)
        for step in range(number, HOME.number):
            STEPS[step](settings)
        said = (
            f"the home {settings.home} was upgraded from format {number} to {HOME.number}; the way back is: assay "
            f"down; assay restore {copy} --replace; then use the older release{without}"
        )
    if said or not (settings.home / FILE).exists():
        draft = settings.home / f".{FILE}"
        draft.write_text(json.dumps({"format": HOME.number, "since": datetime.now(UTC).isoformat(timespec="seconds")}))
        draft.replace(settings.home / FILE)
    return said


def _copied(settings: Settings, copy: Path) -> str:
    """Make the way back; gives what is to be said of what is not in it."""
    try:
        backup(settings, copy, cache=False)
    except LogUnavailable as error:
        backup(settings, copy, cache=False, log=False)
        return f". The prediction log in PostgreSQL is not in it: {error}"
    return ""


def _from_1(settings: Settings) -> None:
    """Processes are known by other files, an origin's settings hold for whoever pushes, and the log is migrated."""
    shutil.rmtree(settings.home / "run", ignore_errors=True)
    for draft in settings.home.glob("clone-*"):
        shutil.rmtree(draft, ignore_errors=True)
    if not settings.origin and (settings.home / "origin.git").exists():
        prepare_origin(Git(settings.home / "origin.git"))
    if settings.has_log:
        PredictionLog(settings.log_database).close()


STEPS: dict[int, Callable[[Settings], None]] = {1: _from_1}
"""How a home of one format becomes one of the next."""
