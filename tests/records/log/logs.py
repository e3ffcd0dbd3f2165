"""Rows for tests of the prediction log."""

from __future__ import annotations

from typing import Any

from tasks.records.log.predictions import Prediction, Window
from tasks.spec.evidence import Decision, Finding, WindowReport

ALL = 2**62


def rows(
    count: int, version: str = "v1.0.0", model: str = "care", prefix: str = "p", **inputs: Any
) -> list[Prediction]:
    return [
        Prediction(
            f"{prefix}-{version}-{n}",
            model,
            version,
            "2026-01-01T00:00:00+00:00",
            inputs or {"x": float(n), "kind": "a"},
            0.5,
            True,
        )
        for n in range(count)
    ]


def report(window: Window, model: str = "care", findings: tuple[Finding, ...] = ()) -> WindowReport:
    return WindowReport(
        model=model,
        version=window.version,
        window=window.number,
        first="",
        last=f"day {window.number}",
        first_seq=window.first_seq,
        last_seq=window.last_seq,
        rows=window.rows,
        labelled=0,
        created="",
        findings=findings,
        decision=Decision(action="nothing", reason="", policy=""),
    )
