"""Everything a gate may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.stats.clusters import entities, numbered
from tasks.spec.evidence import GateResult
from tasks.spec.metrics import TargetKind
from tasks.spec.model import ModelConfig
from tasks.spec.rules import ExpertRules
from tasks.tables.expressions import evaluate


@dataclass(frozen=True)
class Examination:
    """One candidate on its holdout of n rows, with the champion's answers to the same rows.

    Fields with a default are None where a caller has no use for them, and a gate that needs one then fails.
    """

    rows: pd.DataFrame
    """(n, inputs) raw."""
    label: np.ndarray
    """(n,). Binary: bool. Multiclass: int codes into ``classes``. Regression: float."""
    score: np.ndarray
    """Binary: (n,) in [0, 1]. Multiclass: (n, k), rows that sum to 1. Regression: (n,) float, in the label's unit."""
    champion_score: np.ndarray | None
    """In the shape of ``score``; None before the first release."""
    benchmark: np.ndarray
    """(n,) name of the part of the holdout that a row belongs to."""
    groups: pd.DataFrame
    """(n, protected attributes) names of groups, or missing."""
    attributions: pd.DataFrame
    """(m, features) of a sample of rows."""
    predict: Callable[[pd.DataFrame], np.ndarray]
    """Raw rows to scores in the shape of ``score``."""
    features: tuple[str, ...]
    decision_threshold: float
    """Score from which a row is selected; NaN where nothing is decided."""
    seed: int
    rules: ExpertRules | None
    data_check: GateResult | None
    kind: TargetKind = "binary"
    classes: tuple[str, ...] = ()
    """Of a multiclass model, in the order of its scores."""
    decided: np.ndarray | None = None
    """(n,) bool: the selected rows, where not the threshold decides but another class's score, as for one class against
    the rest.
    """
    config: ModelConfig | None = None
    train: pd.DataFrame | None = None
    """(k, inputs) raw training rows."""
    train_label: np.ndarray | None = None
    """(k,) as ``label``."""
    train_collected: np.ndarray | None = None
    """(k,) bool: rows that were collected in production."""
    entity: np.ndarray | None = None
    """(n,) whose row it is, where the model's data have entities."""
    train_entity: np.ndarray | None = None
    """(k,)"""
    period: np.ndarray | None = None
    """(n,) when a row is from, in table form, where the model's data have a period."""
    train_period: np.ndarray | None = None
    """(k,)"""
    served: pd.DataFrame | None = None
    """(w, inputs) the newest logged rows."""
    explain: Callable[[pd.DataFrame, int], pd.DataFrame] | None = None
    """Raw rows and a seed to attributions, (rows, features)."""
    readiness: dict[str, Any] | None = None
    """What :mod:`tasks.serving.readiness` measured."""
    card: dict[str, Any] | None = None
    """What :func:`tasks.card.asked_of` found in the candidate's model card."""

    @property
    def decision(self) -> np.ndarray:
        """(n,) bool whether a row is selected; of a multiclass model, (n,) int codes of the most probable class."""
        if self.decided is not None:
            return self.decided
        return np.asarray(
            self.score.argmax(axis=1) if self.kind == "multiclass" else self.score >= self.decision_threshold
        )

    def fulfilled(self, expression: str, where: str) -> np.ndarray:
        """(n,) bool: the rows that fulfil a configured condition, called ``where`` in errors.

        Raises:
            ConfigError: it does not parse or does not fit the columns.
        """
        columns = None if self.config is None else self.config.inputs
        return evaluate(self.rows, expression, where, columns).to_numpy(bool)

    @property
    def owners(self) -> np.ndarray | None:
        """(n,) the number of the entity whose row it is; an unknown entity is one of its own. None without entities."""
        if self.entity is None:
            return None
        found: np.ndarray = self.cached("owners", lambda: numbered(np.asarray(self.entity)))
        return found

    def owners_of(self, rows: pd.DataFrame) -> np.ndarray | None:
        """(k,) :attr:`owners` of (k, ...) rows of the holdout, found by their index."""
        owners = self.owners
        return None if owners is None else pd.Series(owners, self.rows.index).loc[rows.index].to_numpy()

    def counted(self, rows: int, owners: np.ndarray | None) -> str:
        """The rows in words, and of how many entities they are where that is known."""
        return f"{rows:,} rows" + ("" if owners is None else f" of {entities(owners):,} {self.entity_name}")

    @property
    def entity_name(self) -> str:
        """What entities are called in a sentence: the name of their column behind the word."""
        name = None if self.config is None else self.config.data.entity
        return "entities" if name is None else f"entities ({name})"

    def against_rest(self, name: str) -> Examination:
        """One class of a multiclass model as a binary question: is it this one, and was it chosen?

        Raises:
            KeyError: no such class.
        """
        if name not in self.classes:
            raise KeyError(f"{name!r} is no class; allowed: {', '.join(self.classes)}")
        code = self.classes.index(name)
        return replace(
            self,
            kind="binary",
            classes=(),
            label=self.label == code,
            score=self.score[:, code],
            champion_score=None if self.champion_score is None else self.champion_score[:, code],
            decided=self.decision == code,
            predict=lambda rows: self.predict(rows)[:, code],
            train_label=None if self.train_label is None else self.train_label == code,
        )

    def cached(self, name: Any, compute: Callable[[], Any]) -> Any:
        """What ``compute`` gives, computed at the first call under this name.

        Several rules and gates ask the same of the same rows, side by side in threads. Of two that ask at once, one
        computes and the other waits. What raises is not kept.
        """
        kept = self._known.setdefault(name, _Kept())
        with kept.alone:
            if not kept.values:
                kept.values.append(compute())
            return kept.values[0]

    def beside(self, data_check: GateResult | None) -> Examination:
        """The same evidence beside another check of the data.

        Both know what either has computed, since none of it comes from that check.
        """
        other = replace(self, data_check=data_check)
        other.__dict__["_known"] = self._known
        return other

    @property
    def _known(self) -> dict[Any, _Kept]:
        known: dict[Any, _Kept] = self.__dict__.setdefault("_known", {})  # no field: a changed copy knows nothing yet
        return known


@dataclass(frozen=True)
class _Kept:
    """One name of :meth:`Examination.cached`: at most one value, and the lock of whoever computes it.

    The lock is reentrant: who computes may ask for other names meanwhile.
    """

    values: list[Any] = field(default_factory=list)
    alone: Any = field(default_factory=RLock)
