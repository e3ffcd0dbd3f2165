"""A smaller version of docs/evidence/poisoning.md, on the small world that nothing was tuned on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.science.gates.sources import parties
from tasks.spec.training import load_training
from tasks.spec.watching import Labels
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tests.stages.worlds import NAME, document, table, write
from tests.statistics.poisoning import HONEST, POISON, World, honest, judged, world


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> World:
    root: Path = tmp_path_factory.mktemp("small")
    paths = write(root, document("binary"), table(6000, seed=3))
    config = load_training(root, NAME)
    ingest(paths, config)
    prepare(paths, config)
    train, pool = (pd.read_parquet(paths.prepared / f"{side}.parquet") for side in ("train", "holdout"))
    return world(config, train, pool, 2400, np.random.default_rng(3))


@pytest.mark.parametrize("name", sorted(POISON))
def test_no_poisoning_is_promoted_unattended(small: World, name: str) -> None:
    gate, _ = judged(small, POISON[name](small, np.random.default_rng(4)), 4)
    assert gate.state != "pass" and gate.remedy == "a person looks at these labels, and signs with assay approve"


@pytest.mark.parametrize("name", ["other labels", "sources of other mixes"])
def test_an_honest_drift_is(small: World, name: str) -> None:
    gate, _ = judged(small, HONEST[name](small, np.random.default_rng(4)), 4)
    assert gate.state == "pass", gate.reason


def test_one_source_alone_needs_a_person(small: World) -> None:
    rows = len(small.served)
    gate, _ = judged(small, honest(small.served, np.repeat("k2", rows)), 4)
    assert gate.state == "insufficient_evidence"
    assert gate.reason == (
        f"all {rows:,} rows from production were labelled by one source, survey, so that nobody could contradict it"
    )


def test_large_sources_are_asked_about_one_by_one_and_small_ones_together() -> None:
    source = np.repeat(["a", "b", "c", "d"], [60, 30, 6, 4])
    assert [(p.name, p.large) for p in parties(source, Labels())] == [("a", True), ("b", True), ("c and d", True)]
    assert [(p.name, p.large) for p in parties(source[:95], Labels())][-1] == ("c", False)
