"""``python -m tasks.stages.trial CHECKOUT MODEL SECONDS``: fit configurations on some training rows, score others.

It is asked by :mod:`tasks.trials`, and fits by the very code of the stage ``train``. Like that stage it runs what a
candidate brings, so it runs apart, and it is let to no rows but the training rows.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from tasks.answering.asking import as_scores
from tasks.science.data.tables import LABEL
from tasks.science.models.estimators import build
from tasks.spec.base import validate
from tasks.spec.training import TrainingConfig
from tasks.stages.common import ModelPaths
from tasks.stages.messages import Answer, Asked, serve
from tasks.stages.train import fitted


class Trying:
    """The training rows of one model, and what can be asked about configurations on them."""

    def __init__(self, paths: ModelPaths) -> None:
        self.paths = paths
        self.rows = paths.table(paths.prepared / "train.parquet", "prepare", (LABEL,))

    def __call__(self, words: dict[str, Any], parts: list[bytes]) -> Answer:
        config = validate(words["config"], TrainingConfig, "the drawn configuration")
        return self.build(config) if words["verb"] == "build" else self.fit(config, *parts)

    def build(self, config: TrainingConfig) -> Answer:
        """Whether the estimator takes the names of its parameters; nothing is fitted."""
        build(config, self.paths.root)
        return {}, []

    def fit(self, config: TrainingConfig, learned: bytes, predicted: bytes) -> Answer:
        """Scores of the ``predicted`` rows by a model of the ``learned`` ones, both as row numbers (int64).

        They are those of the pipeline asked about all rows at once, which is faster by far. From what the service
        answers row by row they differ in the last bits alone.
        """
        pipeline, _, _ = fitted(self.paths, config, self.rows.loc[_numbers(learned)].reset_index(drop=True))
        asked = self.rows.loc[_numbers(predicted), list(config.features)]
        found = pipeline.predict(asked) if config.kind == "regression" else pipeline.predict_proba(asked)
        scores = as_scores(config.kind, np.asarray(found, dtype=float), pipeline, len(config.classes))
        return {}, [scores]


def _numbers(content: bytes) -> np.ndarray:
    return np.frombuffer(content, "<i8")


def _end_with_parent() -> None:
    """End as soon as nobody is there to hear the answer: a fit may take minutes more."""

    def watch() -> None:
        hung_up = select.poll()
        hung_up.register(0, 0)  # POLLHUP is always told
        hung_up.poll()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> int:
    def load() -> tuple[Answer, Asked]:
        trying = Trying(ModelPaths(Path(sys.argv[1]), sys.argv[2]))
        return ({"rows": len(trying.rows)}, []), trying

    _end_with_parent()
    return serve(load, int(sys.argv[3]))


if __name__ == "__main__":
    sys.exit(main())
