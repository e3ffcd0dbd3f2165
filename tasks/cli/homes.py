"""The format number of a home, and who may read it."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.spec.errors import ConfigError
from tasks.spec.formats import HOME
from tasks.spec.settings import Settings

FILE = "format.json"
HOLDS = ("clone", "predictions.db", "prefect")
"""What tells a home that was used before homes had a number from a new one."""


def number_of(home: Path) -> int:
    """The format of a home; that of this code where nothing is in it yet.

    Raises:
        ConfigError: its number cannot be read.
    """
    try:
        found = json.loads((home / FILE).read_text())["format"]
        if isinstance(found, bool) or not isinstance(found, int):
            raise ValueError(found)
    except (FileNotFoundError, NotADirectoryError):
        return 1 if any((home / name).exists() for name in HOLDS) else HOME.number
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f'{home / FILE} does not say which format the home has. Write {{"format": {HOME.number}}} into it where '
            "this release used the home last, or restore a backup: assay restore FILE --replace"
        ) from None
    return found


def refuse_newer(settings: Settings) -> None:
    """Nothing of a home is touched that a newer release has written.

    Raises:
        ConfigError: it is one; the way back is in the sentence.
    """
    number = number_of(settings.home)
    if number > HOME.number:
        raise ConfigError(
            f"the home {settings.home} has format {number}, and this release of Assay knows formats up to "
            f"{HOME.number}: a newer release wrote it. Use that release, or go back to before its upgrade: assay "
            f"restore {copy_before(settings, number)} --replace"
        )


def copy_before(settings: Settings, number: int) -> Path:
    """The backup that an upgrade to a format makes first."""
    return settings.home / f"backups/before-format-{number}.tar"
