"""``assay status`` tells each part on its own: what is dead or damaged hides nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.cli.parts import HOOKS
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import prepare_origin
from tasks.spec.ledger import EntryDraft
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests.cli.test_system import a_part, assay
from tests.conftest import ROOT, git
from tests.serving.running import point, release

DRAFT = EntryDraft(kind="examined", model="care", commit="0" * 40, actor="a", reason="push", sentence="Examined.")


@pytest.fixture
def home(tmp_path: Path, developer: Path) -> Path:
    return stopped_home(tmp_path)


def stopped_home(tmp_path: Path) -> Path:
    """A home whose system was stopped: origin with hook, clone, ledger, log, one release."""
    settings = Settings(home=tmp_path / "home")
    settings.home.mkdir()
    (tmp_path / "origin.git").rename(settings.home / "origin.git")
    prepare_origin(Git(settings.home / "origin.git"))
    for name in HOOKS:
        shutil.copy(ROOT / "deployments/hooks" / name, settings.home / "origin.git/hooks" / name)
    ledger.append(settings, DRAFT)
    PredictionLog(settings.log_database).close()
    release(settings.home, load_model(ROOT, "care"), "v1.0.0", seed=1)
    point(settings.home, "v1.0.0")
    return settings.home


def parts(home: Path) -> tuple[int, dict[str, dict[str, str]]]:
    done = assay(home, "status", "--json")
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, {part["name"]: part for part in found["parts"]}


def test_what_was_stopped_is_no_problem_and_what_died_is_one_each(home: Path) -> None:
    code, found = parts(home)
    states = {name: part["state"] for name, part in found.items()}
    assert (code, [n for n, s in states.items() if s != "well"]) == (
        0,
        ["Prefect server", "worker", "keeper", "service"],
    )
    shutil.rmtree(home / "logs", ignore_errors=True)
    kept = home.parent / "part"
    with a_part(kept) as processes:  # one process of three lives
        url = (kept / "url").read_text()
        (kept / "run/system.json").write_text(
            json.dumps({"api_url": "http://127.0.0.1:1/api", "service_url": url, "origin": str(home / "origin.git")})
        )
        code, found = parts(kept)
        assert code == 1 and found["worker"] == {
            "name": "worker",
            "state": "not well",
            "says": f"it was started and does not run any more; its log is {kept}/logs/worker.log",
            "fix": "assay down; assay up",
        }
        assert found["Prefect server"]["state"] == "not well"
        assert "gives no answer" in found["service"]["says"]  # it answers, and is no service of ours
        assert processes.alive("service")


def test_damage_of_many_parts_is_told_of_each(home: Path) -> None:
    (home / "predictions.db").write_bytes(b"no database at all" * 100)
    (home / "releases/care/versions/v1.0.0/model.skops").write_bytes(b"damaged")
    (home / "origin.git/hooks/post-receive").unlink()
    git(home / "origin.git", "update-ref", "refs/heads/other", "main")
    git(home / "origin.git", "update-ref", "-d", "refs/heads/main")
    code, found = parts(home)
    unwell = {name: part for name, part in found.items() if part["state"] == "not well"}
    assert code == 1 and set(unwell) == {"database", "origin", "clone", "release store"}
    assert "file is not a database" in unwell["database"]["says"]
    assert "hooks/post-receive is missing, so nobody who pushes is told" in unwell["origin"]["says"]
    assert unwell["clone"]["says"] == "the origin has no branch 'main'"
    assert "model.skops has digest" in unwell["release store"]["says"]
    assert all(part["fix"] for part in unwell.values()) and found["ledger"]["says"] == "2 entries"
    told = assay(home, "status").stdout
    assert all(f"✕ {name}" in told for name in unwell) and "care: nobody knows which version is champion" in told


def test_a_broken_file_of_the_homes_own_about_the_ledger_hides_no_part(home: Path) -> None:
    parts(home)
    kept = home / "ledger-state.json"
    kept.unlink(missing_ok=True)
    (kept / "full").mkdir(parents=True)  # no file can take its place
    code, found = parts(home)
    assert code == 1 and {"database", "origin", "release store"} <= set(found)
    told = assay(home, "status").stdout
    assert "record: the ledger cannot be read here: [Errno" in told and "✓ database" in told


def test_the_digest_of_what_examines_is_that_of_the_files_of_the_checkout(home: Path) -> None:
    """Computed here as docs/ledger.md says it, and by nothing of Assay."""
    files = [*ROOT.glob("tasks/**/*.py"), *ROOT.glob("flows/**/*.py"), ROOT / "requirements.lock"]
    digests = {
        str(f.relative_to(ROOT)): "sha256:" + hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()
    }
    text = json.dumps(digests, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    examiner = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert assay(home, "status").stdout.splitlines()[-1] == f"examiner {examiner}"
    assert json.loads(assay(home, "status", "--json").stdout)["examiner"] == examiner
