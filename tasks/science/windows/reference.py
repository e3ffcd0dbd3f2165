"""What the windows of one version are compared with, fitted once on its reference window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from tasks.science.models.explanations import importance
from tasks.science.monitors.drift.reference import DriftReference, load_drift_reference
from tasks.science.monitors.drift.reference import fit_reference as fit_drift_reference
from tasks.science.monitors.groupings.reference import GroupReference, fit_groupings, load_groupings
from tasks.science.monitors.performance.direct_loss import LossModel
from tasks.science.monitors.performance.estimators import reference_losses
from tasks.science.monitors.profiles.layout import Layout
from tasks.spec.formats import FITTED_REFERENCE, refuse_other_format
from tasks.spec.model import ModelConfig

EXPLAINED = 500
"""Rows of the reference, or of a window, whose attributions are computed."""


@dataclass(frozen=True)
class Reference:
    """``rows`` (m, columns): raw inputs, scores and labels; the rest is fitted on them. ``attributions`` (k, features) of a sample."""

    rows: pd.DataFrame
    drift: DriftReference
    groups: GroupReference
    attributions: pd.DataFrame

    @property
    def layout(self) -> Layout:
        return self.drift.layout

    @property
    def importance(self) -> dict[str, float]:
        """Share of the attribution by feature."""
        return importance(self.attributions)

    def losses(self, config: ModelConfig) -> LossModel | None:
        """The model of a regression's losses, fitted at the first call; of other kinds none."""
        if config.kind != "regression":
            return None
        if "_losses" not in self.__dict__:
            self.__dict__["_losses"] = reference_losses(config, self.rows, config.seed)
        found: LossModel = self.__dict__["_losses"]
        return found

    def document(self) -> dict[str, Any]:
        """All but the rows, and what follows from them quickly, as JSON."""
        explained = {str(name): [float(v) for v in column] for name, column in self.attributions.items()}
        return {
            "format": FITTED_REFERENCE.number,
            "drift": self.drift.document(),
            "groups": self.groups.document(),
            "attributions": explained,
        }


def fit_reference(
    config: ModelConfig, pipeline: Pipeline, rows: pd.DataFrame, explain: Callable[[pd.DataFrame, int], pd.DataFrame]
) -> Reference:
    """Everything that is costly, on (m, columns) labelled, scored rows of the newest benchmark.

    Args:
        explain: attributions (r, features) of raw rows under a seed.
    """
    sample = rows.sample(min(EXPLAINED, len(rows)), random_state=config.seed)
    explained = (
        explain(sample, config.seed) if len(sample) else pd.DataFrame(columns=list(config.features), dtype=float)
    )
    return Reference(
        rows,
        fit_drift_reference(config, rows, config.seed),
        fit_groupings(config, pipeline, rows, config.seed),
        explained,
    )


def load_reference(document: dict[str, Any], rows: pd.DataFrame) -> Reference:
    """What :meth:`Reference.document` wrote, and the rows that it was fitted on.

    Raises:
        ConfigError, CorruptionError: it was written in another format, or is none.
    """
    refuse_other_format(document, FITTED_REFERENCE, "It is fitted again.")
    return Reference(
        rows,
        load_drift_reference(document["drift"]),
        load_groupings(document["groups"]),
        pd.DataFrame(document["attributions"]),
    )
