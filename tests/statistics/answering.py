"""How far array code and scikit-learn's pipeline agree, bit for bit, over many rows that are each asked alone."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tasks.answering.asking import as_scores, one_by_one, whole
from tasks.answering.compiling import Answering
from tasks.answering.proving import differing, frame, opened, prove
from tasks.answering.rows import drawn
from tasks.spec.metrics import TargetKind
from tests.answering.kinds import ESTIMATORS, MIXES, Model, made
from tests.statistics.studies import Study

ROWS, FEWER, WHOLE = 100_000, 20_000, 500
"""Rows of models over all types of columns, and over numbers or names alone."""
KINDS: tuple[TargetKind, ...] = ("binary", "multiclass", "regression")
FEWER_TREES: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 6},
    "hist_gradient_boosting": {"max_iter": 12},
}
"""A forest takes scikit-learn milliseconds a row; what a tree does, it does in a small forest, too."""


def compared(estimator: str, kind: TargetKind, mix: str, rows: int, whole_rows: int) -> dict[str, Any]:
    """One model over rows drawn from what it distinguishes: each asked alone, in array code and of scikit-learn."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = made(Path(folder), estimator, kind, mix, **FEWER_TREES.get(estimator, {}))
        proof = prove(model.content, model.manifest, model.pipeline)
        found = opened(model.content, model.manifest.model_copy(update={"answering": proof}))
        assert found.answering is not None, found.why
        columns = drawn(found.answering, rows, seed=2)
        table = frame(found.answering, columns)
        ours = found.answering.of_table(columns)
        alone = np.concatenate([found.answering.of_table(table.iloc[at : at + 1]) for at in range(whole_rows)])
        return {
            "estimator": estimator,
            "target": kind,
            "columns": mix,
            "rows": rows,
            "differing": differing(ours, one_by_one(kind, model.pipeline, table, len(model.manifest.classes))),
            "of the whole pipeline": whole_rows,
            "differing there": differing(ours[:whole_rows], _whole(model, table.head(whole_rows))),
            "own batch from own single": differing(ours[:whole_rows], alone),
            "edges": proof.edges,
            "scikit-learn's batch differs": _batch(model, found.answering, table, ours),
        }


def _whole(model: Model, table: Any) -> np.ndarray:
    classes = len(model.manifest.classes)
    rows = [table.iloc[at : at + 1] for at in range(len(table))]
    return np.concatenate([whole(model.manifest.kind, model.pipeline, row, classes) for row in rows])


def _batch(model: Model, answering: Answering, table: Any, ours: np.ndarray) -> float:
    """The share of rows whose bits are others where scikit-learn is asked for all rows at once."""
    kind, pipeline = model.manifest.kind, model.pipeline
    found = pipeline.predict(table) if kind == "regression" else pipeline.predict_proba(table)
    batch = as_scores(kind, np.asarray(found, dtype=float), pipeline, len(model.manifest.classes))
    return differing(batch, ours) / len(ours)


def everything() -> list[dict[str, Any]]:
    return [
        compared(estimator, kind, mix, ROWS if mix == "all" else FEWER, WHOLE)
        for estimator in ESTIMATORS
        for kind in KINDS
        for mix in MIXES
    ]


STUDIES = (
    Study(
        "Bits of array code and of scikit-learn",
        "Rows are drawn from a model's own thresholds, their neighbours, its names, unseen names, gaps and extremes. "
        "`rows` are each asked alone of the estimator on prepared rows, and some of the whole pipeline. `edges` are "
        "rows at both sides of every threshold. The last column is the share of rows for which scikit-learn's own "
        "answer in one batch has other bits than its answer for the row alone; extreme rows saturate, so on usual "
        "rows it is larger.",
        everything,
    ),
)
