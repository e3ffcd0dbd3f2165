"""Logged rows taken out as evidence, and forgotten, with a real git origin, DVC and ledger."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import parquet

from tasks.cli import rows as commands
from tasks.records.log.migration import copy_database
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.registry.verification import verify
from tasks.records.repository import dvc, workspace
from tasks.spec.base import digest_file
from tasks.spec.errors import CheckoutError, ConfigError, StageError, UnreachableError
from tasks.spec.ledger import ForgottenDetails
from tasks.spec.settings import Settings
from tests.candidates import commit_run, passed
from tests.conftest import ROOT, git
from tests.records.log.logs import ALL, rows


@pytest.fixture
def checkout(developer: Path, settings: Settings) -> Path:
    shutil.copytree(ROOT / "deployments", developer / "deployments")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--force"], cwd=developer, check=True)
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "models")
    git(developer, "config", "user.email", "anna@example.org")
    return developer


@pytest.fixture
def log(settings: Settings) -> Iterator[PredictionLog]:
    settings.home.mkdir(parents=True, exist_ok=True)
    opened = PredictionLog(settings.log_database)
    opened.append(rows(20, name="Smith"))
    opened.append(rows(10, prefix="q", name="Jones"))
    opened.next_windows("care", 10, 5, 10)
    yield opened
    opened.close()


def test_a_window_becomes_evidence_that_dvc_tracks(checkout: Path, settings: Settings, log: PredictionLog) -> None:
    done = commands.export(checkout, settings, "care", 2)
    path = checkout / done["file"]
    assert done["file"] == "data/care/evidence/window-000002.parquet" and (
        done["rows"],
        done["rows_missing"],
        done["version"],
    ) == (10, 0, "v1.0.0")
    assert done["digest"] == digest_file(path) and pd.read_parquet(path)["_id"].tolist() == [
        f"p-v1.0.0-{n}" for n in range(10, 20)
    ]
    assert git(checkout, "status", "--porcelain", "-uall").split() == [
        "??",
        "data/care/evidence/.gitignore",
        "??",
        "data/care/evidence/window-000002.parquet.dvc",
    ]
    assert commands.export(checkout, settings, "care", 2)["digest"] == done["digest"]
    with pytest.raises(ConfigError, match="care has no window 4; they go from 1 to 3"):
        commands.export(checkout, settings, "care", 4)
    with pytest.raises(ConfigError, match="income has no window 1; none was cut yet"):
        commands.export(checkout, settings, "income", 1)


def test_the_ledger_keeps_that_somebody_was_forgotten_and_not_who(
    checkout: Path, settings: Settings, log: PredictionLog
) -> None:
    commands.export(checkout, settings, "care", 1)
    log.outcomes("care", [("p-v1.0.0-3", True)])
    copy = settings.home / "predictions.db.before-0001"
    copy_database(settings.home / "predictions.db", copy)
    found = commands.forget(checkout, settings, "care", ["p-v1.0.0-3", "nobody"], None, False, "asked in a letter")
    assert (found["predictions"], found["outcomes"], found["unknown"], found["still_in"]) == (
        1,
        1,
        1,
        ["data/care/evidence/window-000001.parquet"],
    )
    assert "still in data/care/evidence/window-000001.parquet" in commands.forgotten_text(found)
    assert found["copies"] == [str(copy)]
    assert f"still in {copy}, a copy of the log from before an upgrade: delete it" in commands.forgotten_text(found)
    copy.unlink()
    assert commands.forget(checkout, settings, "care", [], "name=Jones", False, "left us")["predictions"] == 10
    one, two = ledger.entries(settings, "care")
    assert (one.kind, one.actor, one.sentence) == (
        "forgotten",
        "anna@example.org",
        "1 logged prediction deleted, with 1 outcome; asked in a letter",
    )
    assert two.details == {
        "predictions": 10,
        "outcomes": 0,
        "overrides": 0,
        "appeals": 0,
        "reviews": 0,
        "unknown": 0,
        "learned": [],
        "files": [],
        "by": "column name",
    }
    assert "Jones" not in two.model_dump_json() and "p-v1.0.0-3" not in one.model_dump_json() and verify(settings) == []
    assert commands.forgotten_text(
        commands.forget(checkout, settings, "care", ["nobody"], None, False, "x")
    ).startswith("nothing was deleted\nof no logged prediction of this model: 1 id")
    assert len(ledger.entries(settings, "care")) == 2 and len(log.frame("care", 0, ALL)) == 19


STAGE = """stages:
  prepare:
    matrix: {model: [care]}
    cmd: python -c "import shutil; shutil.copytree('data/care/collected', 'data/care/prepared', dirs_exist_ok=True)"
    deps: [data/care/collected]
    outs: [data/care/prepared]
