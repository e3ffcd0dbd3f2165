"""``python -m tasks.stages.apart MODEL_FOLDER SECONDS``: load one model file and answer questions about it.

Whoever asks holds keys and writes records, and a model file may bring down or take over the process that loads it. So
the file is loaded here, behind :mod:`tasks.records.repository.sandbox`, and nothing but numbers and text goes back.
:mod:`tasks.apart` is the other end.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from tasks.science.models.embeddings import representing
from tasks.science.models.explanations import Explainer
from tasks.serving.release import Release, load_release
from tasks.spec.model import ModelConfig
from tasks.stages.messages import Answer, Asked, serve, table_of


class Answering:
    """One loaded release, and the backgrounds that it explains against."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.explainers: list[Explainer] = []

    def score(self, rows: pd.DataFrame) -> Answer:
        return {}, [self.release.score(rows)]

    def background(self, rows: pd.DataFrame) -> Answer:
        self.explainers.append(Explainer(self.release.pipeline, rows))
        return {}, []

    def explain(self, rows: pd.DataFrame, number: int, seed: int) -> Answer:
        return {}, [self.explainers[number](rows, seed).to_numpy(float)]

    def represent(self, rows: pd.DataFrame, config: dict[str, Any]) -> Answer:
        source, table = representing(self.release.pipeline, ModelConfig.model_validate(config, strict=False))(rows)
        if not sparse.issparse(table):
            return {"source": source}, [np.asarray(table, dtype=float)]
        found = sparse.csr_matrix(table)
        parts = [found.data.astype(float), found.indices.astype(np.int64), found.indptr.astype(np.int64)]
        return {"source": source, "width": int(found.shape[1])}, parts

    def __call__(self, words: dict[str, Any], parts: list[bytes]) -> Answer:
        verb = words.pop("verb")
        return getattr(self, verb)(table_of(parts[0]), **words)  # type: ignore[no-any-return]


def main() -> int:
    def load() -> tuple[Answer, Asked]:
        model = Answering(load_release(Path(sys.argv[1])))
        return ({"model_digest": model.release.manifest.model_digest}, []), model

    return serve(load, int(sys.argv[2]))


if __name__ == "__main__":
    sys.exit(main())
