"""Which pointer the service believes: an examiner signed it, and it is no older than one that it has seen."""

from __future__ import annotations

import json
from pathlib import Path

from filelock import FileLock

from tasks.signing import signatures
from tasks.spec.errors import CorruptionError
from tasks.spec.manifest import Pointer

RECORD = "record.json"
"""Beside the heights: what is wrong with the record, a sentence each."""


class Trust:
    """The examiners' public keys, and the greatest height of each model that was ever served from here."""

    def __init__(self, examiners: Path, heights: Path) -> None:
        self.examiners, self.path = examiners, heights
        self.heights = self._written()

    def check(self, model: str, pointer: Pointer) -> None:
        """Accept a pointer, or say why not.

        Raises:
            CorruptionError: no examiner signed it, it is another model's, or a newer one was seen before.
        """
        seen = self.heights.get(model)
        if not signatures.holds(pointer.signed(), pointer.signature, self._keys(), signatures.POINTER):
            raise CorruptionError(
                f"champion.json of {model} is not signed by an examiner, so what served before goes on. The "
                "running system writes it anew within a minute where the ledger proves a champion"
            )
        if pointer.model != model:
            raise CorruptionError(
                f"champion.json of {model} is the pointer of {pointer.model}; what served before goes on"
            )
        if seen is not None and pointer.height < seen:
            raise CorruptionError(
                f"champion.json of {model} is old: it has height {pointer.height}, and {seen} was seen before. What "
                "served before goes on, and the running system writes it anew within a minute. Where the ledger was "
                "put back from a backup, bring the whole home back from it: assay restore FILE --replace"
            )

    def record(self) -> list[str]:
        """What the system's keeper found wrong with the record lately; nothing of it changes what serves."""
        try:
            found = json.loads(self.path.with_name(RECORD).read_text())
        except (OSError, ValueError):
            return []
        return [str(sentence) for sentence in found] if isinstance(found, list) else []

    def gone(self, model: str) -> str:
        """What is to be said where there is no pointer; empty where there never was one."""
        if model not in self.heights:
            return ""
        return (
            f"champion.json is gone, and height {self.heights[model]} was seen before; the running system writes "
            "it anew within a minute"
        )

    def saw(self, model: str, pointer: Pointer) -> None:
        """Remember the height of a pointer that serves, on the disk."""
        if pointer.signature and pointer.height > self.heights.get(model, -1):
            self.heights = self.heights | {model: pointer.height}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=30):
                for name, height in self._written().items():  # several processes may serve from one home
                    self.heights = self.heights | {name: max(height, self.heights.get(name, -1))}
                draft = self.path.with_name(f".{self.path.name}")
                draft.write_text(json.dumps(self.heights))
                draft.replace(self.path)

    def _written(self) -> dict[str, int]:
        try:
            return {str(name): int(height) for name, height in json.loads(self.path.read_text()).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError):
            raise CorruptionError(
                f"{self.path} cannot be read, so nobody knows which pointers are old. Bring it back from a backup: "
                "assay restore FILE --replace"
            ) from None

    def _keys(self) -> tuple[str, ...]:
        try:
            return tuple(line for line in self.examiners.read_text().splitlines() if line.strip())
        except OSError:
            return ()
