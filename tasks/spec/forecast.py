"""What a forecast rests on and says, and how its calls turned out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.spec.base import Spec

Outcome = Literal["hit", "false", "prevented", "open", "missed"]


class Observation(Spec):
    """One window of a series: what labels showed, or else what was estimated without them."""

    window: int
    value: float = Field(allow_inf_nan=False)
    error: float = Field(ge=0, allow_inf_nan=False)
    """Standard error of ``value``."""
    rows: int
    realized: bool
    estimate: float | None = None
    """For a realized value: what had been estimated before its labels came; from these, the estimator's own error is
    learned."""
    estimate_error: float | None = None


class Ahead(Spec):
    """One window to come."""

    window: int
    mean: float
    low: float
    high: float
    """80 % interval of the value that labels will show."""
    breach: float
    """Chance that this window is beyond the limit."""
    breached: float
    """Chance that this window or one before it, from the first to come, is beyond the limit."""


class Forecast(Spec):
    """When a series crosses its limit, if it does; ``reason`` says why there is no forecast."""

    subject: str
    limit: float
    greater_is_better: bool
    horizon: int
    observations: int
    realized: int
    """How many of the observations are realized values."""
    last: int | None = None
    """The newest window that was observed."""
    beyond: bool = False
    """Whether the newest observation is beyond the limit already."""
    seed: int
    ahead: tuple[Ahead, ...] = ()
    probability: float | None = None
    """Chance of a breach within the horizon."""
    time: int | None = None
    """Windows until the first breach: the median; None where it is later than ``farthest``."""
    time_low: int | None = None
    time_high: int | None = None
    """80 % interval; None is an open end, later than ``farthest``."""
    farthest: int = 0
    """Windows ahead that were played."""
    model: str = ""
    """The kind of model with most weight."""
    because: str = ""
    """Why that one, in a sentence."""
    weights: dict[str, float] = {}
    """Posterior weight of each kind of model; the forecast is of all of them."""
    shift: int | None = None
    """First window after a level shift, where one was found; windows before it say little about the level now."""
    bias: float | None = None
    """By how much estimates were above the realized values, as learned; None where nothing was learned."""
    reason: str = ""
    missing: int = 0
    """Observed windows that a forecast still needs."""

    @property
    def valid(self) -> bool:
        return not self.reason


class Call(Spec):
    """One call of the trigger, or a breach without one, and what became of it."""

    subject: str
    version: str
    window: int
    """The window after which it was called; of a missed breach, the breach's own."""
    within: int | None = None
    """Windows in which the breach was to come."""
    probability: float | None = None
    outcome: Outcome
    breach: int | None = None
    """The window of the breach."""
    lead: int | None = None
    """Windows from the call to the breach."""
    sentence: str


class TriggerRecord(Spec):
    """The trigger's hits and misses, oldest first."""

    calls: tuple[Call, ...] = ()
    judged: int = 0
    """Windows with a valid forecast."""

    def count(self, outcome: Outcome) -> int:
        return sum(c.outcome == outcome for c in self.calls)

    @property
    def leads(self) -> tuple[int, ...]:
        return tuple(c.lead for c in self.calls if c.outcome == "hit" and c.lead is not None)
