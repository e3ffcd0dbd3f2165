"""What a monitor is: the kinds of findings that it gives, its share of alpha, what it fits on the reference, and its
look.

A new monitor is one module with an object of class :class:`Monitor`, and one entry in
``tasks.science.windows.monitors``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from tasks.science.models.embeddings import Represent
from tasks.science.models.explanations import importance
from tasks.science.monitors.profiles.layout import Layout
from tasks.science.monitors.profiles.profile import Profile
from tasks.spec.arrivals import FeedFacts
from tasks.spec.evidence import Finding, Plot, WindowReport
from tasks.spec.forecast import Forecast
from tasks.spec.groupings import EmbeddingMap, GroupSummary
from tasks.spec.model import ModelConfig
from tasks.spec.rules import ExpertRules

EXPLAINED = 500
"""Rows of the reference, or of a window, whose attributions are computed."""
Concern = Literal["performance", "forecast", "feed", "drift", "other"]
"""What an alarm is about, for the decision policy: ``other`` is reported to a person and has no other consequence."""


@dataclass(frozen=True)
class FindingKind:
    """One kind of finding, declared by the monitor that gives it."""

    name: str
    """As in ``Finding.kind``: lower case, words joined by underscores."""
    rank: int
    """Place in the order in which a person should hear of alarms; the lowest comes first."""
    share: Fraction = Fraction(0)
    """Part of ``monitoring.alpha`` that its tests may spend; 0 where an alarm rests on no test, or on a limit of its
    own."""
    concern: Concern = "other"


@dataclass(frozen=True)
class WindowInput:
    """All that is known of one window."""

    number: int
    rows: pd.DataFrame
    """(n, columns) raw inputs, scores, ``_id``, and ``_label`` where it is known; of a window with more than
    ``monitoring.sampled_rows`` a random sample."""
    profile: Profile
    """Counts of all rows."""
    facts: FeedFacts
    """How the rows arrived."""
    facts_before: Sequence[FeedFacts]
    """The same of the windows before, oldest first."""
    checks: Sequence[dict[str, Any]]
    """What the expectations found, as ``tasks.data.check_window`` gives it."""
    rules: ExpertRules | None
    represent: Represent
    """What the model makes of raw rows."""
    predict: Callable[[pd.DataFrame], np.ndarray]
    """Scores (r,) or (r, k) of raw rows."""
    explain: Callable[[pd.DataFrame, int], pd.DataFrame]
    """Attributions (r, features) of raw rows under a seed."""
    history: Sequence[WindowReport]
    """Reports on the same version, one on this very window included where it is looked at again."""
    past: Sequence[Mapping[str, float]]
    """P-values of the windows before by kind of finding, oldest first."""
    recent: pd.DataFrame
    """Labelled rows of the version's last windows before this one, which may contradict an estimate."""
    now: datetime
    unsure: frozenset[str] = frozenset()
    """Ids of rows that were asked for and whose outcome nobody can say."""


@dataclass(frozen=True)
class FitInput:
    """What a monitor is fitted on, once for each version."""

    config: ModelConfig
    represent: Represent
    rows: pd.DataFrame
    """(m, columns) raw inputs, scores and labels of the reference window."""


@dataclass(frozen=True)
class Reference:
    """What the windows of one version are compared with."""

    rows: pd.DataFrame
    """(m, columns) raw inputs, scores and labels."""
    attributions: pd.DataFrame
    """(k, features) of a sample of the rows."""
    layout: Layout
    """How rows are counted, the reference's and every window's."""
    fitted: Mapping[str, Any]
    """By the name of a monitor, what its :meth:`Monitor.load` gave."""
    documents: Mapping[str, dict[str, Any]]
    """The same as JSON, as it is stored."""
    derived: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def importance(self) -> dict[str, float]:
        """Share of the attribution by feature."""
        return importance(self.attributions)

    def cached(self, name: str, make: Callable[[], Any]) -> Any:
        """What follows from the reference and is not stored; made at the first call, and kept as long as this object
        is."""
        if name not in self.derived:
            self.derived[name] = make()
        return self.derived[name]


@dataclass(frozen=True)
class Look:
    """One look at one window, as every monitor is given it."""

    config: ModelConfig
    reference: Reference
    window: WindowInput
    levels: Mapping[str, float]
    """By kind of finding, the chance of a false alarm that its tests may spend in this window."""
    found: list[Finding] = field(default_factory=list)
    """Findings of the monitors before."""

    @cached_property
    def absent(self) -> list[str]:
        """Features of the model that the rows of the window lack."""
        return [f for f in self.config.features if f not in self.window.rows]

    @cached_property
    def attributions(self) -> pd.DataFrame:
        """(r, features) of a sample of the window; only where no feature is absent."""
        rows, seed = self.window.rows, self.config.seed
        return self.window.explain(rows.sample(min(EXPLAINED, len(rows)), random_state=seed), seed)


@dataclass(frozen=True)
class RuleBreak:
    """One row of the window that breaks one rule, whatever the share of rows that may."""

    row: int
    """Position in the window."""
    id: str
    """Of the prediction; empty where the window has no ids."""
    rule: str
    """What the rule asks."""
    excess: float
    """By how much of the score; infinite where the score is NaN."""


@dataclass(frozen=True)
class MonitorResult:
    """What one monitor found in one window; beside its findings, what the report, the page and the review queue
    need."""

    findings: Sequence[Finding]
    plots: Sequence[Plot] = ()
    forecasts: Sequence[Forecast] = ()
    map: EmbeddingMap | None = None
    groups: GroupSummary | None = None
    breaks: Sequence[RuleBreak] = ()
    group_of_row: pd.Series | None = None
    """(n,) name of the group in which each row lies, missing for a row in none."""


class Monitor(ABC):
    """One monitor. It keeps no state of its own: what it fits is handed to it with the reference."""

    name: str
    """Under which the document that it fits is stored; never changed once windows were looked at."""
    kinds: tuple[FindingKind, ...]
    """All kinds of findings that it may give; no other monitor gives these."""
    of_labels: bool = False
    """Whether it looks at the window again when labels come; what the others found stands."""
    of_small_windows: bool = False
    """Whether it also looks at windows below ``monitoring.minimum_rows``, and where the reference has no rows."""

    @property
    def fits(self) -> bool:
        """Whether it fits anything on the reference."""
        return type(self).fit is not Monitor.fit

    def fit(self, basis: FitInput) -> dict[str, Any] | None:
        """What it needs of the reference, as a JSON document; None where it fits nothing.

        The version's folder and seed decide it.
        """
        return None

    def load(self, document: dict[str, Any]) -> Any:
        """The document of :meth:`fit` as :meth:`look` reads it under ``reference.fitted[self.name]``.

        Raises:
            ConfigError, CorruptionError: it was written in another format, or cannot be read; it is then fitted again.
        """
        return document

    @abstractmethod
    def look(self, look: Look) -> MonitorResult:
        """What it finds in one window. What cannot be computed is a finding without a value that says why."""
