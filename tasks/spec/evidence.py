"""What is written down as evidence: gate results, verdicts, findings, decisions, manifests, ledger entries."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tasks.spec.base import Spec
from tasks.spec.waivers import Waiver

State = Literal["pass", "fail", "insufficient_evidence"]
Action = Literal["nothing", "alert", "retrain", "roll_back"]
EntryKind = Literal["trained", "examined", "rejected", "awaiting_signature", "promoted", "rolled_back", "monitored"]

NOT_TRAINED = "not trained"
"""How the sentence of a rejection begins that came before any training."""


class Measurement(Spec):
    """One number a person may act on, with its uncertainty and its row count."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    rows: int
    state: State


class GateResult(Spec):
    gate: str
    kind: str
    mandatory: bool
    state: State
    reason: str
    measurements: tuple[Measurement, ...] = ()
    estimator: str = ""
    """The statistical method and its source, in one line."""
    remedy: str = ""
    """What would make it pass, in a sentence; empty where it passes or nobody can say."""
    waiver: Waiver | None = None
    """The waiver that lets the candidate through although this gate did not pass."""


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

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """Mandatory gates that did not pass and are not waived."""
        return tuple(g for g in self.gates if g.mandatory and g.state != "pass" and g.waiver is None)

    @property
    def waived(self) -> tuple[GateResult, ...]:
        return tuple(g for g in self.gates if g.waiver is not None)


class Finding(Spec):
    """One thing that a monitor saw in one analysis window."""

    kind: Literal[
        "data_drift", "prediction_drift", "estimated_performance", "realized_performance", "selection_rate", "missingness"
    ]
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
    findings: tuple[Finding, ...]
    alternatives: tuple[Alternative, ...] = ()
    decision: Decision


class Manifest(Spec):
    """``manifest.json`` beside ``model.skops``: what the service must know to answer."""

    model: str
    title: str
    model_digest: str
    """sha256 of model.skops."""
    features: tuple[str, ...]
    inputs: tuple[dict[str, Any], ...]
    """The input columns, each as a dumped ``Column``."""
    decision_threshold: float
    positive: str
    negative: str
    seed: int
    trained_rows: int
    libraries: dict[str, str]


class Pointer(Spec):
    """``champion.json``: which version serves, and the digests of the files that were meant."""

    version: str = Field(pattern=r"^v[0-9][0-9A-Za-z.+-]*$")
    model_digest: str
    """sha256 of model.skops."""
    manifest_digest: str
    """sha256 of manifest.json, which holds the decision threshold."""
    assigned: str


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
    evidence: str | None
    """sha256 digest of the evidence document, stored beside the ledger."""
    details: dict[str, Any] = {}
    previous: str | None
