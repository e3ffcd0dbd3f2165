"""What people answer about predictions: repeated, late, out of order, and about nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.records.log.predictions import Appeal, Override, Prediction, PredictionLog, Review
from tasks.spec.errors import LogUnavailable
from tests.records.log.logs import ALL, rows

A, B, C = (f"p-v1.0.0-{n}" for n in range(3))


@pytest.fixture
def log(log_url: str) -> Iterator[PredictionLog]:
    opened = PredictionLog(log_url)
    opened.append(rows(3))
    opened.append(rows(1, model="income", prefix="i"))
    yield opened
    opened.close()


def column(log: PredictionLog, name: str) -> list[object]:
    found = log.frame("care", 0, ALL, extras=True)[name]
    return [None if missing else value for value, missing in zip(found, found.isna(), strict=True)]


def test_overrides(log: PredictionLog) -> None:
    first = Override(A, False, "anna", "knows the case")
    assert log.overrides(
        "care", [first, first, Override("nobody", False, "anna", ""), Override("i-v1.0.0-0", False, "anna", "")]
    ) == {"accepted": 1, "repeated": 1, "changed": 0, "unknown": 2}
    assert log.overrides(
        "care", [Override(A, False, "bert", "knows the case"), Override(B, True, "bert", "agrees")]
    ) == {"accepted": 1, "repeated": 0, "changed": 1, "unknown": 0}
    assert column(log, "_override") == [False, True, None]
    assert log.tally("care")["overrides"] == {"other": 1, "same": 1}
    assert log.overrides("care", [Override(A, True, "anna", "mistaken")])["changed"] == 1
    assert column(log, "_override") == [True, True, None] and log.tally("care")["overrides"] == {"other": 0, "same": 2}
    assert log.tally("care", 3)["overrides"] == {"other": 0, "same": 0}


def test_overrides_of_classes_and_numbers(log: PredictionLog) -> None:
    log.append(
        [
            Prediction("m", "triage", "v1.0.0", "", {"x": 1}, 0.6, "low", {"low": 0.6, "high": 0.4}),
            Prediction("r", "price", "v1.0.0", "", {"x": 1}, 3.0, None),
        ]
    )
    log.overrides("triage", [Override("m", "high", "anna", "")])
    log.overrides("price", [Override("r", 2.5, "anna", "")])
    assert log.frame("triage", 0, ALL, extras=True)["_override"].tolist() == ["high"] and log.frame(
        "price", 0, ALL, extras=True
    )["_override"].tolist() == [2.5]
    assert log.tally("triage")["overrides"] == {"other": 1, "same": 0}


def test_an_appeal_is_answered_in_whatever_order_it_comes(log: PredictionLog) -> None:
    opened, upheld = Appeal(A, "wrong income", "open", "pia"), Appeal(A, "wrong income", "upheld", "anna")
    assert log.appeals("care", [opened, opened, upheld, upheld]) == {
        "accepted": 1,
        "repeated": 2,
        "changed": 1,
        "unknown": 0,
        "late": 0,
    }
    assert log.appeals(
        "care",
        [
            Appeal(B, "x", "rejected", "anna"),
            Appeal(B, "x", "open", "pia"),
            Appeal(C, "y", "open", "kim"),
            Appeal("nobody", "y", "open", "kim"),
        ],
    ) == {"accepted": 2, "repeated": 0, "changed": 0, "unknown": 1, "late": 1}
    assert column(log, "_appeal") == ["upheld", "rejected", "open"]
    assert (
        log.appeals("care", [opened])["late"] == 1
        and log.appeals("care", [Appeal(A, "again", "rejected", "bert")])["changed"] == 1
    )
    assert column(log, "_appeal") == ["rejected", "rejected", "open"]
    assert log.tally("care")["appeals"] == {"open": 1, "upheld": 0, "rejected": 2}
    with pytest.raises(ValueError, match="'closed' is no state of an appeal; allowed: open, upheld, rejected"):
        log.appeals("care", [Appeal(A, "", "closed", "")])  # type: ignore[arg-type]


def test_reviews(log: PredictionLog) -> None:
    assert (
        log.reviews(
            "care",
            [
                Review(A, 1, "agree", "anna"),
                Review(A, 1, "agree", "anna"),
                Review(A, 1, "disagree", "bert", "too high"),
            ],
        )["changed"]
        == 1
    )
    assert (
        log.reviews("care", [Review(B, None, "unsure", "anna"), Review("nobody", 1, "agree", "anna")])["unknown"] == 1
    )
    assert column(log, "_review") == ["disagree", "unsure", None]
    assert log.tally("care")["reviews"] == {"agree": 0, "disagree": 1, "unsure": 1}
    with pytest.raises(ValueError, match="'maybe' is no verdict of a review"):
        log.reviews("care", [Review(A, 1, "maybe", "anna")])  # type: ignore[arg-type]


def test_after_close_they_are_refused(log_url: str) -> None:
    log = PredictionLog(log_url)
    log.close()
    for call in (lambda: log.overrides("care", []), lambda: log.appeals("care", []), lambda: log.reviews("care", [])):
        with pytest.raises(LogUnavailable, match="is closed"):
            call()
