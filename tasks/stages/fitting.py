"""Fit a pipeline on training rows: at one go, or of a network by epochs; what was learned from is in no other place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import has_fit_parameter

from tasks.science.data.held_out import held_out
from tasks.science.data.tables import LABEL, WEIGHT, label_array
from tasks.science.models.epochs import Diverged, Rows, fit_by_epochs
from tasks.spec.errors import ConfigError
from tasks.spec.estimator import Epochs
from tasks.spec.training import TrainingConfig


def fit(config: TrainingConfig, pipeline: Any, rows: pd.DataFrame) -> Epochs | None:
    """Fit a pipeline on training rows.

    Returns:
        Of a network, what became of its loss; None of what is fitted at one go.

    Raises:
        ConfigError: the labels do not vary, or the estimator does not take these rows or parameters.
    """
    label = label_array(config, rows[LABEL])
    refuse_untrainable(config, label)
    weights = _weights(config, pipeline, rows)
    try:
        if config.estimator.kind == "mlp":
            return _by_epochs(config, pipeline, rows, label, weights)
        given = {} if weights is None else {"estimator__sample_weight": weights}
        pipeline.fit(rows[list(config.features)], label, **given)
    except ConfigError:
        raise
    except Exception as error:  # an estimator raises whatever it likes of parameters and rows that do not suit it
        raise ConfigError(
            f"estimator cannot be fitted on the {len(rows)} training rows of {config.name}: "
            f"{type(error).__name__}: {error}"
        ) from None
    return None


def _by_epochs(
    config: TrainingConfig, pipeline: Any, rows: pd.DataFrame, label: np.ndarray, weights: np.ndarray | None
) -> Epochs:
    """The preparation sees no row that is held out, as it sees none that is examined; rows of weight 0 are none."""
    if weights is not None:
        some = weights > 0
        rows, label, weights = rows[some], label[some], weights[some]
        refuse_untrainable(config, label)
    chosen = held_out(config, rows, label)
    learns, stops = np.flatnonzero(~chosen.mask), np.flatnonzero(chosen.mask)
    features = rows[list(config.features)]
    prepare, network = pipeline.named_steps["prepare"], pipeline.named_steps["estimator"]
    learned = Rows(
        prepare.fit_transform(features.iloc[learns], label[learns]),
        label[learns],
        None if weights is None else weights[learns],
    )
    asked = Rows(prepare.transform(features.iloc[stops]), label[stops], None if weights is None else weights[stops])
    try:
        losses = fit_by_epochs(network, learned, asked)
    except Diverged as epoch:
        rate = config.estimator.layout.learning_rate
        raise ConfigError(
            f"estimator.network.learning_rate of {config.name} is {rate:g}, and in epoch {epoch} the loss became "
            "infinite or NaN. Lower it."
        ) from None
    return Epochs(
        loss="squared_error" if config.kind == "regression" else "log_loss",
        training=tuple(losses.training),
        validation=tuple(losses.validation),
        kept=losses.kept,
        stopped=losses.stopped,
        by=chosen.by,
        why=chosen.why,
        learned=len(learns),
        held_out=len(stops),
    )


def _weights(config: TrainingConfig, pipeline: Any, rows: pd.DataFrame) -> np.ndarray | None:
    """(n,) what ``fit`` takes beside rows and labels; a row that was collected in production weighs as the mean row
    does."""
    if config.data.weight is None:
        return None
    if not has_fit_parameter(pipeline.named_steps["estimator"], "sample_weight"):
        raise ConfigError(
            f"data.weight is {config.data.weight}, and {config.estimator.factory} makes an estimator whose fit takes "
            "no sample_weight. Leave data.weight out, or choose another estimator."
        )
    return np.asarray(rows[WEIGHT].fillna(1.0).to_numpy(float))


def refuse_untrainable(config: TrainingConfig, label: np.ndarray) -> None:
    """Every class has to occur, and a number has to vary: else nothing could be learned, or a class never be chosen.

    Raises:
        ConfigError: they do not.
    """
    absent = [name for code, name in enumerate(config.classes) if not (label == code).any()]
    if absent:
        raise ConfigError(
            f"the {len(label)} training rows of {config.name} hold no row of class {', '.join(absent)}; remove it "
            "from data.target.classes, or bring rows of it."
        )
    if len(np.unique(label)) < 2:
        alike = "one number only" if config.kind == "regression" else "one class only"
        raise ConfigError(
            f"the {len(label)} training rows of {config.name} hold {alike}; look at data.target.expression."
        )
