"""Entries of the ledger and the list of who may sign what: stored forms, typed details, and drafts (docs/ledger.md)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tasks.spec.base import Spec, digest_json
from tasks.spec.evidence import Action, State
from tasks.spec.line import Flat, Line, Who, one_line

EntryKind = Literal[
    "policy",
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
Role = Literal["examiner", "approver", "operator", "auditor"]
"""What a person may: see docs/ledger.md."""


class Person(Spec):
    """Somebody on the list; the examiner is the system itself."""

    name: Who
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    keys: Annotated[
        tuple[Annotated[str, Field(pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*$")], ...],
        Field(min_length=1),
    ]
    """Public keys, each ``TYPE BASE64``, without a comment."""


class Policy(Spec):
    """The list of people, their keys and roles, that is in force from one entry of the ledger on."""

    format: Literal[1] = 1
    counter: int = Field(ge=1)
    previous: str | None = None
    """Digest of the list before; None for a root."""
    threshold: int = Field(1, ge=1)
    """How many approvers have to sign the next list."""
    people: Annotated[tuple[Person, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _usable(self) -> Policy:
        names = [p.name.casefold() for p in self.people]
        keys = [k.split()[1] for p in self.people for k in p.keys]
        if len(set(names)) < len(names) or len(set(keys)) < len(keys):
            raise ValueError("a name or a key is listed twice; list each person once, with keys of their own")
        if not self.who("examiner"):
            raise ValueError("nobody is examiner, so no flow could write; give the role examiner to one key")
        if self.threshold > len(self.voters):
            raise ValueError(f"the threshold is {self.threshold}, and only {len(self.voters)} may sign lists; lower it")
        return self

    def who(self, *roles: Role) -> tuple[Person, ...]:
        """Everybody with one of the roles."""
        return tuple(p for p in self.people if set(p.roles) & set(roles))

    @property
    def voters(self) -> tuple[Person, ...]:
        """Who signs the next list: the approvers, or the examiner where none is named."""
        return self.who("approver") or self.who("examiner")

    @property
    def orders_are_signed(self) -> bool:
        """Whether somebody is named who may order a promotion, rollback or stop; else the system does as it is told."""
        return bool(self.who("approver", "operator"))


class Signature(Spec):
    """Of an entry: by whom, with which key, and OpenSSH's signature."""

    signer: str
    key: str
    armor: str


class Warrant(Spec):
    """A statement that a person signed: an approval of a candidate, or an order."""

    statement: dict[str, Any]
    armor: str

    @model_validator(mode="after")
    def _lines(self) -> Warrant:
        for value in self.statement.values():
            if isinstance(value, str):
                one_line(value)
        return self

    @property
    def signer(self) -> str:
        return str(self.statement.get("signer", ""))


class PolicyDetails(Spec):
    policy: str
    """Digest of the list."""
    counter: int


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


class AwaitingDetails(Spec):
    author: str
    """Of the commit that the candidate was trained from; neither this person nor who asked for it may approve it."""
    authors: tuple[str, ...] = ()
    """All others who wrote what is new in it; they may not approve it either."""


class AssignedDetails(Spec):
    """Of a promotion and of a rollback."""

    previous: str | None
    """The version that was champion before; None for the first."""
    warrant: Warrant | None = None


class WindowDetails(Spec):
    subject: Literal["window"] = "window"
    window: int
    action: Action


class QuietDetails(Spec):
    """Of windows that said nothing, entered together; the evidence holds their reports."""

    subject: Literal["windows"] = "windows"
    windows: Annotated[tuple[int, ...], Field(min_length=1)]
    root: str
    """Merkle root over the reports in that order (RFC 6962, section 2.1): one can be shown without the others."""


class FeedDetails(Spec):
    subject: Literal["feed"] = "feed"
    silent: tuple[str, ...] | None
    """What stopped arriving, empty where it arrives again; None in entries before 2026-11-28, which do not say."""


RebuildOutcome = Literal["identical", "differs_by_processor", "differs", "impossible"]


class RebuiltDetails(Spec):
    """Of a version that was made again from its record alone; the evidence holds the statement of provenance."""

    subject: Literal["rebuild"] = "rebuild"
    outcome: RebuildOutcome
    artefact: str | None = None
    """The first thing that is not as it was recorded."""
    largest: float | None = None
    """The largest difference of a score, or else of a metric, where it differs by processor alone."""


class SearchedDetails(Spec):
    """Of a study, as it stood at the end of a run; the evidence holds every trial (docs/search.md)."""

    subject: Literal["search"] = "search"
    study: str
    trials: int
    """Finished ones."""


class StoppedDetails(Spec):
    because: str
    warrant: Warrant | None = None


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
    learned: tuple[str, ...] = ()
    """Versions that learned from the rows; from this entry on they are not rebuildable."""
    files: tuple[str, ...] = ()
    """md5 of the collected files that they learned them from."""


Details = (
    PolicyDetails
    | TrainedDetails
    | RejectedDetails
    | AwaitingDetails
    | AssignedDetails
    | WindowDetails
    | QuietDetails
    | FeedDetails
    | RebuiltDetails
    | SearchedDetails
    | StoppedDetails
    | ForgottenDetails
)
DETAILS: dict[EntryKind, tuple[type[Details], ...]] = {
    "policy": (PolicyDetails,),
    "trained": (TrainedDetails,),
    "examined": (),
    "rejected": (RejectedDetails,),
    "awaiting_signature": (AwaitingDetails,),
    "promoted": (AssignedDetails,),
    "rolled_back": (AssignedDetails,),
    "monitored": (WindowDetails, QuietDetails, FeedDetails, RebuiltDetails, SearchedDetails),
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
    signature: Signature | None = None
    """Of the examiner; None in entries before the first list."""

    def stored(self) -> dict[str, Any]:
        """The entry as a document; ``previous`` of the next entry is the digest of its canonical JSON."""
        document = self.model_dump(mode="json")
        return document if self.signature is not None else self.signed()

    def signed(self) -> dict[str, Any]:
        """What the signature covers: everything but itself."""
        return self.model_dump(mode="json", exclude={"signature"})

    def digest(self) -> str:
        return digest_json(self.stored())

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
    """What a task wants to write; the ledger adds place, time, chain and signature."""

    kind: EntryKind
    model: str = Field(pattern=r"^([a-z][a-z0-9_]*)?$")
    """Empty for the list of people."""
    version: str | None = None
    commit: str | None = None
    actor: Who
    """Who asked."""
    reason: Line
    """What started the run (:data:`tasks.spec.requests.RunReason`)."""
    sentence: Flat = Field(min_length=1)
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
