"""A finding on drift before it is decided whether it is an alarm."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.spec.evidence import Finding


@dataclass(frozen=True)
class Judged:
    """A finding whose ``alarm`` says as yet only that its size is one, and what it is tested by; ``certain`` needs no
    test."""

    finding: Finding
    p_value: float | None
    loud: bool = True
    certain: bool = False
