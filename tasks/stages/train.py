"""DVC stage: fit the configured estimator on the training rows and write the model file and its manifest."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.answering.asking import one_by_one
from tasks.answering.proving import Recorded, prove
from tasks.science.data.tables import ENTITY, LABEL, ROW, WEIGHT, as_requests, label_array
from tasks.science.models.estimators import build
from tasks.serving.release import load_pipeline, save_model
from tasks.spec.base import digest_file
from tasks.spec.data_record import DataRecord
from tasks.spec.errors import ConfigError
from tasks.spec.estimator import Epochs
from tasks.spec.training import TrainingConfig
from tasks.stages.common import ModelPaths, run
from tasks.stages.described import described
from tasks.stages.fitting import fit, refuse_untrainable
from tasks.stages.servable import refuse_unservable, trusted_types, try_out
from tasks.tables.replayed import kept_rows, source_requests

REQUESTS = 200
"""Source rows kept as a client would send them, with the scores of the same training rows by the pipeline of the file,
asked about one row at a time. The service must give the same bits.
"""


def train(paths: ModelPaths, config: TrainingConfig) -> None:
    """Write ``model/{model.skops,manifest.json,requests.json}``, of a network ``model/loss.json``; and
    ``plots/loss.csv``, which holds no epoch where there are none."""
    needed = [*config.features, LABEL, ROW, *([WEIGHT] if config.data.weight else [])]
    if config.estimator.kind == "mlp":
        needed += [*([ENTITY] if config.data.entity else []), *([config.data.period] if config.data.period else [])]
    rows = paths.table(paths.prepared / "train.parquet", "prepare", needed)
    with paths.reading(paths.record, "prepare"):
        record = DataRecord.model_validate_json(paths.record.read_text())
    with paths.reading(paths.source_rows, "ingest"):
        kept = kept_rows(paths.source_rows)
    pipeline, trusted, epochs = fitted(paths, config, rows)
    paths.model.mkdir(parents=True, exist_ok=True)
    save_model(pipeline, paths.model / "model.skops")
    manifest = described(config, rows, record, trusted, digest_file(paths.model / "model.skops"))
    asked, requests = _requests(paths, config, rows, kept)
    content, features = (paths.model / "model.skops").read_bytes(), asked[list(config.features)]
    loaded = load_pipeline(content, manifest)  # the service has the file, so the file is the reference
    scores = one_by_one(config.kind, loaded, features, len(config.classes))
    proof = prove(content, manifest, loaded, Recorded(features, scores, as_requests(config, asked)))
    manifest = manifest.model_copy(update={"answering": proof})
    (paths.model / "manifest.json").write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
    document = {"rows": requests, "scores": scores.tolist()}
    (paths.model / "requests.json").write_text(json.dumps(document, allow_nan=False) + "\n")
    _write_losses(paths, epochs)


def _write_losses(paths: ModelPaths, epochs: Epochs | None) -> None:
    (paths.model / "loss.json").unlink(missing_ok=True)
    if epochs is not None:
        (paths.model / "loss.json").write_text(epochs.model_dump_json(indent=1) + "\n")
    sides = ("training", "validation")
    table = pd.DataFrame({side: getattr(epochs, side, ()) for side in sides}, dtype=float)
    table.insert(0, "epoch", range(1, len(table) + 1))
    paths.plots.mkdir(parents=True, exist_ok=True)
    table.to_csv(paths.plots / "loss.csv", index=False)


def fitted(paths: ModelPaths, config: TrainingConfig, rows: pd.DataFrame) -> tuple[Any, tuple[str, ...], Epochs | None]:
    """A pipeline that is fitted on training rows and can be served.

    Args:
        rows: (n, columns) with the features and ``_label``; where the config names them, with ``_weight``, and of a
            network with ``_entity`` and the period.

    Returns:
        The pipeline, the types that its own folder trusts, and of a network what became of its loss.

    Raises:
        ConfigError: nothing can be learned from the rows, the estimator does not take them or its parameters, or
            nobody could load what comes of it.
    """
    label = label_array(config, rows[LABEL])
    refuse_untrainable(config, label)
    known = _modules_below(paths.root)
    pipeline, features, trusted = build(config, paths.root), rows[list(config.features)], trusted_types(paths)
    _refuse_foreign_modules(paths, config, _modules_below(paths.root) - known)
    if config.estimator.kind != "mlp":  # whose types are known, and which has other rows to stop it
        try_out(paths, pipeline, features, label, trusted)
    epochs = fit(config, pipeline, rows)
    _refuse_foreign_modules(paths, config, _modules_below(paths.root) - known)  # what is imported only now
    refuse_unservable(paths, pipeline, trusted)
    return pipeline, trusted, epochs


def _requests(
    paths: ModelPaths, config: TrainingConfig, rows: pd.DataFrame, with_source: np.ndarray
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Training rows, and the same rows as a client would send them who has the source's file.

    Rows that were collected in production, or are not among the kept source rows, come from the table instead where
    the others are too few.
    """
    kept = rows[ROW].isin(with_source)
    asked = rows[kept].sample(min(REQUESTS, int(kept.sum())), random_state=config.seed)
    requests = source_requests(paths.source_rows, config.inputs, asked[ROW].tolist())
    more = rows[~kept].sample(min(REQUESTS - len(asked), int((~kept).sum())), random_state=config.seed)
    return pd.concat([asked, more]), requests + as_requests(config, more)


def _modules_below(root: Path) -> set[Path]:
    """Files of the checkout that this process has imported; packages of an environment inside it are not among them."""
    files = {_resolved(str(m.__file__)) for m in list(sys.modules.values()) if getattr(m, "__file__", None)}
    return {f for f in files if f.is_relative_to(root.resolve()) and not f.is_relative_to(sys.prefix)}


@cache
def _resolved(file: str) -> Path:
    """Where a module's file really is: a training asks it three times of some two thousand."""
    return Path(file).resolve()


def _refuse_foreign_modules(paths: ModelPaths, config: TrainingConfig, imported: set[Path]) -> None:
    """A custom factory may bring modules of its model's own folder: of others no change would be noticed."""
    own = f"deployments/models/{config.name}/code"
    foreign = sorted(f for f in imported if not f.is_relative_to((paths.root / own).resolve()))
    if foreign:
        named = ", ".join(f.relative_to(paths.root.resolve()).as_posix() for f in foreign)
        raise ConfigError(
            f"estimator.factory {config.estimator.factory!r} imports {named}, and a change of it would not retrain "
            f"{config.name}. Move it to {own}/, or install it as a package that requirements.lock names."
        )


if __name__ == "__main__":
    run(train)
