"""Metrics against scikit-learn, and where there is no number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from tasks.science.metrics import METRICS
from tasks.spec.model import load_model
from tasks.stages.evaluate import _metrics


def test_metrics_agree_with_scikit_learn_and_know_their_direction() -> None:
    rng = np.random.default_rng(0)
    label, score = rng.random(500) < 0.4, rng.random(500).round(2)
    decision = score >= 0.3
    expected = {
        "roc_auc": sk.roc_auc_score(label, score),
        "average_precision": sk.average_precision_score(label, score),
        "log_loss": sk.log_loss(label, score),
        "brier": sk.brier_score_loss(label, score),
        "accuracy": sk.accuracy_score(label, decision),
        "balanced_accuracy": sk.balanced_accuracy_score(label, decision),
    }
    assert {name: m.compute(label, score, 0.3) for name, m in METRICS.items()} == expected
    assert {name for name, m in METRICS.items() if not m.greater_is_better} == {"log_loss", "brier"}


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "balanced_accuracy"])
@pytest.mark.parametrize("label", [np.ones(5, bool), np.zeros(5, bool)])
def test_a_metric_of_two_classes_is_no_number_on_one(name: str, label: np.ndarray) -> None:
    assert np.isnan(METRICS[name].compute(label, np.full(5, 0.3), 0.5))


def test_a_holdout_of_one_class_is_written_as_null() -> None:
    config = load_model(Path(__file__).resolve().parents[2], "care")
    found = _metrics(pd.DataFrame({"_label": [True] * 5, "_score": [0.3] * 5}), config)
    text = json.dumps(found, allow_nan=False)
    assert '"roc_auc": null' in text and found["accuracy"] == 0.0
