"""Six files of strangers, each from one command to a judged model: the real stages, the real gates, no editor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.data import check_data
from tasks.evaluation import CHAMPION, examination
from tasks.science.data.tables import score_array, with_scores
from tasks.science.gates.run import run_gate
from tasks.stages.common import ModelPaths
from tasks.stages.evaluate import evaluate
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train
from tasks.validation import missing_gates
from tasks.versions import Candidate
from tests.scaffold.files import FILES, bring

ALWAYS = "kredit"
"""The file that goes its way in every run of the tests; each takes ten seconds, and the others wait for acceptance."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == ALWAYS else pytest.mark.acceptance) for n in FILES])
def test_a_file_becomes_a_model_that_passes_what_its_materiality_asks(
    name: str, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a champion that knows nothing but the mean."""
    config = bring(checkout, name, tmp_path)
    types = {c.original: c.type for c in config.data.columns}
    assert {k: types[k] for k in FILES[name].columns} == FILES[name].columns
    assert config.kind == FILES[name].kind and missing_gates(config.materiality, config.gates) == []

    roles = (config.data.entity, config.data.period, config.data.weight)
    assert roles == {
        "kredit": (None, "antragsdatum", None), "readmission": ("patient_nbr", None, None),
        "grid": (None, "timestamp", None), "trust": (None, None, "pweight"), "churn": (None, "snapshot_at", None),
        "marks": (None, None, None),
    }[name]  # fmt: skip

    paths = ModelPaths(checkout, name)
    for stage in (ingest, prepare, train, evaluate):
        stage(paths, config)
    rows = pd.read_parquet(paths.evaluation / "holdout_scored.parquet")
    scores = score_array(config, rows)
    path = tmp_path / "evidence.parquet"
    with_scores(config, rows, np.broadcast_to(scores.mean(axis=0), scores.shape), CHAMPION).to_parquet(path)
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    checked, _ = check_data.fn(checkout, name)
    seen = examination(Candidate(name, "a" * 40, "branch", checkout, "sha256:0"), path, checked)
    found = [run_gate(gate, seen) for gate in config.gates if gate.mandatory]
    assert {r.gate: (r.state, r.reason) for r in found if r.state != "pass"} == {}
