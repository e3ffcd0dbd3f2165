"""What is written down as evidence: gate results, verdicts, findings, decisions, manifests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from tasks.spec.base import Finite, Spec, Text
from tasks.spec.columns import known_type
from tasks.spec.data_record import DataRecord
from tasks.spec.forecast import Forecast
from tasks.spec.groupings import EmbeddingMap, GroupSummary
from tasks.spec.review import LabelRequest, ReviewItem
from tasks.spec.search import SearchOrigin
from tasks.spec.waivers import EnvelopeSignature, Waiver

State = Literal["pass", "fail", "insufficient_evidence"]
Action = Literal["nothing", "alert", "retrain", "roll_back", "stop"]


class Measurement(Spec):
    """One number a person may act on, with its uncertainty and its row count."""

    label: str
    quantity: str = ""
    """What is measured, alike for every group, slice or column: a metric, a measure or a plain name. It says how the
    value is read and what shares a scale; evidence before 2026-11-28 has none."""
    value: float | None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    rows: int
    entities: int | None = None
    """How many different entities the rows are of (``data.entity``); None without entities, and before 2026-11-29."""
    state: State


PlotKind = Literal["curve", "reliability", "histogram", "scatter", "intervals", "cases"]


class Point(Spec):
    """One place of a series, or one named row of it; an aggregate or an invented case, never a person's row."""

    y: Finite
    x: Finite | None = None
    low: Finite | None = None
    high: Finite | None = None
    """Interval or band of ``y``."""
    limit: Finite | None = None
    label: Text = ""
    rows: int | None = None

    @model_validator(mode="after")
    def _both_ends(self) -> Point:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends; give both low and high, or neither")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; low must not be the larger")
        return self


class Series(Spec):
    name: Text
    points: tuple[Point, ...] = Field(min_length=1, max_length=60)


class Region(Spec):
    """A limit line (``low`` alone) or a band of allowed values on one axis."""

    axis: Literal["x", "y"]
    low: Finite
    high: Finite | None = None
    label: Text


class Plot(Spec):
    """A picture behind a gate's answer, as numbers; the page draws it.

    curve: lines over x, with bands where points have intervals. reliability: rates over scores, against the diagonal.
    histogram: y is the share in the bin around x. scatter: named dots. intervals: named rows, y from left to right.
    cases: invented cases by label, and their scores.
    """

    title: Text
    kind: PlotKind
    x_label: Text = Field(validation_alias=AliasChoices("x_label", "across"))
    """What the horizontal axis shows, with its unit; plots that were stored before 2026-11-28 call it ``across``."""
    x_type: Annotated[str, AfterValidator(known_type)] = "number"
    """The type of the column that the horizontal axis shows; it says how its values are written."""
    y_label: Text = Field("", validation_alias=AliasChoices("y_label", "up"))
    """What the vertical axis shows; ``up`` in older plots."""
    series: tuple[Series, ...] = Field(min_length=1, max_length=4)
    regions: tuple[Region, ...] = Field((), max_length=4)
    sign: Literal["rises", "falls"] | None = None
    """For a curve: the way that a rule says it goes."""
    state: State | None = None
    """The answer of the rule or measurement that the plot belongs to, where it belongs to one."""
    note: str = Field("", max_length=1000)

    @model_validator(mode="after")
    def _placed(self) -> Plot:
        named = self.kind in ("scatter", "intervals", "cases")
        placed = self.kind not in ("intervals", "cases")
        for point in (p for s in self.series for p in s.points):
            if (placed and point.x is None) or (named and not point.label):
                raise ValueError(
                    f"a point of kind {self.kind} lacks its {'x' if placed and point.x is None else 'label'}"
                )
        return self


class GateResult(Spec):
    gate: str
    kind: str
    mandatory: bool
    state: State
    reason: str
    measurements: tuple[Measurement, ...] = ()
    plots: tuple[Plot, ...] = Field((), max_length=60)
    estimator: str = ""
    """The statistical method and its source, in one line."""
    remedy: str = ""
    """What would make it pass, in a sentence; empty where it passes or nobody can say."""
    waiver: Waiver | None = None
    """The waiver that lets the candidate through although this gate did not pass."""


ISOLATED = {
    "environment": "see the environment of whoever trains it",
    "reading": "read files beside its own checkout",
    "writing": "write beside its own data",
    "attributes": "change modes and times of other files",
    "processes": "look into other processes",
    "signals": "end other processes",
    "network": "reach the network",
    "sockets": "reach databases and daemons by Unix sockets",
    "capabilities": "use what an administrator may",
    "user": "act outside a user namespace of its own",
}
"""What a candidate's code is kept from, each by a probe that tries it, in words."""
ENOUGH = ("environment", "reading", "writing", "processes", "network")
"""Without one of these, code of a candidate can reach keys, or write its own verdict."""


