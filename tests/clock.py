"""The clock of processes that a test starts, set from outside while they run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.system import AUDIT

DAY = 86_400.0


@dataclass
class Clock:
    """The clock of all Python processes that have its environment, and of the git that they start."""

    file: Path

    def set(self, off: float) -> None:
        """Set it off from the real one by seconds; processes that run follow within a moment."""
        draft = self.file.with_suffix(".draft")
        draft.write_text(str(off))
        draft.replace(self.file)

    @property
    def environment(self) -> dict[str, str]:
        return {"SHIFTED_CLOCK": str(self.file), "PYTHONPATH": str(AUDIT)}


def clock(folder: Path) -> Clock:
    """A clock that is right so far."""
    made = Clock(folder / "clock")
    made.set(0.0)
    return made
