"""Everything a gate may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd

from tasks.spec.evidence import GateResult
from tasks.spec.metrics import TargetKind
from tasks.spec.model import ModelConfig
from tasks.spec.rules import ExpertRules


@dataclass(frozen=True)
class Examination:
    """One candidate on its holdout of n rows, with the champion's answers to the same rows.

    ``rows`` (n, inputs) raw; by ``kind``: binary: ``label`` (n,) bool, ``score`` and ``champion_score`` (n,) in [0, 1];
    multiclass: ``label`` (n,) int codes into ``classes``, scores (n, k) rows that sum to 1; regression: ``label`` and
    scores (n,) float in one unit, ``decision_threshold`` NaN where nothing is decided. ``benchmark`` (n,)
    names; ``groups`` (n, attributes) names or missing; ``attributions`` (m, features) of a sample; ``predict`` scores
    raw rows.

    The rest is None where a caller has no use for it, and a gate that needs it then fails: ``config`` of the model;
    ``train`` (k, inputs) raw training rows with ``train_label`` and ``train_collected`` (k,) bool, the latter for
    rows collected in production; ``entity`` (n,) and ``train_entity`` (k,) say
    whose row it is, where the model's data have entities; ``served`` (w, inputs) the newest logged rows; ``explain``
    attributes raw rows under a seed, (r, features); ``readiness`` is what ``tasks.serving.readiness`` measured.
    """

    rows: pd.DataFrame
    label: np.ndarray
    score: np.ndarray
    champion_score: np.ndarray | None
    benchmark: np.ndarray
    groups: pd.DataFrame
    attributions: pd.DataFrame
    predict: Callable[[pd.DataFrame], np.ndarray]
    features: tuple[str, ...]
    decision_threshold: float
    seed: int
    rules: ExpertRules | None
    data_check: GateResult | None
    kind: TargetKind = "binary"
    classes: tuple[str, ...] = ()
    decided: np.ndarray | None = None
    """(n,) bool, where a row is selected by another way than its score's reaching the threshold: one class against the
    rest.
    """
    config: ModelConfig | None = None
    train: pd.DataFrame | None = None
    train_label: np.ndarray | None = None
    train_collected: np.ndarray | None = None
    entity: np.ndarray | None = None
    train_entity: np.ndarray | None = None
    served: pd.DataFrame | None = None
    explain: Callable[[pd.DataFrame, int], pd.DataFrame] | None = None
    readiness: dict[str, Any] | None = None

    @property
    def decision(self) -> np.ndarray:
        """(n,) bool whether a row is selected; of a multiclass model, (n,) int codes of the most probable class."""
        if self.decided is not None:
            return self.decided
        return np.asarray(
            self.score.argmax(axis=1) if self.kind == "multiclass" else self.score >= self.decision_threshold
        )

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
        """What ``compute`` gives, computed at the first call under this name: several rules and gates ask the same of
        the same rows.

        Gates run side by side in threads: of two that ask at once, one computes and the other waits. What raises is not
        kept.
        """
        kept = self._known.setdefault(name, _Kept())
        with kept.alone:
            if not kept.values:
                kept.values.append(compute())
            return kept.values[0]

    def beside(self, data_check: GateResult | None) -> Examination:
        """The same evidence beside another check of the data; both know what either has computed, since none of it
        comes from that check.
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
    """One name of :meth:`Examination.once`: at most one value, and the lock of whoever computes it, who may ask for
    other names meanwhile.
    """

    values: list[Any] = field(default_factory=list)
    alone: Any = field(default_factory=RLock)
