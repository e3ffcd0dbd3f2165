"""Entries of the ledger: what is stored, what a program reads of each kind, and the draft that becomes an entry."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.spec.base import Spec
from tasks.spec.evidence import Action, State

EntryKind = Literal[
    "trained",
    "examined",
    "rejected",
    "awaiting_signature",
    "promoted",
    "rolled_back",
    "monitored",
    "stopped",
    "forgotten",
]
AssignmentKind = Literal["promoted", "rolled_back"]


class TrainedDetails(Spec):
    base: str
    """The commit that was trained."""
    branch: str
    """Where the candidate's commit is kept."""


class RejectedDetails(Spec):
    trained: bool
    """False where the data broke their expectations, so that nothing was trained and there is no verdict."""
    gates: dict[str, State] = {}
    """Mandatory gates that did not pass and are not waived, by name."""


class AssignedDetails(Spec):
    """Of a promotion and of a rollback."""

    previous: str | None
    """The version that was champion before; None for the first."""


class WindowDetails(Spec):
    subject: Literal["window"] = "window"
    window: int
    action: Action


class FeedDetails(Spec):
    subject: Literal["feed"] = "feed"
    silent: tuple[str, ...] | None
    """What stopped arriving, empty where it arrives again; None in entries before 2026-11-28, which do not say."""


class StoppedDetails(Spec):
    because: str


class ForgottenDetails(Spec):
    """How many rows of each table were deleted."""

    by: str
    """``age``, ``id``, or ``column NAME``; never the value of a column."""
    predictions: int = 0
    outcomes: int = 0
    overrides: int = 0
    appeals: int = 0
    reviews: int = 0
    unknown: int = 0
    """Ids that no prediction of the model has."""


Details = (
    TrainedDetails | RejectedDetails | AssignedDetails | WindowDetails | FeedDetails | StoppedDetails | ForgottenDetails
)
DETAILS: dict[EntryKind, tuple[type[Details], ...]] = {
    "trained": (TrainedDetails,),
    "examined": (),
    "rejected": (RejectedDetails,),
    "awaiting_signature": (),
    "promoted": (AssignedDetails,),
    "rolled_back": (AssignedDetails,),
    "monitored": (WindowDetails, FeedDetails),
    "stopped": (StoppedDetails,),
    "forgotten": (ForgottenDetails,),
}
"""What the details of each kind of entry are; a kind without any has an empty tuple."""


class Entry(Spec):
    """One line of the ledger; ``previous`` chains it to the one before."""

    sequence: int
    time: str
    kind: EntryKind
    model: str
    version: str | None
    commit: str | None
    actor: str
    reason: str
    sentence: str
    """For people; what a program reads is in ``details``."""
    evidence: str | None
    """sha256 digest of the evidence document, stored beside the ledger."""
    details: dict[str, Any] = {}
    """As stored, since the chain of digests is over the stored form. Read :attr:`read` instead."""
    previous: str | None

    @model_validator(mode="after")
    def _readable(self) -> Entry:
        _ = self.read
        return self

    @property
    def read(self) -> Details | None:
        """The typed details; None where the kind has none, or where an entry of old does not say."""
        if not self.details:
            return _of_old_sentence(self.kind, self.sentence)
        for form in DETAILS[self.kind]:
            if self.details.get("subject") == _subject(form):
                return form.model_validate(self.details, strict=False)
        raise ValueError(f"an entry of kind {self.kind} has no details such as {self.details}")

    @property
    def window(self) -> int | None:
        """The number of the analysis window that the entry is about, if it is about one."""
        return self.read.window if isinstance(self.read, WindowDetails) else None

    @property
    def rejected_untrained(self) -> bool:
        """Whether it is a rejection that came before any training, so that there is no verdict."""
        return isinstance(self.read, RejectedDetails) and not self.read.trained


class EntryDraft(Spec):
    """What a task wants to write; the ledger adds place, time and chain."""

    kind: EntryKind
    model: str
    version: str | None = None
    commit: str | None = None
    actor: str
    """Who asked."""
    reason: str
    """What started the run (:data:`tasks.spec.requests.RunReason`)."""
    sentence: str = Field(min_length=1)
    """What happened, for people."""
    evidence: dict[str, Any] | None = None
    """A JSON document to store beside the entry, under its digest."""
    details: Details | None = None

    @model_validator(mode="after")
    def _details_of_the_kind(self) -> EntryDraft:
        allowed = DETAILS[self.kind]
        if not isinstance(self.details, allowed) and (allowed or self.details is not None):
            names = " or ".join(form.__name__ for form in allowed) or "none"
            raise ValueError(f"details of {self.kind!r} are {type(self.details).__name__}; allowed: {names}")
        return self


def _subject(form: type[Details]) -> str | None:
    field = form.model_fields.get("subject")
    return field.default if field else None


_OLD_WINDOW = re.compile(r"window (\d+): (nothing|alert|retrain|roll back|stop); ")
_OLD_GATE = re.compile(r"(.+) (fail|insufficient evidence)")
_OLD_ASSIGNMENT = re.compile(r"(?:became champion:|rolled back to) v\S+?(?:, after (v\S+))?")
_OLD_STOP = re.compile(r"v\S+ was taken out of service: (.*)", re.DOTALL)


def _of_old_sentence(kind: EntryKind, sentence: str) -> Details | None:
    """The details of an entry written before 2026-11-28, when its sentence alone held them."""
    if kind == "monitored" and (found := _OLD_WINDOW.match(sentence)):
        action: Any = found[2].replace(" ", "_")
        return WindowDetails(window=int(found[1]), action=action)
    if kind == "monitored" and sentence.startswith("feed: "):
        return FeedDetails(silent=None)
    if kind == "rejected" and sentence.startswith("not trained"):
        return RejectedDetails(trained=False)
    if kind == "rejected":
        gates = [_OLD_GATE.fullmatch(part) for part in sentence.removeprefix("not fit to serve: ").split("; ")]
        states: dict[str, Any] = {gate[1]: gate[2].replace(" ", "_") for gate in gates if gate}
        return RejectedDetails(trained=True, gates=states)
    if kind in ("promoted", "rolled_back") and (found := _OLD_ASSIGNMENT.fullmatch(sentence)):
        return AssignedDetails(previous=found[1])
    if kind == "stopped" and (found := _OLD_STOP.match(sentence)):
        return StoppedDetails(because=found[1])
    return None
