"""Format numbers of the documents that are stored: the one list for those who write them and those who read them.

``docs/formats.md`` explains the rule and says where each document is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.spec.errors import ConfigError


@dataclass(frozen=True)
class Format:
    """One kind of stored document."""

    name: str
    """As messages and ``docs/formats.md`` call it."""
    number: int
    """What this code writes under ``format``."""


FITTED_REFERENCE = Format("fitted reference", 1)
LAYOUT = Format("profile layout", 1)
DRIFT_REFERENCE = Format("drift reference", 2)
GROUPINGS = Format("groupings", 1)
PROFILE = Format("profile", 1)
FEED_FACTS = Format("feed facts", 1)
P_VALUES = Format("p-values", 1)
PICTURES = Format("pictures", 1)
SILENT_FEEDS = Format("silent feeds", 1)
HOME = Format("home", 2)
BACKUP = Format("backup", 1)
ACCESS_KEYS = Format("access keys", 1)
CARD = Format("model card", 1)
NUMBERED = (
    FITTED_REFERENCE,
    LAYOUT,
    DRIFT_REFERENCE,
    GROUPINGS,
    PROFILE,
    FEED_FACTS,
    P_VALUES,
    PICTURES,
    SILENT_FEEDS,
    HOME,
    BACKUP,
    ACCESS_KEYS,
    CARD,
)
"""All documents that carry their format number."""


def refuse_other_format(document: Mapping[str, Any], known: Format, fix: str) -> None:
    """Check a document's format number before anything else of it is read.

    Args:
        document: as it was stored, with its number under ``format``.
        known: the kind that is expected.
        fix: a sentence that says what to do about a document of another format.

    Raises:
        ConfigError: the document has another format number, or none.
    """
    found: Any = document.get("format")
    if isinstance(found, bool) or found != known.number:
        numbered = isinstance(found, int) and not isinstance(found, bool)
        age = ("an older" if found < known.number else "a newer") if numbered else "no known"
        raise ConfigError(
            f"the {known.name} has format {found!r}, {age} one; this code reads format {known.number} only. {fix}"
        )