class Isolation(Spec):
    """What a candidate's code was kept from while it ran, as a probe in the same place found by trying."""

    held: tuple[str, ...]
    """Of :data:`ISOLATED`."""

    @property
    def enough(self) -> bool:
        return set(ENOUGH) <= set(self.held)

    @property
    def sentence(self) -> str:
        could = [words for name, words in ISOLATED.items() if name not in self.held]
        if not could:
            return "the candidate's code ran apart, and could reach nothing beside its own data"
        return f"the candidate's code ran where this machine let it {', '.join(could)}; so may whoever pushes"


class HoldoutRows(Spec):
    """The rows that a candidate was measured on, as the entry about its training keeps them."""

    content: str
    """Digest of their keys (:func:`tasks.science.data.asked_rows.keys_digest`)."""
    rows: int
    columns: tuple[str, ...]
    """By which one row is told from another."""
    declared: str = ""
    """Digest of how these columns were declared and read; empty for candidates from before it was kept."""
    sealed: bool = False
    """Whether the candidate's commit holds nothing that was measured on them."""
    cells: str = ""
    """Digest of the cells that the home keeps of some of them, by which other models' holdouts know them."""
    reading: str = ""
    """Digest of how the files are read."""
    files: tuple[str, ...] = ()
    """sha256 of the files that they came from, and of those that the stages made of them."""


class HoldoutUse(Spec):
    """How often the rows of a holdout have been asked, the examination at hand included (docs/holdout.md)."""

    content: str
    """As of :class:`HoldoutRows`."""
    rows: int
    asked: int
    """Answers on record that shared a row with these."""
    counted: Finite
    """The same, each by the share of these rows that it saw."""
    unknown: int
    """Answers of which nobody knows any more which rows they saw; they are taken to have seen all."""
    actors: int
    """Different names that asked."""
    elsewhere: int = 0
    """How many of the answers are those of other models."""
    budget: int | None
    """Answers until the verdict is insufficient evidence; None of a sealed holdout, which has no budget."""
    widening: Finite
    """How many times as wide as a first answer's a bound at 95 % is that holds whatever was read."""
    unsure: tuple[str, ...] = ()
    """Floors and comparisons that pass, and whose bound of that width would not."""
    level: Finite | None = None
    """Of a sealed holdout: the share of each floor's and comparison's level that this answer spends."""
    withheld: str | None = None
    """Of a sealed holdout: digest of the document with all that the gates said, kept in the home."""


class EnvelopeCheck(Spec):
    """A bound or a criterion of an envelope."""

    name: str
    allowed: str
    found: str
    """What the retraining did, with its numbers."""
    state: State


class EnvelopeUse(Spec):
    """What was allowed to a retraining that nobody asked for, and what it did (docs/envelope.md)."""

    terms: dict[str, Any] | None = None
    """``envelope`` of the main branch's ``model.yaml``, which is what was signed."""
    signed: EnvelopeSignature | None = None
    problem: str = ""
    """Why it counts as none, in a sentence; empty where it holds."""
    authors: tuple[str, ...] = ()
    """Who may not have signed it: those who wrote it, or what is new in the candidate."""
    checks: tuple[EnvelopeCheck, ...] = ()

    @property
    def inside(self) -> bool:
        """Whether no person has to sign."""
        checked = bool(self.checks) and all(check.state == "pass" for check in self.checks)
        return checked and self.signed is not None and not self.problem

    @property
    def sentence(self) -> str:
        """Its state, and which bound was left."""
        if self.problem or self.signed is None:
            return self.problem or "no envelope is signed"
        by = f"the envelope that {self.signed.who} signed until {self.signed.expires}"
        left = [f"{c.name}: {c.found}; {c.allowed}" for c in self.checks if c.state != "pass"]
        return f"it left {by}, by {', and by '.join(left)}" if left else f"it stayed inside {by}"


SIGNED_UNLESS_PASSED = ("sources",)
"""Kinds of gates whose doubt a person may overrule by signing, and nobody else."""


def doubted(gates: Sequence[GateResult]) -> tuple[GateResult, ...]:
    """Gates without whose pass a person has to sign."""
    return tuple(g for g in gates if g.kind in SIGNED_UNLESS_PASSED and g.state != "pass" and g.waiver is None)


