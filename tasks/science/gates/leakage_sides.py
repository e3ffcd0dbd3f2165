"""What the checks of the leakage gate share: the examined columns on both sides of the split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.science.examination.examination import Examination
from tasks.science.gates.leakage_checks import Question, questions
from tasks.spec.leakage_gate import LeakageGate
from tasks.spec.model import ModelConfig


@dataclass(frozen=True)
class Sides:
    """What the checks share: the examined features on both sides, and the column expressions they come from."""

    config: ModelConfig
    features: list[str]
    train: pd.DataFrame
    train_label: np.ndarray
    examination: Examination

    @property
    def asked(self) -> list[Question]:
        """Of several, the whole does best what any of them gives away."""
        e = self.examination
        found: list[Question] = e.cached(
            "leakage questions", lambda: questions(e.kind, e.classes, self.train_label, e.label, e.score)
        )
        return found


def searching_error(config: LeakageGate) -> float:
    """The error that one searching check may spend.

    Rows on both sides, rows given again, two scans for jumps and the skew share the gate's error.
    """
    return (1 - config.confidence) / 5
