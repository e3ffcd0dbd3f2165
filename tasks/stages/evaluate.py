"""DVC stage: measure the model, loaded from its file as the service loads it, on the holdout."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from tasks.answering.outline import layers
from tasks.science.data.tables import BENCHMARK, LABEL, label_array, score_array, with_scores
from tasks.science.models.explanations import attributions, importance
from tasks.science.stats.metrics import METRICS
from tasks.serving.release import Release, load_release
from tasks.spec.errors import CorruptionError
from tasks.spec.metrics import METRIC_NAMES
from tasks.spec.training import TrainingConfig
from tasks.stages.common import ModelPaths, run

EXPLAINED_ROWS = 1000
CURVE_POINTS = 200
CALIBRATION_BINS = 10


def evaluate(paths: ModelPaths, config: TrainingConfig) -> None:
    """Write ``evaluation/``, ``metrics.json`` and ``plots/``; of a sealed holdout they hold its row counts alone."""
    release = _release(paths)
    features = release.manifest.features
    holdout = paths.table(paths.prepared / "holdout.parquet", "prepare", (*features, LABEL, BENCHMARK))
    holdout = with_scores(config, holdout, release.score(holdout))
    sealed = config.data.holdout == "sealed"
    metrics = {
        name: {"rows": len(part)} if sealed else _metrics(part, config) for name, part in holdout.groupby(BENCHMARK)
    }
    sample = holdout.sample(min(EXPLAINED_ROWS, len(holdout)), random_state=config.seed)
    train = paths.table(paths.prepared / "train.parquet", "prepare", features)
    background = train.sample(min(EXPLAINED_ROWS, len(train)), random_state=config.seed)
    explained = attributions(
        release.pipeline, sample[list(config.features)], background[list(config.features)], config.seed
    )
    curves: dict[str, list[list[float]]] = {"roc": [], "calibration": []}
    if not sealed:
        curves = {"roc": _roc(holdout, config), "calibration": _calibration(holdout, config)}

    for folder in (paths.evaluation, paths.plots):
        folder.mkdir(parents=True, exist_ok=True)
    holdout.to_parquet(paths.evaluation / "holdout_scored.parquet", index=False)
    explained.to_parquet(paths.evaluation / "attributions.parquet")
    document = {"metrics": metrics, "curves": curves, "importance": importance(explained), "network": _network(paths)}
    (paths.evaluation / "evaluation.json").write_text(json.dumps(document, indent=1, allow_nan=False))
    paths.metrics.write_text(json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False) + "\n")
    pd.DataFrame(curves["roc"], columns=["false_positive_rate", "true_positive_rate"]).to_csv(
        paths.plots / "roc.csv", index=False
    )
    pd.DataFrame(curves["calibration"], columns=["mean_score", "observed", "rows"]).to_csv(
        paths.plots / "calibration.csv", index=False
    )


def _release(paths: ModelPaths) -> Release:
    for name in ("manifest.json", "model.skops"):
        with paths.reading(paths.model / name, "train"):
            pass
    try:
        return load_release(paths.model)
    except CorruptionError as error:
        raise CorruptionError(f"{error} In a checkout: dvc repro --force train@{paths.name}.") from None


def _network(paths: ModelPaths) -> dict[str, Any] | None:
    """Layers and losses by epoch, as pages draw them; None of what is no network."""
    found, epochs = layers(paths.model / "model.skops"), paths.epochs()
    if not found:
        return None
    return {
        "layers": [asdict(layer) for layer in found],
        "epochs": None if epochs is None else epochs.model_dump(mode="json"),
    }


def _metrics(part: pd.DataFrame, config: TrainingConfig) -> dict[str, float | None]:
    """Row count and metrics; None, null in JSON, for a metric that the rows do not give, as AUC of one class."""
    label, score = label_array(config, part[LABEL]), score_array(config, part)
    values = {name: METRICS[name].compute(label, score, config.threshold) for name in METRIC_NAMES[config.kind]}
    return {
        "rows": len(part),
        **{name: round(value, 12) if np.isfinite(value) else None for name, value in values.items()},
    }


def _questions(rows: pd.DataFrame, config: TrainingConfig) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores (m,) of a curve; of several classes, each against the rest, pooled (micro-average)."""
    label, score = label_array(config, rows[LABEL]), score_array(config, rows)
    if config.kind != "multiclass":
        return label, score
    return (label[:, None] == np.arange(len(config.classes))).ravel(), score.ravel()


def _roc(rows: pd.DataFrame, config: TrainingConfig) -> list[list[float]]:
    """Of a number: how its score tells the upper half of the labels from the lower."""
    label, score = _questions(rows, config)
    if config.kind == "regression":
        label = label > np.median(label)
    if len(np.unique(label)) < 2:
        return []  # one class has no curve
    false, true, _ = roc_curve(label, score)
    picked = np.unique(np.linspace(0, len(false) - 1, CURVE_POINTS).round().astype(int))
    return [[round(float(false[i]), 6), round(float(true[i]), 6)] for i in picked]


def _calibration(rows: pd.DataFrame, config: TrainingConfig) -> list[list[float]]:
    """Mean score and observed rate, or mean, by bin of the score."""
    label, score = _questions(rows, config)
    table = pd.DataFrame({"label": label, "score": score})
    bins = pd.qcut(table["score"], CALIBRATION_BINS, duplicates="drop")
    table = table.groupby(bins, observed=True).agg(
        mean=("score", "mean"), rate=("label", "mean"), rows=("label", "size")
    )
    columns = (table[name].tolist() for name in ("mean", "rate", "rows"))
    return [[round(mean, 6), round(rate, 6), rows] for mean, rate, rows in zip(*columns, strict=True)]


if __name__ == "__main__":
    run(evaluate)
