"""Metrics of all three kinds of model against scikit-learn, and where there is no number."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from tasks.science.stats.metrics import METRICS
from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tasks.spec.model import load_model
from tasks.stages.evaluate import _metrics
from tests.conftest import ROOT

RNG = np.random.default_rng(0)
LABEL, SCORE = RNG.random(500) < 0.4, RNG.random(500).round(2)
CLASS, SCORES = RNG.integers(3, size=400), RNG.dirichlet([1, 1, 1], 400)
NUMBER, GUESS = RNG.gamma(2, 1, 300), RNG.gamma(2, 1, 300)
CHOSEN = SCORES.argmax(axis=1)
EXPECTED: dict[TargetKind, dict[str, float]] = {
    "binary": {
        "roc_auc": sk.roc_auc_score(LABEL, SCORE),
        "average_precision": sk.average_precision_score(LABEL, SCORE),
        "log_loss": sk.log_loss(LABEL, SCORE),
        "brier": sk.brier_score_loss(LABEL, SCORE),
        "accuracy": sk.accuracy_score(LABEL, SCORE >= 0.3),
        "balanced_accuracy": sk.balanced_accuracy_score(LABEL, SCORE >= 0.3),
        "f1": sk.f1_score(LABEL, SCORE >= 0.3),
        "precision": sk.precision_score(LABEL, SCORE >= 0.3),
        "recall": sk.recall_score(LABEL, SCORE >= 0.3),
    },
    "multiclass": {
        "roc_auc": sk.roc_auc_score(CLASS, SCORES, multi_class="ovr"),
        "log_loss": sk.log_loss(CLASS, SCORES),
        "brier": sk.brier_score_loss(CLASS, SCORES),
        "accuracy": sk.accuracy_score(CLASS, CHOSEN),
        "balanced_accuracy": sk.balanced_accuracy_score(CLASS, CHOSEN),
        "f1": sk.f1_score(CLASS, CHOSEN, average="macro"),
    },
    "regression": {
        "mae": sk.mean_absolute_error(NUMBER, GUESS),
        "rmse": sk.root_mean_squared_error(NUMBER, GUESS),
        "r2": sk.r2_score(NUMBER, GUESS),
    },
}
ARRAYS: dict[TargetKind, tuple[np.ndarray, np.ndarray]] = {
    "binary": (LABEL, SCORE),
    "multiclass": (CLASS, SCORES),
    "regression": (NUMBER, GUESS),
}


@pytest.mark.parametrize("kind", list(ARRAYS))
def test_metrics_agree_with_scikit_learn_to_the_last_digit(kind: TargetKind) -> None:
    assert {name: METRICS[name].compute(*ARRAYS[kind], 0.3) for name in METRIC_NAMES[kind]} == EXPECTED[kind]


def test_every_metric_that_a_config_may_name_is_there_and_knows_its_direction() -> None:
    assert set(METRICS) == {name for names in METRIC_NAMES.values() for name in names}
    assert {name for name, m in METRICS.items() if not m.greater_is_better} == {"log_loss", "brier", "mae", "rmse"}


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "balanced_accuracy", "f1", "precision", "recall"])
@pytest.mark.parametrize("label", [np.ones(5, bool), np.zeros(5, bool)])
def test_a_metric_of_two_classes_is_no_number_on_one(name: str, label: np.ndarray) -> None:
    assert np.isnan(METRICS[name].compute(label, np.full(5, 0.3), 0.5))


@pytest.mark.parametrize("name", ["roc_auc", "balanced_accuracy", "f1"])
def test_a_mean_over_classes_is_no_number_where_one_is_missing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(METRICS[name].compute(np.minimum(CLASS, 1), SCORES, 0.5))


@pytest.mark.parametrize(
    ("name", "label", "score"),
    [
        ("precision", LABEL, np.full(500, 0.1)),
        ("r2", np.ones(9), np.arange(9.0)),
        ("brier", LABEL, np.where(LABEL, np.nan, SCORE)),
        ("mae", NUMBER, np.full(300, np.inf)),
    ],
)
def test_nothing_selected_nothing_that_varies_and_scores_that_are_no_numbers_give_no_number(
    name: str, label: np.ndarray, score: np.ndarray
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(METRICS[name].compute(label, score, 0.5))


@pytest.mark.parametrize(("name", "kind"), [("mae", "binary"), ("precision", "multiclass"), ("roc_auc", "regression")])
def test_a_metric_of_another_kind_of_model_is_refused(name: str, kind: TargetKind) -> None:
    with pytest.raises(ValueError, match=f"{name} is asked of a {kind} model .*; allowed: {METRIC_NAMES[kind][0]}"):
        METRICS[name].compute(*ARRAYS[kind], 0.5)


def test_a_holdout_of_one_class_is_written_as_null() -> None:
    config = load_model(ROOT, "care")
    found = _metrics(pd.DataFrame({"_label": [True] * 5, "_score": [0.3] * 5}), config)
    text = json.dumps(found, allow_nan=False)
    assert '"roc_auc": null' in text and found["accuracy"] == 0.0
