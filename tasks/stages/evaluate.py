"""DVC stage: measure the model, loaded from its file as the service loads it, on the holdout."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from tasks.science.explanations import attributions, importance
from tasks.science.metrics import METRICS
from tasks.science.tables import BENCHMARK, LABEL, SCORE
from tasks.serving.release import load_release
from tasks.spec.model import ModelConfig
from tasks.stages.common import Place, run

EXPLAINED_ROWS = 1000
CURVE_POINTS = 200
CALIBRATION_BINS = 10


def evaluate(place: Place, config: ModelConfig) -> None:
    """Write ``evaluation/``, ``metrics.json`` and ``plots/``."""
    release = load_release(place.model)
    holdout = pd.read_parquet(place.prepared / "holdout.parquet")
    holdout[SCORE] = release.score(holdout)
    metrics = {name: _metrics(part, config) for name, part in holdout.groupby(BENCHMARK)}
    sample = holdout.sample(min(EXPLAINED_ROWS, len(holdout)), random_state=config.seed)
    train = pd.read_parquet(place.prepared / "train.parquet")
    background = train.sample(min(EXPLAINED_ROWS, len(train)), random_state=config.seed)
    explained = attributions(release.pipeline, sample[list(config.features)], background[list(config.features)], config.seed)
    curves = {"roc": _roc(holdout), "calibration": _calibration(holdout)}

    for folder in (place.evaluation, place.plots):
        folder.mkdir(parents=True, exist_ok=True)
    holdout.to_parquet(place.evaluation / "holdout_scored.parquet", index=False)
    explained.to_parquet(place.evaluation / "attributions.parquet")
    document = {"metrics": metrics, "curves": curves, "importance": importance(explained)}
    (place.evaluation / "evaluation.json").write_text(json.dumps(document, indent=1, allow_nan=False))
    place.metrics.write_text(json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False) + "\n")
    pd.DataFrame(curves["roc"], columns=["false_positive_rate", "true_positive_rate"]).to_csv(place.plots / "roc.csv", index=False)
    pd.DataFrame(curves["calibration"], columns=["mean_score", "observed_rate", "rows"]).to_csv(place.plots / "calibration.csv", index=False)


def _metrics(part: pd.DataFrame, config: ModelConfig) -> dict[str, float | None]:
    """Row count and metrics; None, null in JSON, for a metric that the rows do not give, as AUC of one class."""
    label, score = part[LABEL].to_numpy(bool), part[SCORE].to_numpy()
    values = {name: float(m.compute(label, score, config.threshold)) for name, m in METRICS.items()}
    return {"rows": len(part), **{name: round(value, 12) if np.isfinite(value) else None for name, value in values.items()}}


def _roc(rows: pd.DataFrame) -> list[list[float]]:
    if rows[LABEL].nunique() < 2:
        return []  # one class has no curve
    false, true, _ = roc_curve(rows[LABEL], rows[SCORE])
    picked = np.unique(np.linspace(0, len(false) - 1, CURVE_POINTS).round().astype(int))
    return [[round(float(false[i]), 6), round(float(true[i]), 6)] for i in picked]


def _calibration(rows: pd.DataFrame) -> list[list[float]]:
    bins = pd.qcut(rows[SCORE], CALIBRATION_BINS, duplicates="drop")
    table = rows.groupby(bins, observed=True).agg(mean=(SCORE, "mean"), rate=(LABEL, "mean"), rows=(LABEL, "size"))
    return [[round(float(r.mean_), 6), round(float(r.rate), 6), int(r.rows)] for r in table.rename(columns={"mean": "mean_"}).itertuples()]


if __name__ == "__main__":
    run(evaluate)
