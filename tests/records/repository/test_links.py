"""Pushed links, which git lays out as they are: nothing is written or read through one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.records.repository import workspace
from tasks.spec.errors import AssayError, CheckoutError, ConfigError, StageError
from tasks.spec.requests import TrainingRequest
from tasks.spec.settings import Settings
from tasks.training import checkout
from tests.conftest import ROOT, git

FILES_ALONE = "is a link, and below data, deployments and .dvc, and as dvc.lock and dvc.yaml, Assay takes files alone"
LEADS_OUT = "is a link, and it leads out of the repository, to '{target}'"
INSTEAD = "Commit the file itself in its place."


@pytest.fixture
def keys(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the home that no push may reach."""
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    found = settings.home / "access/keys.json"
    found.parent.mkdir(parents=True)
    found.write_text('{"stages": {}}\n')
    return found


def pushed(developer: Path, files: dict[str, str | Path]) -> None:
    """Push files, and links where the content is a path."""
    for name, content in files.items():
        path = developer / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(content) if isinstance(content, Path) else path.write_text(content)
    git(developer, "add", "--all", "--force")
    git(developer, "commit", "--quiet", "-m", "links")
    git(developer, "push", "--quiet", "origin", "main")


def trained() -> None:
    with checkout(TrainingRequest(model="income")):
        pass


def refusal(settings: Settings, opened: Callable[[], Any]) -> str:
    before = {p: p.read_bytes() for p in [*settings.home.rglob("access/*"), *settings.home.rglob("secrets/*")]}
    with pytest.raises(AssayError) as caught:
        opened()
    assert isinstance(caught.value, CheckoutError | ConfigError | StageError)
    assert {p: p.read_bytes() for p in before} == before
    assert sorted(p.name for p in settings.home.iterdir()) == ["access", "clone", "clone.lock", "worktrees"]
    assert list(settings.worktrees.iterdir()) == [] and list((settings.home / "access").iterdir()) == list(before)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "target", "why"),
    [
        ("dvc.lock", "../../access/keys.json", FILES_ALONE),
        ("dvc.lock", "../../clone/.git/HEAD", FILES_ALONE),
        ("dvc.lock", "{keys}", FILES_ALONE),
        ("dvc.lock", "model.txt", FILES_ALONE),
        ("dvc.yaml", "../../access/keys.json", FILES_ALONE),
        (".dvc/config.local", "../../../access/keys.json", FILES_ALONE),
        ("deployments/models/income/code", "../../../../../access/new", FILES_ALONE),
        ("deployments/models/income/waivers.yaml", "../../../../../access/keys.json", FILES_ALONE),
        ("data/income", "../../../access", FILES_ALONE),
        ("data/income/source/rows.csv", "../../../../../access/keys.json", FILES_ALONE),
        ("requirements.lock", "../../access/keys.json", LEADS_OUT),
        ("requirements.lock", "{keys}", LEADS_OUT),
        ("a/b/out", "../../../../access", LEADS_OUT),
        ("tasks", "nowhere/../../../access", LEADS_OUT),
    ],
)
def test_a_pushed_link_is_refused_before_anything_is_written(
    settings: Settings, developer: Path, keys: Path, name: str, target: str, why: str
) -> None:
    target = target.format(keys=keys)
    pushed(developer, {"deployments/models.yaml": "models: [income]\n", name: Path(target)})
    said = f"commit {git(developer, 'rev-parse', 'HEAD')[:12]} is not laid out: {name!r} {why}. {INSTEAD}"
    assert refusal(settings, trained) == said.format(target=target)


def test_a_folder_of_dvc_that_is_a_link_gets_no_settings(settings: Settings, developer: Path, keys: Path) -> None:
    git(developer, "rm", "-r", "--quiet", ".dvc")
    pushed(developer, {".dvc": Path("../../access")})
    assert refusal(settings, trained).endswith(f"'.dvc' {FILES_ALONE}. {INSTEAD}")


def test_a_link_that_leads_out_by_way_of_another_link_is_found(settings: Settings, developer: Path, keys: Path) -> None:
    """Read as text, ``a/b/up/../../access`` is ``a/access``."""
    pushed(developer, {"a/b/up": Path("../.."), "by": Path("a/b/up/../../access/keys.json")})
    said = refusal(settings, trained)
    assert f"'by' {LEADS_OUT.format(target='a/b/up/../../access/keys.json')}. {INSTEAD}" in said


def test_another_repository_in_place_of_data_is_refused(settings: Settings, developer: Path, keys: Path) -> None:
    head = git(developer, "rev-parse", "HEAD")
    git(developer, "update-index", "--add", "--cacheinfo", f"160000,{head},data/income/source")
    git(developer, "commit", "--quiet", "-m", "a submodule")
    git(developer, "push", "--quiet", "origin", "main")
    assert "'data/income/source' is another repository, and below data" in refusal(settings, trained)


def test_a_link_within_the_repository_is_laid_out(settings: Settings, developer: Path) -> None:
    pushed(developer, {"docs/first.txt": Path("../model.txt")})
    with workspace.worktree(settings, "main") as tree:
        assert (tree / "docs/first.txt").read_text() == "first\n"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({".dvc": "text"}, "the folder .dvc cannot be made (File exists). Take away what stands there."),
        ({".dvc/config/x": "text"}, ".dvc/config cannot be written (Is a directory). Take away what stands there."),
        ({"dvc.lock/x": "text"}, "dvc.lock cannot be read (Is a directory). Put the file there that dvc writes."),
        (
            {"dvc.lock": "stages: [1]"},
            "dvc.lock is no record as DVC writes it: look at stages. Let dvc write it anew, and commit it.",
        ),
        (
            {"dvc.lock": "stages: {train@income: {outs: [{path: x, md5: ../../../access/keys.json}]}}"},
            "dvc.lock is no record as DVC writes it: look at stage 'train@income'. Let dvc write it anew, and commit "
            "it.",
        ),
        (
            {"dvc.lock": "a: " + "[" * 100_000},
            "dvc.lock, line 1 is not valid YAML: it nests more than 60 lists and mappings, so write it flatter. Mend "
            "that line.",
        ),
    ],
)
def test_what_stands_where_assay_writes_is_said(
    settings: Settings, developer: Path, keys: Path, files: dict[str, str | Path], said: str
) -> None:
    if ".dvc" in files:
        git(developer, "rm", "-r", "--quiet", ".dvc")
    models = {
        f"deployments/{name}": (ROOT / f"deployments/{name}").read_text().replace("[care, income", "[income")
        for name in ("models.yaml", "models/income/model.yaml")
    }
    pushed(developer, {**models, **files})
    assert refusal(settings, trained) == said
