"""DVC stage: fit the configured estimator on the training rows and write the model file and its manifest."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import pandas as pd

from tasks.science.estimators import build
from tasks.science.tables import LABEL, as_requests
from tasks.serving.release import save_model
from tasks.spec.base import digest_file
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Manifest
from tasks.spec.model import ModelConfig
from tasks.stages.common import Place, run

REQUESTS = 200
"""Training rows that are kept as a client would send them, with the scores of the pipeline in memory: the service must give the same."""
LIBRARIES = ("scikit-learn", "numpy", "pandas", "scipy", "skops")


def train(place: Place, config: ModelConfig) -> None:
    """Write ``model/{model.skops,manifest.json,requests.json}``."""
    rows = pd.read_parquet(place.prepared / "train.parquet")
    if rows[LABEL].nunique() < 2:
        raise ConfigError(f"the {len(rows)} training rows of {config.name} hold one class only; look at data.target.expression.")
    pipeline = build(config).fit(rows[list(config.features)], rows[LABEL].to_numpy())
    place.model.mkdir(parents=True, exist_ok=True)
    save_model(pipeline, place.model / "model.skops")
    manifest = Manifest(
        model=config.name,
        title=config.title,
        model_digest=digest_file(place.model / "model.skops"),
        features=config.features,
        inputs=tuple(c.model_dump(mode="json") for c in config.inputs),
        decision_threshold=config.decision_threshold,
        positive=config.data.target.positive,
        negative=config.data.target.negative,
        seed=config.seed,
        trained_rows=len(rows),
        libraries={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    )
    (place.model / "manifest.json").write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
    asked = rows.sample(min(REQUESTS, len(rows)), random_state=config.seed)
    scores = pipeline.predict_proba(asked[list(config.features)])[:, 1]
    document = {"rows": as_requests(config, asked), "scores": [float(s) for s in scores]}
    (place.model / "requests.json").write_text(json.dumps(document, allow_nan=False) + "\n")


if __name__ == "__main__":
    run(train)
