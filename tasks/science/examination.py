"""Everything a gate may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tasks.spec.evidence import GateResult
from tasks.spec.model import ModelConfig
from tasks.spec.rules import ExpertRules


@dataclass(frozen=True)
class Examination:
    """One candidate on its holdout of n rows, with the champion's answers to the same rows.

    ``rows`` (n, inputs) raw; ``label`` (n,) bool; ``score`` and ``champion_score`` (n,) in [0, 1]; ``benchmark`` (n,)
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
    config: ModelConfig | None = None
    train: pd.DataFrame | None = None
    train_label: np.ndarray | None = None
    train_collected: np.ndarray | None = None
    entity: np.ndarray | None = None
    train_entity: np.ndarray | None = None
    served: pd.DataFrame | None = None
    explain: Callable[[pd.DataFrame, int], pd.DataFrame] | None = None
    readiness: dict[str, Any] | None = None

    def once(self, name: Any, compute: Callable[[], Any]) -> Any:
        """What ``compute`` gives, computed at the first call under this name: several rules ask the same of the same rows."""
        known = self.__dict__.setdefault("_known", {})  # no field: a changed copy knows nothing yet
        if name not in known:
            known[name] = compute()
        return known[name]