"""


def collected(settings: Settings, ids: list[str], name: str) -> str:
    """A data version with a file of collected rows, prepared and released; gives the version."""
    with workspace.worktree(settings, "main") as tree:
        path = tree / f"data/care/collected/{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"_id": ids, "x": range(len(ids))}).to_parquet(path, index=False)
        dvc.add(tree, path)
        workspace.push_data(settings, tree, f"{name} collected")
    with workspace.worktree(settings, "main") as tree:
        dvc.reproduce(tree, "prepare@care")
        commit = commit_run(settings, tree, "candidate", f"assay/candidates/care/{name}")
    registry = Registry(settings)
    before = registry.champion("care")
    return registry.promote(
        "care", commit, passed("care", commit), "test", "person", before.tag if before else None
    ).tag


def test_what_learned_from_forgotten_rows_is_named_and_nothing_learns_from_them_again(
    checkout: Path, settings: Settings, log: PredictionLog
) -> None:
    (checkout / "dvc.yaml").write_text(STAGE)
    (checkout / ".dvc/config").write_text("['remote \"cold\"']\n    url = s3://bucket/store\n")
    git(checkout, "add", "dvc.yaml", ".dvc/config")
    git(checkout, "commit", "--quiet", "-m", "a stage and a remote")
    git(checkout, "push", "--quiet", "origin", "HEAD")
    ids = [f"p-v1.0.0-{n}" for n in range(10)]
    first = collected(settings, ids[:3], "rows-000000001-000000003")
    second = collected(settings, ids[3:6], "rows-000000004-000000006")

    found = commands.forget(checkout, settings, "care", ids[4:7], None, False, "asked in a letter")
    assert (found["predictions"], found["learned"]) == (3, [second]), f"{first} learned from none of them"
    (entry,) = [e for e in ledger.entries(settings, "care") if e.kind == "forgotten"]
    assert entry.sentence == (
        f"3 logged predictions deleted; {second} learned from such rows, not rebuildable from today; asked in a letter"
    )
    assert isinstance(entry.read, ForgottenDetails) and entry.read.learned == (second,) and len(entry.read.files) == 1

    with workspace.worktree(settings, "main") as tree:
        assert git(tree, "log", "-1", "--format=%s") == "data: 2 collected rows of care were forgotten"
        dvc.reproduce(tree, "prepare@care")
        left = pd.concat(pd.read_parquet(p) for p in sorted((tree / "data/care/prepared").glob("*.parquet")))
    assert left["_id"].tolist() == [*ids[:3], ids[3]]

    (here, cold) = found["ends"]
    assert cold.startswith("perhaps still at DVC's remote cold: delete below s3://bucket/store files/md5/")
    tables = [p for p in (settings.cache / "files").rglob("*") if p.is_file() and p.read_bytes()[:4] == b"PAR1"]
    held = [path for path in tables if ids[4] in set(pd.read_parquet(path)["_id"])]
    assert held and here.startswith("still in this home: rm -f ")
    subprocess.run(["sh", "-c", here.removeprefix("still in this home: ")], check=True)
    assert not [path for path in held if path.exists()]
    again = commands.forget(checkout, settings, "care", ids[4:7], None, False, "asked again")
    assert (again["predictions"], again["rewritten"]) == (0, None)
    assert "DVC's cache has lost the collected files" in again["ends"][-1] and verify(settings) == []


def test_a_command_that_dies_after_the_deletion_leaves_its_last_step_to_the_next(
    checkout: Path, settings: Settings, log: PredictionLog, tmp_path: Path
) -> None:
    """The branch is protected just then, as if the process had ended there: the log has forgotten, main has not."""
    (checkout / "dvc.yaml").write_text(STAGE)
    git(checkout, "add", "dvc.yaml")
    git(checkout, "commit", "--quiet", "-m", "a stage")
    git(checkout, "push", "--quiet", "origin", "HEAD")
    ids = [f"p-v1.0.0-{n}" for n in range(3)]
    version = collected(settings, ids, "rows-000000001-000000003")
    hook = tmp_path / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\nif grep -q refs/heads/main; then exit 1; fi\n")
    hook.chmod(0o755)
    with pytest.raises(CheckoutError, match="a hook of the origin refused the new data"):
        commands.forget(checkout, settings, "care", ids[:1], None, False, "asked in a letter")
    assert ids[0] not in set(log.frame("care", 0, ALL)["_id"])
    (waiting,) = log.waiting("care")
    assert waiting.decision.forgets == (ids[0],) and waiting.entry is not None

    hook.unlink()
    found = commands.forget(checkout, settings, "care", ["nobody"], None, False, "another person")
    assert found["rewritten"] is not None and log.waiting("care") == []
    assert in_main(settings) == ids[1:]

    log.forget("care", ids[1:])  # by a release that knew no such step, or on a copy
    found = commands.forget(checkout, settings, "care", [], "x=2", False, "asked in a letter")
    assert (found["predictions"], found["learned"]) == (0, [version]) and found["rewritten"] is not None
    with pytest.raises(ConfigError, match="has an input 'nom'"):
        commands.forget(checkout, settings, "care", [], "nom=Smith", False, "asked in a letter")
    assert in_main(settings) == ids[1:2]
    kinds = [
        (e.details["predictions"], e.details["learned"]) for e in ledger.entries(settings) if e.kind == "forgotten"
    ]
    assert kinds == [(1, [version]), (0, [version])]


def test_collected_files_without_ids_or_rows_hide_no_row_that_was_forgotten(
    checkout: Path, settings: Settings, log: PredictionLog
) -> None:
    """What somebody committed beside them by hand."""
    ids = [f"p-v1.0.0-{n}" for n in range(3)]
    with workspace.worktree(settings, "main") as tree:
        folder = tree / "data/care/collected"
        folder.mkdir(parents=True)
        pd.DataFrame({"x": [2]}).to_parquet(folder / "a.parquet", index=False)
        pd.DataFrame({"_id": ids, "x": range(3)}).to_parquet(folder / "b.parquet", index=False)
        (folder / "c.parquet").write_text("no table")
        for name in "abc":
            dvc.add(tree, folder / f"{name}.parquet")
        workspace.push_data(settings, tree, "by hand")
    with pytest.raises(StageError) as error:
        commands.forget(checkout, settings, "care", [], "x=2", False, "asked in a letter")
    assert str(error.value).startswith("data/care/collected/c.parquet.dvc points to what is no Parquet (")
    assert str(error.value).endswith(
        "Take it off main; the rest of the deletion is done with the next run of monitoring."
    )
    with workspace.worktree(settings, "main") as tree:
        (tree / "data/care/collected/c.parquet.dvc").unlink()
        workspace.push_data(settings, tree, "taken off")
    found = commands.forget(checkout, settings, "care", ids[:1], None, False, "another person")
    assert found["rewritten"] is not None and log.waiting("care") == []
    with workspace.worktree(settings, "main") as tree:
        pointer = tree / "data/care/collected/b.parquet.dvc"
        dvc.fetch(tree, pointer.relative_to(tree).as_posix())
        assert pd.read_parquet(pointer.with_suffix(""))["_id"].tolist() == ids[1:2]


def in_main(settings: Settings) -> list[str]:
    with workspace.worktree(settings, "main") as tree:
        pointers = sorted((tree / "data/care/collected").glob("*.dvc"))
        dvc.fetch(tree, *(path.relative_to(tree).as_posix() for path in pointers))
        return [key for path in pointers for key in pd.read_parquet(path.with_suffix(""))["_id"]]


def test_what_the_ledger_cannot_be_told_at_once_is_told_later_and_nothing_is_deleted_where_nobody_can_ask(
    checkout: Path, settings: Settings, log: PredictionLog, tmp_path: Path
) -> None:
    origin = tmp_path / "origin.git"
    origin.rename(tmp_path / "away")
    with pytest.raises(UnreachableError):
        commands.forget(checkout, settings, "care", ["p-v1.0.0-3"], None, False, "asked in a letter")
    assert len(log.frame("care", 0, ALL)) == 30
    (tmp_path / "away").rename(origin)
    hook = origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(CheckoutError, match="1 logged prediction of care deleted, and the ledger cannot be told yet"):
        commands.forget(checkout, settings, "care", ["p-v1.0.0-3"], None, False, "asked in a letter")
    assert len(log.frame("care", 0, ALL)) == 29 and ledger.entries(settings, "care") == []
    hook.unlink()
    assert commands.forget(checkout, settings, "care", ["p-v1.0.0-3"], None, False, "again")["predictions"] == 0
    (entry,) = ledger.entries(settings, "care")
    assert entry.sentence == "1 logged prediction deleted; asked in a letter" and log.waiting("care") == []


def test_which_rows_has_to_be_said(checkout: Path, settings: Settings, log: PredictionLog) -> None:
    for ids, where, expired in (([], None, False), (["a"], "name=x", False), (["a"], None, True)):
        with pytest.raises(ConfigError, match="say which rows in one way"):
            commands.forget(checkout, settings, "care", ids, where, expired, "x")
    with pytest.raises(ConfigError, match="--where is 'name'; write column=value"):
        commands.forget(checkout, settings, "care", [], "name", False, "x")
    with pytest.raises(ConfigError, match="says no monitoring.retention_days"):
        commands.forget(checkout, settings, "care", [], None, True, "x")
    model = checkout / "deployments/models/care/model.yaml"
    model.write_text(model.read_text().replace("\nmonitoring:\n", "\nmonitoring:\n  retention_days: 30\n"))
    git(checkout, "config", "user.email", "retention@example.org")
    log.append(
        [r.__class__(**{**r.__dict__, "time": "2999-01-01T00:00:00.000+00:00"}) for r in rows(1, prefix="young")]
    )
    assert commands.forget(checkout, settings, "care", [], None, True, "too old")["predictions"] == 30
    assert (
        log.frame("care", 0, ALL)["_id"].tolist() == ["young-v1.0.0-0"]
        and ledger.entries(settings)[-1].details["by"] == "age"
    )


def test_the_version_that_answered_types_its_evidence(checkout: Path, settings: Settings, log: PredictionLog) -> None:
    """Declared types decide where the rows say nothing: no value, whole numbers with gaps, truths that are missing."""
    model = checkout / "deployments/models/care/model.yaml"
    told = model.read_text()
    declared = "".join(
        f"    - {{name: {name}, type: {kind}, nullable: true}}\n"
        for name, kind in (("visits", "integer"), ("weight", "number"), ("ward", "category"), ("pain", "boolean"))
    )
    told = told.replace("  columns:\n", f"  columns:\n{declared}", 1)
    model.write_text(told.replace("features: [", "features: [visits, weight, ward, pain, ", 1))
    git(checkout, "commit", "--quiet", "-am", "four columns more")
    git(checkout, "push", "--quiet", "origin", "HEAD:main")
    commit = git(checkout, "rev-parse", "HEAD").strip()
    Registry(settings).promote("care", commit, passed("care", commit), "test", "person", None)
    git(checkout, "checkout", "--quiet", "HEAD~1")  # what this checkout declares now is another matter
    given = {"visits": None, "weight": 3, "ward": None, "pain": None, "note": "x"}
    log.append(rows(9, prefix="new", **given) + rows(1, prefix="last", **given | {"visits": 7}))
    log.next_windows("care", 10, 5, 10)
    done = commands.export(checkout, settings, "care", 4)
    kinds = {f.name: str(f.type) for f in parquet.read_schema(checkout / done["file"])}
    assert [kinds[n] for n in ("visits", "weight", "ward", "pain", "note")] == [
        "int64", "double", "string", "bool", "string"
    ]  # fmt: skip
    assert pd.read_parquet(checkout / done["file"], dtype_backend="pyarrow")["visits"].tolist()[-2:] == [pd.NA, 7]
