"""What a program reads of a ledger entry, of today's and of those that yesterday's code wrote."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.spec.ledger import (
    AssignedDetails,
    Details,
    Entry,
    EntryDraft,
    FeedDetails,
    ForgottenDetails,
    RejectedDetails,
    StoppedDetails,
    TrainedDetails,
    WindowDetails,
)


def stored(kind: str, sentence: str, details: dict[str, Any] | None = None) -> Entry:
    """An entry as it stands in the branch, in JSON."""
    draft = Entry.model_construct(
        sequence=1,
        time="2026-11-25T02:17:59.000+00:00",
        kind=kind,
        model="income",
        version="v1.0.0",
        commit=None,
        actor="dana@example.org",
        reason="push",
        sentence=sentence,
        evidence=None,
        details=details or {},
        previous=None,
    )
    return Entry.model_validate_json(draft.model_dump_json())


COUNTS = {"predictions": 2, "outcomes": 1, "overrides": 0, "appeals": 0, "reviews": 0, "unknown": 0}
OLD: list[tuple[str, str, dict[str, Any] | None, Details | None]] = [
    ("trained", "a candidate was trained on 99,762 rows", {"base": "abc", "branch": "assay/candidates/income/x"},
     TrainedDetails(base="abc", branch="assay/candidates/income/x")),
    ("examined", "fit to serve; not promoted, as asked", None, None),
    ("rejected", "not trained: 1 of 17 expectations is broken: age: values between 0 and 120", None,
     RejectedDetails(trained=False)),
    ("rejected", "not fit to serve: opportunity-by-sex insufficient evidence; expert-rules fail", None,
     RejectedDetails(trained=True, gates={"opportunity-by-sex": "insufficient_evidence", "expert-rules": "fail"})),
    ("awaiting_signature",
     "fit to serve, and waits for the signature of a second person, since its materiality is high", None, None),
    ("promoted", "became champion: v1.0.0", None, AssignedDetails(previous=None)),
    ("promoted", "became champion: v2.0.0, after v1.0.0", None, AssignedDetails(previous="v1.0.0")),
    ("rolled_back", "rolled back to v1.0.0, after v2.0.0", None, AssignedDetails(previous="v2.0.0")),
    ("monitored", "window 12: roll back; v3.0.0 loses: window 4: nothing; else", None,
     WindowDetails(window=12, action="roll_back")),
    ("monitored", "window 3: nothing; no alarm", None, WindowDetails(window=3, action="nothing")),
    ("monitored", "feed: the feed has stopped: the newest of the predictions came 3 h ago; 1 h are allowed", None,
     FeedDetails(silent=None)),
    ("stopped", "v2.0.0 was taken out of service: it harms; window 3: nothing; x", None,
     StoppedDetails(because="it harms; window 3: nothing; x")),
    ("forgotten", "2 logged predictions deleted, with 1 outcome; on request", COUNTS | {"by": "column name"},
     ForgottenDetails(by="column name", predictions=2, outcomes=1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "sentence", "details", "read"), OLD, ids=lambda v: v[:24] if isinstance(v, str) else ""
)
def test_an_entry_of_yesterday_is_read_as_one_of_today(
    kind: str, sentence: str, details: dict[str, Any] | None, read: Details | None
) -> None:
    entry = stored(kind, sentence, details)
    assert entry.read == read
    assert entry.model_dump(mode="json")["details"] == (details or {})  # else the chain of digests would not hold
    assert entry.window == (read.window if isinstance(read, WindowDetails) else None)
    assert entry.rejected_untrained == (read == RejectedDetails(trained=False))


@pytest.mark.parametrize(
    ("kind", "sentence", "details", "read"), OLD, ids=lambda v: v[:24] if isinstance(v, str) else ""
)
def test_todays_details_come_back_from_the_stored_form_whatever_the_sentence(
    kind: str, sentence: str, details: dict[str, Any] | None, read: Details | None
) -> None:
    assert read is None or stored(kind, "window 9: stop; feed: not trained", read.model_dump(mode="json")).read == read


def test_an_old_sentence_of_another_form_says_nothing_to_a_program() -> None:
    assert stored("monitored", "the feed of window 3 was looked at").read is None
    assert stored("rejected", "refused").read == RejectedDetails(trained=True)


def test_details_of_another_kind_are_refused() -> None:
    common: dict[str, Any] = {"model": "income", "actor": "dana", "reason": "push", "sentence": "window 3"}
    allowed = "WindowDetails or QuietDetails or FeedDetails"
    with pytest.raises(ValidationError, match=f"details of .monitored. are NoneType; allowed: {allowed}"):
        EntryDraft(kind="monitored", **common)
    with pytest.raises(ValidationError, match="details of .examined. are FeedDetails; allowed: none"):
        EntryDraft(kind="examined", details=FeedDetails(silent=()), **common)
    with pytest.raises(ValidationError, match="an entry of kind monitored has no details such as"):
        stored("monitored", "window 3: nothing; x", {"base": "abc"})
