"""A small model with a past: trained by the real stages, judged by real gates, promoted, refused, rolled back, stopped.

Every candidate changes something known, so that what the record tells of it can be compared with what was done.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tasks.evaluation import examination, score_champion_and_challenger
from tasks.promotion import assign_version, record_examined, register, reject, stop_serving
from tasks.records.repository import dvc, lockfile, workspace
from tasks.reporting import evidence_of
from tasks.science.gates.run import run_gate
from tasks.spec.evidence import GateResult
from tasks.spec.ledger import EntryDraft
from tasks.spec.model import load_model
from tasks.spec.requests import RollbackRequest, StopRequest, TrainingRequest
from tasks.spec.settings import Settings
from tasks.stages.common import ModelPaths
from tasks.training import commit_candidate
from tasks.validation import verdict_of
from tasks.versions import Candidate
from tests import asking
from tests.conftest import ROOT, git
from tests.serving.running import start
from tests.stages.worlds import NAME, document, rules, table

MAIN = [sys.executable, "-c", "from tasks.cli.app import main; main()"]
DATA = GateResult(gate="data", kind="data", mandatory=True, state="pass", reason="told")


MINE = re.compile(r"tasks/.*|\.dvc.*|dvc\.yaml|requirements\.lock|(data/)?\.gitignore")
"""What of this checkout a repository of one model needs."""


@dataclass
class Past:
    """An origin, a home, and the candidates that were made there by name."""

    folder: Path
    settings: Settings
    candidates: dict[str, Candidate] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    """What the service answered last."""

    @property
    def developer(self) -> Path:
        return self.folder / "developer"

    def write(self, path: str, edit: Callable[[str], str]) -> None:
        """Edit a file of the developer's checkout; one that is not there begins empty."""
        file = self.developer / path
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.read_text() if file.exists() else ""
        after = edit(before)
        assert after != before, f"{path} stays as it is"
        file.write_text(after)

    def push(self, message: str) -> str:
        git(self.developer, "add", ".")
        git(self.developer, "commit", "--quiet", "--allow-empty", "-m", message)
        git(self.developer, "push", "--quiet", "origin", "HEAD:main")
        return git(self.developer, "rev-parse", "HEAD")

    def train(self, name: str, actor: str = "anna@example.org", end: str = "promote", passes: bool = True) -> str:
        """Train what was pushed last, judge it by its floor and comparison, and end it as asked; gives the commit."""
        request = TrainingRequest(model=NAME, reason="push", actor=actor)
        with workspace.worktree(self.settings, self.settings.branch) as tree:
            lockfile.claim_nothing(tree, NAME)
            dvc.reproduce(tree, f"evaluate@{NAME}")
            made = commit_candidate.fn(tree, request)
            evidence, champion = score_champion_and_challenger.fn(made)
            found = examination(made, evidence, DATA)
            gates = [gate for gate in made.config.gates if gate.kind in ("floor", "comparison")]
            results = [run_gate(gate, found) for gate in gates]
            if not passes:
                results.append(DATA.model_copy(update={"state": "fail", "reason": "too few rows of <b>nurses</b>"}))
            verdict = verdict_of(made, champion, tuple(results))
            assert verdict.passed == passes, verdict.failed
            document = evidence_of(made, verdict)
            if not passes:
                reject.fn(made, verdict, request, document)
            elif end == "promote":
                register(verdict, document, actor, "push")
            else:
                record_examined.fn(made, verdict, request, document)
        self.candidates[name] = made
        return made.commit

    def ask(self, rows: int) -> None:
        """Let a service of this home answer rows, and tell it an outcome of the first and an override of the second."""
        service = start(self.settings.home, load_model(self.developer, NAME))
        try:
            body = {"rows": table(rows, seed=9)[["age", "hours", "job", "sex"]].to_dict("records")}
            answer = asking.post(f"{service.url}/models/{NAME}/predict", json=body, timeout=60)
            assert answer.status_code == 200, answer.text
            self.answers = answer.json()["predictions"]
            ids = [found["id"] for found in self.answers]
            for kind, said in (
                ("outcomes", {"id": ids[0], "label": True}),
                (
                    "overrides",
                    {"id": ids[1], "decision": False, "who": "olga@example.org", "why": "[red]seen\u001b[2J"},
                ),
            ):
                asking.post(f"{service.url}/models/{NAME}/{kind}", json={kind: [said]}).raise_for_status()
        finally:
            service.process.terminate()
            service.process.wait(30)

    def assay(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command line at this home; a terminal of 80 columns."""
        known = os.environ | {"COLUMNS": "80"} | environment
        return subprocess.run([*MAIN, *words], cwd=ROOT, env=known, capture_output=True, text=True, check=False)


@contextmanager
def home_of(folder: Path) -> Iterator[Past]:
    """A home whose origin has one model, as a checkout of this code brings it; nothing was trained."""
    git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", "origin.git")
    developer = folder / "developer"
    git(folder, "clone", "--quiet", "origin.git", "developer")
    git(developer, "checkout", "--quiet", "-B", "main")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in filter(MINE.match, listed):
        if (ROOT / name).exists():
            (developer / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, developer / name)
    config = developer / f"deployments/models/{NAME}"
    config.mkdir(parents=True)
    (developer / "deployments/models.yaml").write_text(f"models: [{NAME}]\n")
    (config / "rules.yaml").write_text(yaml.safe_dump(rules("binary")))
    settings = Settings(home=folder / "home", origin=str(folder / "origin.git"), timestamp_url="", timestamp_ca=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("ASSAY_HOME", str(settings.home))
        patch.setenv("ASSAY_ORIGIN", settings.origin)
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in ("ASSAY_LOG_URL", "ASSAY_SERVICE_URL", "PREFECT_API_URL"):
            patch.delenv(name, raising=False)
        yield Past(folder, settings)


def model_yaml(change: Callable[[dict[str, Any]], Any] = lambda found: None) -> Callable[[str], str]:
    """An edit of ``model.yaml``; of an empty file the whole document."""

    def edit(text: str) -> str:
        found = yaml.safe_load(text) if text else document("binary") | {"materiality": "low"}
        change(found)
        return yaml.safe_dump(found, sort_keys=False)

    return edit


CONFIG, SOURCE = f"deployments/models/{NAME}/model.yaml", f"data/{NAME}/source/table.csv"
SPLITTING = "tasks/science/data/splitting.py"


@contextmanager
def past(folder: Path) -> Iterator[Past]:
    """Three candidates: two that became versions, and one refused.

    v1.0.0; *harder*: comments, layout and C=0.001, refused; v2.0.0: another C, a function, a package, 60 rows and a
    seed. It answers some rows, then v1.0.0 serves again by rollback, and is stopped.
    """
    with home_of(folder) as made:
        made.write(CONFIG, model_yaml())
        made.write(SOURCE, lambda _: table(1500).to_csv(index=False))
        made.push("first")
        made.train("first")
        made.write(SPLITTING, lambda text: f"# a comment\n{text}\n\n# and another\n")
        made.write(CONFIG, model_yaml(lambda found: found["estimator"].update(parameters={"C": 0.001})))
        made.push("harder")
        made.train("harder", actor="<script>[red]bob@example.org", passes=False)
        made.write(CONFIG, model_yaml(second))
        made.write(SOURCE, lambda _: changed_table().to_csv(index=False))
        made.write(SPLITTING, lambda text: text.replace("    salted = ", "    seed = int(seed)\n    salted = "))
        made.write("requirements.lock", lambda text: text.replace("joblib==", "joblib==0."))
        made.push("second")
        made.train("second")
        made.ask(4)
        assign_version.fn(
            RollbackRequest(model=NAME, actor="olga@example.org", because="it was too slow"), "rolled_back"
        )
        stop_serving.fn(StopRequest(model=NAME, actor="olga@example.org", because="nobody looks at it"))
        yield made


def second(found: dict[str, Any]) -> None:
    found["estimator"]["parameters"] = {"C": 0.3}
    found["seed"] = 8


def changed_table() -> pd.DataFrame:
    """Ten changed rows, ten fewer, and seventy more, whose people work longer."""
    more = table(70, seed=1)
    more["hours"] = 48
    frame = pd.concat([table(1500).iloc[:1490], more], ignore_index=True)
    frame.loc[:9, "hours"] = 49
    return frame


def entry(**fields: Any) -> EntryDraft:
    return EntryDraft(model=NAME, reason="person", **fields)


def paths_of(candidate: Candidate) -> ModelPaths:
    return ModelPaths(candidate.worktree, NAME)
