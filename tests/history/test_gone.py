"""``assay diff`` where the files of a version cannot be had any more."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.repository import dvc, workspace
from tasks.spec.ledger import EntryDraft, ForgottenDetails
from tasks.spec.settings import Settings
from tests.candidates import commit_run, passed
from tests.conftest import ROOT, git
from tests.told import MAIN

WRITE = (
    "import pathlib as p, sys, time; d = p.Path('data/income') / sys.argv[1]; d.mkdir(parents=True); (d / "
    "'file.txt').write_text(str(time.time_ns()))"
)
"""A stage that depends on the moment, which nobody can make anew."""


@pytest.fixture
def home(dvc_developer: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    stages = {
        name: {"matrix": {"model": ["income"]}, "cmd": f'python -c "{WRITE}" {out}', "outs": [f"data/income/{out}"]}
        for name, out in (("prepare", "prepared"), ("train", "model"), ("evaluate", "evaluation"))
    }
    (dvc_developer / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (dvc_developer / "deployments/models/income").mkdir(parents=True)
    (dvc_developer / "deployments/models/income/model.yaml").write_text("name: income\n")
    git(dvc_developer, "add", ".")
    git(dvc_developer, "commit", "--quiet", "-m", "stages")
    git(dvc_developer, "push", "--quiet", "origin", "main")
    with workspace.worktree(settings, "main") as tree:
        dvc.reproduce(tree, "prepare@income", "train@income", "evaluate@income")
        commit = commit_run(settings, tree, "candidate", "assay/candidates/income/one")
    Registry(settings).promote("income", commit, passed("income", commit), "test", "person", None)
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    shutil.rmtree(settings.cache)
    return settings


def diff() -> subprocess.CompletedProcess[str]:
    words = ("diff", "income", "v1.0.0", "v1.0.0")
    return subprocess.run([*MAIN, *words], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)


def test_a_cache_that_was_lost_is_named_and_forgotten_rows_come_first(home: Settings) -> None:
    done = diff()
    said = " ".join(done.stdout.split())
    assert (done.returncode, done.stderr) == (3, "")
    begin = "unknown what it did cannot be shown, since the files of both could not be had: "
    assert f"{begin}prepare@income, train@income, evaluate@income was not in the DVC cache, and made anew" in said
    assert "What changed nothing that makes or judges it" in said  # what git holds is told all the same

    draft = EntryDraft(
        kind="forgotten", model="income", actor="test", reason="person", sentence="1 logged prediction deleted",
        details=ForgottenDetails(by="id", predictions=1, learned=("v1.0.0",)),
    )  # fmt: skip
    entry = ledger.append(home, draft)
    said = " ".join(diff().stdout.split())
    assert (
        f"{begin}v1.0.0 learned from rows that were forgotten (entry {entry.sequence} of the ledger), and is not"
        in said
    )
