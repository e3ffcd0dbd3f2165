"""What approvers sign ahead of a verdict: waivers, each for one gate of one version, and envelopes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator, model_validator

from tasks.spec.base import Finite, Spec, digest_json
from tasks.spec.estimator import Estimator
from tasks.spec.gates import ComparisonGate, FloorGate
from tasks.spec.line import Line, Who
from tasks.spec.metrics import TargetKind


class Head(BaseModel):
    """An entry of the ledger, as the newest one that somebody knew who signed."""

    model_config = Spec.model_config
    sequence: int
    digest: str


class Waiver(Spec):
    """One entry of ``waivers.yaml``; ``assay waive`` writes it."""

    gate: str
    version: str = Field(pattern=r"^v\d+\.\d+\.\d+$")
    """The version that the candidate would become; the waiver holds for no other."""
    reason: Line = Field(min_length=10, max_length=500)
    who: Who = Field(min_length=3)
    """Who signs, as on the list of ``assay policy``."""
    expires: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """The last day on which it holds, UTC."""
    list: str | None = None
    """Digest of the list of people that was in force when it was signed; waivers before 2026-11-29 have none."""
    head: Head | None = None
    """The newest entry of the ledger then; waivers before 2026-11-29 have none."""
    signature: str = ""

    def statement(self, model: str) -> dict[str, Any]:
        """What is signed: exactly these."""
        return statement(self.model_dump(mode="json"), model)


class EnvelopeSignature(Spec):
    """``deployments/models/<name>/envelope.yaml``; ``assay envelope`` writes it."""

    who: Who = Field(min_length=3)
    """Who signs, as on the list of ``assay policy``."""
    reason: Line = Field(min_length=10, max_length=500)
    expires: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    """The last day on which it holds, UTC."""
    list: str
    """Digest of the list of people that was in force when it was signed."""
    head: Head
    """The newest entry of the ledger then."""
    envelope: str
    """Digest of the terms."""
    signature: str = ""


def envelope_statement(signed: Mapping[str, Any], model: str, terms: Any) -> dict[str, Any]:
    """What is signed of an envelope: these words, and the digest of the terms as they stand.

    Args:
        signed: as :class:`EnvelopeSignature`, or as it is stored.
        terms: the document of ``envelope`` in ``model.yaml``.
    """
    said = {key: signed.get(key) for key in ("who", "reason", "expires", "list", "head")}
    return said | {"model": model, "envelope": digest_json(terms)}


def statement(waiver: dict[str, Any], model: str) -> dict[str, Any]:
    """What was signed, of a waiver as it is stored; one that is bound to no ledger signs neither list nor head."""
    said = {key: waiver.get(key) for key in ("version", "reason", "who", "expires")}
    bound = {key: waiver[key] for key in ("list", "head") if waiver.get(key) is not None}
    return said | bound | {"waive": waiver.get("gate"), "model": model}


def is_head(head: Any) -> bool:
    """Whether it names an entry of a ledger, in the one form in which everybody reads it."""
    fits = isinstance(head, dict) and set(head) == {"sequence", "digest"}
    return fits and type(head["sequence"]) is int and head["sequence"] > 0 and isinstance(head["digest"], str)


def is_over(expires: Any, day: date) -> bool:
    """Whether a last day is over; a date that does not exist is over as well, and on the last day of all, all is."""
    try:
        return day == date.max or date.fromisoformat(str(expires)) < day
    except ValueError:
        return True


class Waivers(Spec):
    """``deployments/models/<name>/waivers.yaml``."""

    waivers: tuple[Waiver, ...] = ()


Bounds = tuple[Finite, Finite]
Criterion = Annotated[FloorGate | ComparisonGate, Field(discriminator="kind")]


class Envelope(Spec):
    """What a retraining that nobody asked for may change, and how well it must then do; an approver signs it."""

    sources: Annotated[tuple[Line, ...], Field(min_length=1)]
    """Whose labels it may learn from, of ``labels.sources``."""
    rows: int = Field(ge=1)
    """Rows from production that it may add at most to those of the serving version."""
    until: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}$")
    """Last day (UTC) on which the newest of these rows may have been predicted."""
    estimator: dict[str, Bounds] = {}
    """Hyperparameters that may change, each with its smallest and largest value; no other one may."""
    threshold: Bounds | None = None
    """Bounds of a changed ``decision_threshold``; without them it stays as it is."""
    performance: Annotated[tuple[Criterion, ...], Field(min_length=1)]
    """Floors and comparisons with the serving version that it must pass, a floor at least."""

    @field_validator("until")
    @classmethod
    def _a_day(cls, value: str | None) -> str | None:
        if value is not None:
            date.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _bounded(self) -> Envelope:
        bounds = {f"estimator.{name}": pair for name, pair in self.estimator.items()}
        bounds |= {} if self.threshold is None else {"threshold": self.threshold}
        for name, (low, high) in bounds.items():
            if low > high:
                raise ValueError(f"{name} is {low:g} to {high:g}; write the smaller one first")
        names = [one.name for one in self.performance]
        if len(set(names)) < len(names):
            raise ValueError(f"two criteria share a name; give each its own: {', '.join(names)}")
        if not any(isinstance(one, FloorGate) for one in self.performance):
            raise ValueError(
                "performance has no floor; each retraining may be a little worse than the one before, so name with "
                "kind: floor what none may fall below"
            )
        return self


def hyperparameters(estimator: Estimator) -> dict[str, Any]:
    """By name: what is handed to the estimator, or of an mlp its network."""
    return {**estimator.parameters, **(estimator.network.model_dump() if estimator.network is not None else {})}


def envelope_problems(
    envelope: Envelope | None,
    kind: TargetKind,
    classes: tuple[str, ...],
    sources: tuple[str, ...],
    benchmarks: tuple[str, ...],
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What an envelope names that its model does not have: where, and a sentence.

    Args:
        sources: ``labels.sources``.
        benchmarks: names that a criterion may give.
    """
    if envelope is None:
        return
    for name in envelope.sources:
        if name not in sources:
            said = (
                f"envelope.sources names {name!r}; allowed are those of labels.sources: {', '.join(sources) or 'none'}"
            )
            yield ("envelope", "sources"), said
    for at, one in enumerate(envelope.performance):
        place = ("envelope", "performance", at)
        if one.benchmark not in benchmarks:
            said = f"criterion {one.name} names the benchmark {one.benchmark!r}; allowed: {', '.join(benchmarks)}"
            yield (*place, "benchmark"), said
        if wrong := one.problem(kind, classes):
            yield (*place, "metric"), wrong.replace("gate ", "criterion ", 1)
