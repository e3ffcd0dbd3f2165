"""What is kept between two examinations of one candidate, and between the gates of one."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tasks.evaluation import evidence_path, examination, scored_here
from tasks.science.gates.run import run_gate
from tasks.spec.errors import ConfigError, UnreachableError
from tasks.spec.evidence import GateResult
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tasks.stages.common import ModelPaths
from tasks.stages.evaluate import evaluate
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train
from tasks.versions import Candidate
from tests.conftest import ROOT


def test_another_champion_is_another_evidence(tmp_path: Path) -> None:
    """What the gates read is kept by this path; one path for two champions would judge the second by the first one's
    scores."""
    candidate = Candidate("care", "a" * 40, "branch", tmp_path, "sha256:0")
    paths = {evidence_path(Settings(home=tmp_path), candidate, champion) for champion in (None, "v1.0.0", "v2.0.0")}
    assert len(paths) == 3


def test_gates_side_by_side_share_one_evidence_and_find_what_each_finds_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    subprocess.run(["git", "init", "-q", tmp_path / "home/clone"], check=True)  # its origin has no main yet
    shutil.copytree(ROOT / "deployments", tmp_path / "deployments")
    paths = ModelPaths(tmp_path, "care")
    config = load_model(paths.root, paths.name)
    try:
        ingest(paths, config)
    except (UnreachableError, ConfigError) as error:
        if isinstance(error, ConfigError) and "package index has no" not in str(error):
            raise
        pytest.skip(f"the source of care cannot be fetched here: {error}")
    for stage in (prepare, train, evaluate):
        stage(paths, config)
    candidate, rows = (
        Candidate("care", "a" * 40, "branch", tmp_path, "sha256:0"),
        paths.evaluation / "holdout_scored.parquet",
    )
    checks = [
        GateResult(gate="data", kind="data", mandatory=True, state=state, reason="told") for state in ("pass", "fail")
    ]
    shared = examination(candidate, rows, checks[0])
    with ThreadPoolExecutor(len(config.gates)) as pool:
        together = list(pool.map(lambda gate: run_gate(gate, examination(candidate, rows, checks[0])), config.gates))
    assert together == [run_gate(gate, replace(shared)) for gate in config.gates]  # a copy knows nothing yet
    other = examination(candidate, rows, checks[1])
    assert (shared.data_check, other.data_check) == tuple(checks) and other.rows is shared.rows
    assert [run_gate(gate, other).state for gate in config.gates if gate.kind == "data"] == ["fail"]
    honest = pd.read_parquet(rows)
    honest.assign(_score=honest["_label"].astype(float)).to_parquet(rows)  # an evaluation that says it is always right
    pd.testing.assert_frame_equal(scored_here(paths, config), honest)
