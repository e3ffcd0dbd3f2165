"""A checkout of its own with a model that is searched, and a run of its search in a process that may be killed.

    python -m tests.searches CHECKOUT    search its model until the budget is used

It is the search of :mod:`tasks.searching` without Prefect around it; ASSAY_HOME says where studies are kept.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tasks.searching import attempt, opened_search, outcome
from tasks.spec.metrics import TargetKind
from tasks.spec.requests import SearchRequest
from tasks.stages.common import ModelPaths
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tests.conftest import ROOT, git
from tests.stages import worlds

C = {"place": "estimator.parameters.C", "draw": "number", "low": 0.01, "high": 10, "log": True}
SPACES: dict[TargetKind, list[dict[str, Any]]] = {
    "binary": [
        {"place": "estimator.kind", "draw": "choice", "of": ["logistic_regression", "hist_gradient_boosting"]},
        C | {"kinds": ["logistic_regression"]},
        {
            "place": "estimator.parameters.max_iter", "draw": "integer", "low": 5, "high": 20,
            "kinds": ["hist_gradient_boosting"],
        },
        {"place": "features", "draw": "subset", "of": ["job"]},
    ],
    "multiclass": [{"place": "estimator.parameters.max_iter", "draw": "integer", "low": 5, "high": 20}],
    "regression": [{"place": "estimator.parameters.alpha", "draw": "number", "low": 0.1, "high": 1000, "log": True}],
}  # fmt: skip


def part(kind: TargetKind = "binary", **changes: Any) -> dict[str, Any]:
    """A ``search`` part of ``model.yaml``."""
    return {"metric": worlds.METRICS[kind], "space": SPACES[kind], "folds": 3, "trials": 6} | changes


def checkout(root: Path, kind: TargetKind = "binary", rows: int = 900, **changes: Any) -> ModelPaths:
    """A repository with one model, its rows prepared, and the code of this checkout.

    Args:
        changes: keys of ``model.yaml``.
    """
    paths = worlds.write(root, worlds.document(kind) | {"search": part(kind)} | changes, worlds.table(rows))
    (root / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (root / "tasks").symlink_to(ROOT / "tasks")
    for arguments in (["init", "--quiet"], ["add", "deployments", "dvc.yaml"], ["commit", "--quiet", "-m", "first"]):
        git(root, *arguments)
    config = paths.training()
    ingest(paths, config)
    prepare(paths, config)
    return paths


def run(root: Path, **request: Any) -> str:
    """Search the model of a checkout, one trial after the other; gives what it came to."""
    asked = SearchRequest(model=worlds.NAME, **request)
    with opened_search(root, asked) as found:
        before = found.study.tried
        while not found.time_over and found.study.tried < found.most:
            attempt(found, found.study.ask())
        found.tried = found.study.tried - before
        return outcome(found)


if __name__ == "__main__":
    began = time.monotonic()
    print(run(Path(sys.argv[1])), f"in {time.monotonic() - began:.1f} s", flush=True)
