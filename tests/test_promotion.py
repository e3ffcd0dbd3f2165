"""When a candidate is the champion over again: nothing that makes or judges a model differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.promotion import same_as_champion
from tasks.records.registry.registry import Registry
from tasks.records.repository import workspace
from tasks.spec.settings import Settings
from tasks.versions import Candidate
from tests.candidates import passed
from tests.conftest import ROOT, git


@pytest.fixture
def champion(developer: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The developer's clone, whose first commit is champion of care."""
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    (developer / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    change(developer, "deployments/models/care/model.yaml")
    commit = git(developer, "rev-parse", "HEAD")
    Registry(settings).promote("care", commit, passed("care", commit), "test", "person", None)
    return developer


def change(clone: Path, path: str) -> None:
    (clone / path).parent.mkdir(parents=True, exist_ok=True)
    (clone / path).write_text("# changed\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "change")
    git(clone, "push", "--quiet", "origin", "main")


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("README.md", "v1.0.0"),
        ("tasks/cli/app.py", "v1.0.0"),
        ("tasks/science/monitors/feed/findings.py", "v1.0.0"),
        ("deployments/models/income/model.yaml", "v1.0.0"),
        ("data/care/metrics.json", "v1.0.0"),
        ("requirements.lock", None),
        ("tasks/science/data/tables.py", None),
        ("tasks/science/gates/metrics.py", None),
        ("deployments/models/care/rules.yaml", None),
        ("deployments/models/care/waivers.yaml", None),
        ("deployments/models/care/code/wälder.py", None),
        ("data/care/collected/rows.parquet.dvc", None),
        ("data/care/source/rows.csv", None),
        ("data/care/source/rows.csv.dvc", None),
        ("data/income/source/rows.csv", "v1.0.0"),
    ],
)
def test_only_what_makes_or_judges_a_model_calls_for_an_examination(
    champion: Path, settings: Settings, path: str, same: str | None
) -> None:
    change(champion, path)
    with workspace.worktree(settings, "main") as tree:
        commit = git(tree, "rev-parse", "HEAD")
        assert same_as_champion(Candidate("care", commit, "branch", tree, "sha256:0")) == same
