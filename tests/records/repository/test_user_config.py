"""Whatever its user has told git for all repositories, flows' clone, commits and pushes come out the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.config import Config

from tasks.records.registry import ledger
from tasks.records.registry.verification import verify
from tasks.records.repository import dvc, dvc_settings, workspace
from tasks.records.repository.git import Git
from tasks.spec.errors import CheckoutError
from tasks.spec.ledger import EntryDraft
from tasks.spec.settings import Settings
from tests.conftest import git

HABITS = """
[core]
    hooksPath = {folder}/hooks
    autocrlf = true
    excludesFile = {folder}/ignored
[init]
    templateDir = {folder}/template
[commit]
    gpgSign = true
[tag]
    gpgSign = true
    forceSignAnnotated = true
[gpg]
    program = /bin/false
[clone]
    defaultRemoteName = upstream
    rejectShallow = true
[push]
    followTags = true
[status]
    showUntrackedFiles = no
[color]
    ui = always
[protocol "file"]
    allow = never
[url "https://elsewhere.invalid/"]
    insteadOf = {folder}/
    insteadOf = /
[url "https://elsewhere-too.invalid/"]
    pushInsteadOf = {folder}/
"""
DRAFT = EntryDraft(
    kind="examined", model="care", commit="0" * 40, actor="a", reason="push", sentence="It was examined."
)


HOOKS = ("pre-push", "post-checkout", "prepare-commit-msg", "post-commit", "pre-commit", "reference-transaction")


@pytest.fixture
def habits(tmp_path: Path) -> Path:
    """A user's global configuration with everything in it that could change what git does for us."""
    for name in ("hooks", "template/hooks"):
        (tmp_path / name).mkdir(parents=True)
    for name in HOOKS:
        for hook in (tmp_path / "hooks" / name, tmp_path / "template/hooks" / name):
            hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\nexit 1\n")
            hook.chmod(0o755)
    (tmp_path / "ignored").write_text("*.txt\n")
    config = Path(os.environ["GIT_CONFIG_GLOBAL"])
    config.write_text(HABITS.format(folder=tmp_path))
    return config


def test_a_users_configuration_changes_nothing(
    settings: Settings, developer: Path, habits: Path, tmp_path: Path
) -> None:
    workspace.prepare_origin(Git(Path(settings.origin)))
    with workspace.worktree(settings, "main") as tree:
        assert (tree / "model.txt").read_bytes() == b"first\n"
        (tree / "rows.txt").write_text("one\ntwo\n")
        assert Git(tree).changed_files() == ["rows.txt"]
        commit = workspace.push_data(settings, tree, "data")
    origin = Git(Path(settings.origin))
    assert origin.rev_parse("main") == commit and origin.read("show", "main:rows.txt") == b"one\ntwo\n"
    assert ledger.append(settings, DRAFT).sequence == 2  # after the first list
    assert not (tmp_path / "hook-ran").exists() and not list(settings.clone.glob(".git/hooks/*"))


def test_an_odd_commit_ends_no_fetch_of_who_checks_all_objects(
    settings: Settings, developer: Path, habits: Path
) -> None:
    """Anybody can push one, and each fetch of the clone would end there."""
    (developer / "odd").write_text(f"tree {git(developer, 'rev-parse', 'HEAD^{tree}')}\nauthor e\ncommitter e\n\nx\n")
    odd = git(developer, "hash-object", "-t", "commit", "--literally", "-w", "odd")
    workspace.prepare_origin(Git(Path(settings.origin)))
    Git(developer, settings.origin).run("push", "--quiet", settings.origin, f"{odd}:refs/heads/odd")
    with habits.open("a") as file:
        file.write("[fetch]\nfsckObjects = true\n[transfer]\nfsckObjects = true\n[receive]\nfsckObjects = true\n")
    assert workspace.ensure_clone(settings).rev_parse("refs/remotes/origin/odd") == odd
    assert ledger.append(settings, DRAFT).sequence == 2


