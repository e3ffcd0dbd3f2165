"""``assay decision`` on what a real service has answered and logged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.repository import workspace
from tasks.spec.base import digest_file
from tasks.spec.ledger import EntryDraft, ForgottenDetails
from tasks.spec.metrics import TargetKind
from tasks.spec.settings import Settings
from tests.candidates import commit_run, passed
from tests.conftest import ROOT, git
from tests.serving.door import Door, lay, opened
from tests.stages.worlds import NAME, document, table
from tests.told import MAIN

KINDS: tuple[TargetKind, ...] = ("binary", "multiclass", "regression")


@pytest.fixture(scope="module", params=KINDS)
def answered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A version that the ledger knows, and what it answered to three rows."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch, opened(lay(folder / "tree", document(request.param))) as door:
        settings = registered(folder, door, request.param)
        patch.setenv("ASSAY_HOME", str(settings.home))
        patch.setenv("ASSAY_ORIGIN", settings.origin)
        rows = json.loads(table(3, seed=5)[["age", "hours", "job", "sex"]].to_json(orient="records"))
        rows[1]["age"] = None
        answers = door.post("predict", json.dumps({"rows": rows})).json()["predictions"]
        label: Any = {"binary": True, "multiclass": "high", "regression": 4.5}[request.param]
        told = door.post("outcomes", json.dumps({"outcomes": [{"id": answers[0]["id"], "label": label}]}))
        assert told.json()["accepted"] == 1
        yield {"answers": answers, "rows": rows, "settings": settings, "door": door, "label": label}


def registered(folder: Path, door: Door, kind: TargetKind) -> Settings:
    """An origin whose ledger promoted the release that the door serves."""
    origin, home = folder / "origin.git", door.paths.root / "home"
    git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(origin))
    git(folder, "clone", "--quiet", str(origin), "developer")
    git(folder / "developer", "checkout", "--quiet", "-B", "main")
    git(folder / "developer", "commit", "--quiet", "--allow-empty", "-m", "first")
    git(folder / "developer", "push", "--quiet", "origin", "main")
    settings = Settings(home=home, origin=str(origin), timestamp_url="", timestamp_ca=None)
    with workspace.worktree(settings, "main") as tree:
        (tree / "model.txt").write_text(kind)
        commit = commit_run(settings, tree, "candidate", f"assay/candidates/{NAME}/one")
    evidence = passed(NAME, commit)
    evidence["verdict"]["model_digest"] = digest_file(door.paths.model / "model.skops")
    Registry(settings).promote(NAME, commit, evidence, "test", "person", None)
    kept = home / "versions" / NAME / "v1.0.0"  # as a restored version stands there
    shutil.copytree(door.paths.model, kept / "model")
    (kept / "code").mkdir()
    return settings


def assay(answered: dict[str, Any], *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"ASSAY_HOME": str(answered["settings"].home), "ASSAY_ORIGIN": answered["settings"].origin}
    return subprocess.run(
        [*MAIN, *words], cwd=ROOT, env=os.environ | known | environment, capture_output=True, text=True, check=False
    )


def test_the_same_bits_come_again_for_every_kind_of_model(answered: dict[str, Any]) -> None:
    for place, answer in enumerate(answered["answers"]):
        done = assay(answered, "decision", answer["id"], "--json", "--explain")
        assert done.returncode == 0, done.stderr + done.stdout
        found = json.loads(done.stdout)
        assert (found["score"], found["scores"]) == (answer["score"], answer["scores"])
        assert (found["decision"], found["inputs"]) == (answer["decision"], answered["rows"][place])
        assert found["again"]["same"] is True and found["again"]["largest"] == 0
        assert [o["value"] for o in found["outcomes"]] == ([answered["label"]] if place == 0 else [])
        shares = found["again"]["explanation"]["attributions"].values()
        moved = found["again"]["explanation"]["output"] - found["again"]["explanation"]["base"]
        assert sum(shares) == pytest.approx(moved, abs=1e-9)
    text = assay(answered, "decision", answered["answers"][0]["id"]).stdout
    said = " ".join(text.split())
    assert "v1.0.0 gives the same score and decision again, bit for bit" in said
    assert "v1.0.0 served for small at" in said and "(tests)" in said
    assert max(map(len, text.splitlines())) <= 80


def test_what_differs_or_cannot_be_had_is_named(answered: dict[str, Any]) -> None:
    settings, key = answered["settings"], answered["answers"][1]["id"]
    database = answered["door"].log.database
    change = sa.text("UPDATE predictions SET score = :score WHERE id = :key")
    with database.writing() as connection:
        kept = connection.execute(sa.text("SELECT score FROM predictions WHERE id = :key"), {"key": key}).scalar_one()
    for score, code in ((kept + 0.25, 1), (kept, 0)):
        with database.writing() as connection:
            connection.execute(change, {"score": score, "key": key})
        done = assay(answered, "decision", key)
        assert done.returncode == code, done.stdout
    file = settings.home / f"versions/{NAME}/v1.0.0/model/model.skops"
    content = file.read_bytes()
    file.write_bytes(content + b"?")
    done = assay(answered, "decision", key)
    said = " ".join(done.stdout.split())
    assert done.returncode == 3 and "it cannot be shown: the kept model file of small v1.0.0 has digest" in said
    file.write_bytes(content)
    done = assay(answered, "decision", key, ASSAY_ORIGIN=str(settings.home / "away.git"))
    said = " ".join(done.stdout.split())
    assert done.returncode == 3 and "does not answer" in said and "outcome none yet" in said
    for name in ("model.skops", "manifest.json"):
        (settings.home / f"versions/{NAME}/v1.0.0/model/{name}").rename(settings.home / name)
    done = assay(answered, "decision", key)
    assert done.returncode == 3 and "it cannot be shown: " in done.stdout and not done.stderr
    for name in ("model.skops", "manifest.json"):
        (settings.home / name).rename(settings.home / f"versions/{NAME}/v1.0.0/model/{name}")


def test_a_forgotten_row_leaves_its_number_and_not_its_name(answered: dict[str, Any]) -> None:
    settings, key = answered["settings"], answered["answers"][2]["id"]
    done = assay(answered, "decision", "gone")
    assert done.returncode == 2 and done.stderr == (
        "error: no logged prediction has the id 'gone', and none was ever forgotten; ids stand in the service's "
        "answers and in exports.\n"
    )
    answered["door"].log.forget(NAME, [key])
    draft = EntryDraft(
        kind="forgotten", model=NAME, actor="test", reason="person", sentence="1 logged prediction deleted",
        details=ForgottenDetails(by="id", predictions=1),
    )  # fmt: skip
    entry = ledger.append(settings, draft)
    done = assay(answered, "decision", key)
    assert done.returncode == 2 and done.stderr == (
        f"error: no logged prediction has the id '{key}'; 1 prediction was forgotten (ledger entries "
        f"{entry.sequence}), and whether it was among them is forgotten too.\n"
    )
