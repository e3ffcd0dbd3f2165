"""What CONTRIBUTING.md says a change touches, read from its table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conftest import ROOT

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
HEADING = "| to add | new | changed |"
NAMED = re.compile(r"`([\w./<>-]+)(?:::(\w+))?`")


@dataclass(frozen=True)
class Change:
    """One kind of change; paths are relative to the repository, and ``<name>`` in one stands for the new thing's
    name."""

    what: str
    new: tuple[str, ...]
    changed: tuple[tuple[str, str], ...]
    """Path, and the symbol in it that gets one more entry; empty where there is no such symbol."""

    @property
    def files(self) -> int:
        """How many files of ``tasks``, ``flows`` and ``deployments`` it touches; tests come on top."""
        return len([path for path in (*self.new, *(p for p, _ in self.changed)) if not path.startswith("tests/")])


def changes() -> list[Change]:
    """The rows of the table, in its order.

    Raises:
        ValueError: the table is not there.
    """
    lines = CONTRIBUTING.read_text().splitlines()
    if HEADING not in lines:
        raise ValueError(f"CONTRIBUTING.md lacks the table that begins with {HEADING!r}")
    found = []
    for line in lines[lines.index(HEADING) + 2 :]:
        if not line.startswith("|"):
            break
        what, new, changed = (cell.strip() for cell in line.strip("|").split("|"))
        files = tuple(path for path, _ in NAMED.findall(new))
        found.append(Change(what, files, tuple(NAMED.findall(changed))))
    return found
