"""What is on record about the rows: the source's files as a dependency, their digests, and rows that are dropped."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.records.pages.verdict import verdict_markdown, verdict_page
from tasks.records.repository import dvc, workspace
from tasks.spec.data_record import DataRecord
from tasks.spec.errors import StageError
from tasks.spec.evidence import Verdict
from tasks.spec.manifest import Manifest
from tasks.spec.settings import Settings
from tasks.stages.common import ModelPaths
from tests.conftest import ROOT, git
from tests.stages.worlds import NAME, document, table, write

FILE = f"data/{NAME}/source/table.csv"
STAGES = ("ingest", "prepare")


def run(root: Path, *stages: str) -> str:
    """The stages as commands in a checkout; gives what the last one says on stderr."""
    done = None
    for stage in stages:
        command = [sys.executable, "-m", f"tasks.stages.{stage}", "--model", NAME]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
        if done.returncode:
            break
    assert done is not None
    return done.stderr.strip()


def record(root: Path) -> DataRecord:
    return DataRecord.model_validate_json(ModelPaths(root, NAME).record.read_text())


def blanks(share: float, column: str, rows: int = 2000) -> pd.DataFrame:
    """The generated table with an empty cell in that share of one column's rows."""
    frame = table(rows)
    gone = np.random.default_rng(1).choice(rows, round(share * rows), replace=False)
    return frame.assign(**{column: frame[column].mask(frame.index.isin(gone))})


@pytest.mark.parametrize(
    ("kind", "column", "expression"),
    [
        ("binary", "pay", "pay > 30"),
        pytest.param("multiclass", "level", "level", marks=pytest.mark.acceptance),
        pytest.param("regression", "pay", "pay / 10", marks=pytest.mark.acceptance),
    ],
)
def test_missing_labels_are_refused_with_their_number_or_dropped_and_counted(
    tmp_path: Path, kind: Any, column: str, expression: str
) -> None:
    """15 % blanks in the target's column, as a follow-up that is not over leaves them."""
    frame = blanks(0.15, column)
    raw = document(kind)
    write(tmp_path, raw, frame)
    assert run(tmp_path, *STAGES) == (
        f"error: data.target.expression {expression!r} gives no label in 300 of 2,000 rows (15.0%), because a value "
        "that it needs is missing. Write missing: drop under data.target to leave them out, which the verdict will "
        "say, or fill the values in the source."
    )
    raw["data"]["target"] |= {"missing": "drop"}
    (tmp_path / f"deployments/models/{NAME}/model.yaml").write_text(yaml.safe_dump(raw))
    assert run(tmp_path, *STAGES) == ""
    sides = [pd.read_parquet(ModelPaths(tmp_path, NAME).prepared / f"{s}.parquet") for s in record(tmp_path).sides]
    rows = pd.concat(sides)
    known = frame.loc[rows["_row"], column].reset_index(drop=True)
    truth = known if kind == "multiclass" else known > 30 if kind == "binary" else known / 10
    assert known.notna().all() and len(rows) == 1700
    assert rows["_label"].tolist() == truth.tolist()
    assert (record(tmp_path).rows, record(tmp_path).dropped) == (2000, {"without a label": 300})


def test_every_row_of_the_source_is_on_one_side_or_dropped_for_a_reason_that_the_verdict_says(tmp_path: Path) -> None:
    frame = blanks(0.1, "pay", 1000).assign(
        person=[f"p{i}" for i in range(500)] * 2, year=["1"] * 500 + ["2"] * 500, site=["a"] * 950 + ["b"] * 50
    )
    raw = document("binary")
    raw["data"]["columns"] += [{"name": n, "type": "category", "input": False} for n in ("person", "year", "site")]
    raw["data"] |= {"entity": "person", "base": 'year == "1"', "rows": 'site == "a"'}
    raw["data"]["target"] |= {"missing": "drop"}
    write(tmp_path, raw, frame)
    assert run(tmp_path, *STAGES) == ""
    found = record(tmp_path)
    assert sum(found.sides.values()) + sum(found.dropped.values()) == found.rows == 1000
    assert found.dropped["outside data.rows"] == 50
    assert found.dropped["without a label"] == int(frame.loc[frame["site"] == "a", "pay"].isna().sum())
    other = found.dropped["of an entity that is on another side"]
    assert 280 < other < 420  # four of five persons train or examine, and their second year is not replayed
    page, text = verdict_page(verdict(found), "Small", {}), verdict_markdown(verdict(found), {})
    for said in (
        "1,000 rows from 1 file.",
        "Dropped 50 of 1,000 rows outside data.rows.",
        f"Dropped {other} of 1,000 rows of an entity that is on another side.",
        hashlib.sha256((tmp_path / FILE).read_bytes()).hexdigest(),
        FILE,
    ):
        assert said in page and said in text


