"""Everything a gate may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.spec.evidence import GateResult
from tasks.spec.gates import ExpertRules


@dataclass(frozen=True)
class Examination:
    """One candidate on its holdout of n rows, with the champion's answers to the same rows.

    ``rows`` (n, inputs) raw; ``label`` (n,) bool; ``score`` and ``champion_score`` (n,) in [0, 1]; ``benchmark`` (n,)
    names; ``groups`` (n, attributes) names or missing; ``attributions`` (m, features) of a sample; ``predict`` scores
    raw rows.
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