def test_variables_that_choose_another_form_of_repository_change_nothing(
    settings: Settings, developer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(developer, "rev-parse", "HEAD")
    for name, value in (
        ("GIT_DEFAULT_HASH", "sha256"),
        ("GIT_DEFAULT_REF_FORMAT", "reftable"),
        ("GIT_REPLACE_REF_BASE", "refs/heads/"),
        ("GIT_ICASE_PATHSPECS", "1"),
        ("GIT_LITERAL_PATHSPECS", "1"),
    ):
        monkeypatch.setenv(name, value)
    assert workspace.ensure_clone(settings).rev_parse("refs/remotes/origin/main") == head
    assert (settings.clone / ".git/HEAD").read_text().startswith("ref: refs/heads/")


def test_a_caller_in_another_repository_changes_nothing(
    settings: Settings, developer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook runs with variables that point git at its own repository."""
    for name, value in (("GIT_DIR", developer / ".git"), ("GIT_OBJECT_DIRECTORY", developer / ".git/objects")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "false")
    clone = workspace.ensure_clone(settings)
    assert clone.run("rev-parse", "--absolute-git-dir") == str(settings.clone / ".git")


def test_truncated_clones_push_to_an_origin_that_is_followed(
    settings: Settings, developer: Path, tmp_path: Path
) -> None:
    """CI's checkouts hold one commit, and what they push makes the origin itself a truncated one."""
    origin = Path(settings.origin)
    workspace.prepare_origin(Git(origin))
    workspace.ensure_clone(settings)
    (developer / "model.txt").write_text("second\n")
    git(developer, "commit", "--quiet", "--all", "-m", "second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{developer}", "cut")
    git(tmp_path / "cut", "push", "--quiet", str(origin), "HEAD:refs/heads/other")
    with workspace.worktree(settings, "other") as tree:
        assert (tree / "model.txt").read_text() == "second\n"
    cut = Settings(home=tmp_path / "of the cut one", origin=str(tmp_path / "cut"))
    with workspace.worktree(cut, "main") as tree:
        assert (tree / "model.txt").read_text() == "second\n"


def test_a_branch_named_assay_is_named_with_the_way_out(settings: Settings, developer: Path) -> None:
    git(developer, "push", "--quiet", "origin", "HEAD:refs/heads/assay")
    with pytest.raises(
        CheckoutError,
        match=r"^the origin has a branch 'assay', and beside it there can be no 'assay/ledger', which Assay writes\. "
        r"Give that branch another name: git push ORIGIN origin/assay:refs/heads/OTHER :refs/heads/assay$",
    ):
        ledger.append(settings, DRAFT)
    git(developer, "fetch", "--quiet")
    git(developer, "push", "--quiet", "origin", "origin/assay:refs/heads/other", ":refs/heads/assay")
    assert ledger.append(settings, DRAFT).sequence == 2  # after the first list


def test_a_home_that_was_moved_finds_its_origin(developer: Path, tmp_path: Path) -> None:
    before, now = Settings(home=tmp_path / "before"), Settings(home=tmp_path / "now")
    before.home.mkdir()
    shutil.copytree(tmp_path / "origin.git", before.home / "origin.git")
    ledger.append(before, DRAFT)
    before.home.rename(now.home)
    assert ledger.append(now, DRAFT).sequence == 3 and verify(now) == []
    with workspace.worktree(now, "main") as tree:
        assert (tree / "model.txt").read_text() == "first\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_an_origin_of_another_user_is_named_with_the_way_out(
    settings: Settings, developer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["chown", "-R", "12345", settings.origin], check=True)
    with pytest.raises(
        CheckoutError, match=r"belongs to another user, and git does not work there\. Run Assay as"
    ) as told:
        workspace.ensure_clone(settings)
    subprocess.run(str(told.value).rpartition(": ")[2], shell=True, check=True)
    workspace.ensure_clone(settings)


PATHS = ["a,b", "a#b", "a?b", "100%", "with blank", "Ümlaut", 'quo"te', "it's", 'a,b#c?d 100% "Ümlaut']


def test_any_path_of_a_home_holds_the_cache(dvc_developer: Path, tmp_path: Path) -> None:
    """A comma or a # in DVC's configuration ends a bare path, and the cache would be elsewhere, unseen."""
    for name in PATHS:
        dvc_settings.write(dvc_developer, tmp_path / name / "dvc-cache", tmp_path / name / "dvc-site")
        read = Config(str(dvc_developer / ".dvc"))
        assert read["cache"]["dir"] == str(tmp_path / name / "dvc-cache") == str(dvc._cache(dvc_developer))
        assert read["core"]["site_cache_dir"] == str(tmp_path / name / "dvc-site")
    rows = dvc_developer / "rows.csv"
    rows.write_text("1\n")
    dvc.add(dvc_developer, rows)
    assert len(list((tmp_path / PATHS[-1] / "dvc-cache/files/md5").rglob("*/*"))) == 1


def test_no_commit_chooses_a_filter_of_the_users_git_or_other_ends_of_lines(
    settings: Settings, developer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (developer / ".gitattributes").write_text("*.bin filter=own\n*.yaml text eol=crlf\n*.txt ident\n")
    content = {"f.bin": b"pointer\n", "x.yaml": b"a: 1\n", "note.txt": b"$Id$\n", "old.yaml": b"a: 1\r\n"}
    (developer / ".git/info").mkdir(exist_ok=True)
    (developer / ".git/info/attributes").write_text("* -text\n")
    for name, written in content.items():
        (developer / name).write_bytes(written)
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "files with attributes")
    git(developer, "push", "--quiet", "origin", "HEAD:main")
    ran = tmp_path / "ran"
    habits = tmp_path / "habits"
    habits.write_text(f'[filter "own"]\n\tsmudge = "touch {ran}; cat"\n\tclean = cat\n\trequired = true\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(habits))
    with workspace.worktree(settings, "main") as tree:
        assert {name: (tree / name).read_bytes() for name in content} == content
    assert not ran.exists()