def answerable(gates: Sequence[GateResult]) -> bool:
    """Whether an envelope may answer for gates in doubt: for too little evidence, and never for labels that fail."""
    return all(g.state == "insufficient_evidence" for g in gates)


class Verdict(Spec):
    """All gates of one candidate against one champion."""

    model: str
    commit: str
    champion: str | None
    """Version tag of the champion compared with, e.g. ``v1.0.0``; None before the first."""
    model_digest: str
    created: str
    """UTC, ISO 8601."""
    passed: bool
    gates: tuple[GateResult, ...]
    refused_waivers: tuple[str, ...] = ()
    """Waivers that do not hold, each with the reason in a sentence."""
    data: DataRecord | None = None
    """The files that the rows came from and what became of the rows; verdicts before 2026-11-29 have none."""
    unprotected: str = ""
    """Why no protected group can be named, where none is."""
    examiner: str = ""
    """Digest of the installed code that examined, with its lock file; verdicts before 2026-11-29 have none."""
    isolation: Isolation | None = None
    """What the candidate's code was kept from; verdicts before 2026-11-29 do not say."""
    search: SearchOrigin | None = None
    """The study that tried this configuration, where the ledger knows one."""
    holdout: HoldoutUse | None = None
    """How often its rows have been asked; verdicts before 2026-12-01 do not say."""
    envelope: EnvelopeUse | None = None
    """What a retraining that nobody asked for was allowed, where a person would have to sign for its labels."""

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """Mandatory gates that did not pass and are not waived."""
        return tuple(g for g in self.gates if g.mandatory and g.state != "pass" and g.waiver is None)

    @property
    def waived(self) -> tuple[GateResult, ...]:
        return tuple(g for g in self.gates if g.waiver is not None)

    @property
    def doubted(self) -> tuple[GateResult, ...]:
        """Gates that refuse nobody, and without whose pass a person has to sign; none inside an envelope."""
        found = doubted(self.gates)
        return () if self.envelope is not None and self.envelope.inside and answerable(found) else found


class Finding(Spec):
    """One thing that a monitor saw in one analysis window."""

    kind: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)
    """As a monitor declares it. No closed list: a report stays readable when a monitor is added or removed."""
    subject: str
    """The column, metric or group."""
    value: float | None
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    limit: float | None = None
    rows: int
    alarm: bool
    importance: float | None = None
    """Share of the model's attribution that the subject carries, where it is a feature."""
    sentence: str


class Alternative(Spec):
    """An earlier version scored on the same window, for the question whether going back would help."""

    version: str
    metric: str
    current: float
    earlier: float
    difference_low: float
    difference_high: float
    rows: int
    better: bool
    basis: Literal["realized", "estimated"]


class Decision(Spec):
    action: Action
    reason: str
    policy: str
    """The line of the policy that decided."""
    target: str | None = None
    """For roll_back: the version to go to."""
    waits_for: int = 0
    """For retrain: labelled rows still missing; nothing is started while there are any."""
    learns_from: int = 0
    """For retrain: labelled rows that were there to learn from when it was decided."""
    findings: tuple[str, ...] = ()
    """The alarms that it rests on, each as ``kind: subject``, in the order in which a person should hear of them."""

    @property
    def acts(self) -> bool:
        """Whether it starts a run now."""
        return self.action in ("roll_back", "stop") or (self.action == "retrain" and self.waits_for == 0)


class WindowReport(Spec):
    model: str
    version: str
    window: int
    first: str
    last: str
    first_seq: int
    last_seq: int
    rows: int
    labelled: int
    created: str
    newest_seq: int | None = None
    """The log's newest prediction of the model when the report was made, which tells before from after whatever a clock
    says; None in reports from before 2026-11-29."""
    findings: tuple[Finding, ...]
    first_estimates: tuple[Finding, ...] = ()
    """What the first look estimated, before labels came; empty in the first look's own report."""
    alternatives: tuple[Alternative, ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    groups: GroupSummary | None = None
    review: tuple[ReviewItem, ...] = ()
    """What an expert should look at, most urgent first."""
    label_request: LabelRequest | None = None
    """Rows whose outcomes are asked for; None where nothing is open, and in reports from before 2026-12-01."""
    asked_rounds: int = 0
    """Rounds of the request that were answered when the report was made; another look waits for more."""
    decision: Decision


class Pictures(Spec):
    """What is drawn of one window: kept beside its report, which is read far more often."""

    plots: tuple[Plot, ...] = ()
    """Of expert rules and attributions."""
    map: EmbeddingMap | None = None
