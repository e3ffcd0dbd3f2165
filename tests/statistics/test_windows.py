"""A smaller version of docs/evidence/windows.md; single looks are tested in tests/science/windows/test_look.py."""

from __future__ import annotations

from tests.statistics.windows import concept, looked, older_people, unchanged


def test_windows_in_which_nothing_changed_are_quiet() -> None:
    seen = looked(unchanged, 500, 6, seed=11, references=2)
    assert (
        seen["any alarm"] <= 1 and seen["retraining"] <= 1
    )  # 12 windows at 1 %: two alarms would be one chance in 150


def test_large_changes_are_seen() -> None:
    older = looked(older_people, 1000, 2, seed=12, references=1)
    assert older["data_drift"] == older["prediction_drift"] == older["retraining"] == 2
    changed = looked(concept, 2000, 1, seed=13, references=1)
    assert changed["realized_performance"] == changed["retraining"] == 1