def verdict(found: DataRecord) -> Verdict:
    return Verdict(
        model=NAME, commit="a" * 40, champion=None, model_digest="", created="", passed=False, gates=(), data=found
    )


@pytest.fixture
def clone(dvc_developer: Path) -> Path:
    """A developer's clone of this repository's stages with one model, whose rows were given to DVC; pushed."""
    for name in ("tasks", "dvc.yaml", "requirements.lock", "data/.gitignore"):
        made = dvc_developer / name
        made.parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, made, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, made)
    (dvc_developer / ".gitignore").write_text("__pycache__/\n")
    (dvc_developer / ".dvcignore").write_text("__pycache__/\n")
    collected = dvc_developer / f"data/{NAME}/collected"
    collected.mkdir(parents=True)
    (collected / ".gitignore").write_text("/*.parquet\n")
    write(dvc_developer, document("binary"), table(600))
    return dvc_developer


def given(clone: Path, settings: Settings, path: str = FILE) -> None:
    """``dvc add`` in the clone, whose cache is the system's, then commit and push, as the README says."""
    for arguments in (("config", "--local", "cache.dir", str(settings.cache)), ("add", "--quiet", path)):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=clone, check=True, capture_output=True)
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "rows")
    git(clone, "push", "--quiet", "origin", "HEAD:main")


def change_one_cell(clone: Path) -> None:
    frame = pd.read_csv(clone / FILE)
    frame.loc[3, "hours"] = 79
    (clone / FILE).unlink()
    frame.to_csv(clone / FILE, index=False)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("added", [FILE, pytest.param(f"data/{NAME}/source", marks=pytest.mark.acceptance)])
def test_a_file_that_changes_at_the_same_path_is_ingested_anew(clone: Path, settings: Settings, added: str) -> None:
    given(clone, settings, added)
    with workspace.worktree(settings, "main") as tree:
        dvc.reproduce(tree, f"ingest@{NAME}")
        before = json.loads(ModelPaths(tree, NAME).ingested_record.read_text())
        workspace.push_data(settings, tree, "ingested")
    assert before == {"files": [{"name": FILE, "sha256": sha256(clone / FILE), "size": (clone / FILE).stat().st_size}],
                      "rows": 600}  # fmt: skip
    git(clone, "pull", "--quiet", "origin", "main")
    change_one_cell(clone)
    given(clone, settings, added)
    with workspace.worktree(settings, "main") as tree:
        dvc.reproduce(tree, f"ingest@{NAME}")
        after = json.loads(ModelPaths(tree, NAME).ingested_record.read_text())
        assert pd.read_parquet(ModelPaths(tree, NAME).ingested).loc[3, "hours"] == 79
    assert after["files"][0]["sha256"] == sha256(clone / FILE) != before["files"][0]["sha256"]


def test_a_file_that_nobody_added_says_how(clone: Path, settings: Settings) -> None:
    (clone / FILE).unlink()
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "without rows")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    with workspace.worktree(settings, "main") as tree, pytest.raises(StageError) as caught:
        dvc.reproduce(tree, f"ingest@{NAME}")
    assert FILE in str(caught.value) and "'dvc add'" in str(caught.value)


@pytest.mark.acceptance
def test_one_changed_cell_is_trained_anew_and_its_digest_is_in_the_manifest(clone: Path, settings: Settings) -> None:
    """Until then nothing is run again."""

    def trained() -> tuple[Manifest, dict[str, int]]:
        with workspace.worktree(settings, "main") as tree:
            dvc.reproduce(tree, f"evaluate@{NAME}")
            paths = ModelPaths(tree, NAME)
            found = Manifest.model_validate_json((paths.model / "manifest.json").read_text())
            made = {p.name: p.stat().st_mtime_ns for p in (paths.model / "model.skops", paths.ingested)}
            if git(tree, "status", "--short", "dvc.lock"):
                workspace.push_data(settings, tree, "trained")
            return found, made

    given(clone, settings)
    first, _ = trained()
    again, _ = trained()
    git(clone, "pull", "--quiet", "origin", "main")
    change_one_cell(clone)
    given(clone, settings)
    other, _ = trained()
    assert first == again and first.data is not None and other.data is not None
    assert first.data.files[0].sha256 != other.data.files[0].sha256 == sha256(clone / FILE)
    assert first.model_digest != other.model_digest
