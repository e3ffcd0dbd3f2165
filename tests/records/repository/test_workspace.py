"""The clone and its worktrees, beside a person's git config and an origin that is not there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tasks.records.registry.registry import Registry
from tasks.records.repository import git as git_module
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.errors import CheckoutError, UnreachableError
from tasks.spec.settings import Settings
from tests.candidates import commit_run, passed
from tests.conftest import git


@pytest.mark.parametrize("tracked", [False, True])
def test_our_own_cache_folder_is_never_committed(settings: Settings, developer: Path, tracked: bool) -> None:
    git(developer, "rm", "--quiet", ".dvc/.gitignore")
    if tracked:
        (developer / ".dvc").mkdir(exist_ok=True)
        (developer / ".dvc/config.local").write_text("[core]\n    autostage = true\n")
        git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "ignore nothing")
    git(developer, "push", "--quiet", "origin", "main")
    with workspace.worktree(settings, "main") as tree:
        (tree / "model.txt").write_text("second\n")
        (tree / "new.txt").write_text("new\n")
        commit = commit_run(settings, tree, "candidate", "assay/candidates/income/one")
    assert Git(settings.clone).run("diff", "--name-only", f"{commit}~", commit).splitlines() == ["model.txt", "new.txt"]


def test_a_person_who_signs_commits_and_tags_is_not_asked_for_a_key(settings: Settings) -> None:
    config = Path(os.environ["GIT_CONFIG_GLOBAL"])
    config.write_text("[commit]\n\tgpgsign = true\n[tag]\n\tgpgsign = true\n[gpg]\n\tprogram = false\n")
    with workspace.worktree(settings, "main") as tree:
        commit = commit_run(settings, tree, "candidate", "assay/candidates/income/one")
    assert (
        Registry(settings).promote("income", commit, passed("income", commit), "test", "person", None).tag == "v1.0.0"
    )


def test_an_origin_that_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    origin = Path(settings.origin)
    workspace.ensure_clone(settings)
    origin.rename(tmp_path / "elsewhere.git")
    for home in (settings.home, tmp_path / "fresh"):
        with pytest.raises(UnreachableError, match=rf"^the origin {origin} does not answer \(.*\)\. Set ASSAY_ORIGIN"):
            workspace.ensure_clone(Settings(home=home, origin=str(origin)))
    assert sorted(p.name for p in (tmp_path / "fresh").iterdir()) == ["clone.lock"]


def test_a_host_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(git_module, "PATIENCE", 1.0)
        with pytest.raises(
            UnreachableError,
            match=(
                rf"^the origin http://127.0.0.1:{port}/models.git does not answer \(no answer to git fetch within 1 "
                rf"s\)"
            ),
        ):
            workspace.ensure_clone(
                Settings(home=tmp_path / "one", origin=f"http://user:secret@127.0.0.1:{port}/models.git")
            )
    monkeypatch.setattr(git_module, "PATIENCE", 30.0)
    with pytest.raises(
        UnreachableError, match=rf"^the origin http://127.0.0.1:{port}/models.git does not answer \(unable to access"
    ) as caught:
        workspace.ensure_clone(
            Settings(home=tmp_path / "two", origin=f"http://user:secret@127.0.0.1:{port}/models.git")
        )
    assert "secret" not in str(caught.value)
    assert [p.name for home in ("one", "two") for p in (tmp_path / home).iterdir()] == ["clone.lock"] * 2


def test_a_hook_that_refuses_new_data_is_quoted(settings: Settings) -> None:
    hook = Path(settings.origin) / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'the main branch is frozen until Monday'\nexit 1\n")
    hook.chmod(0o755)
    with workspace.worktree(settings, "main") as tree:
        (tree / "rows.txt").write_text("rows\n")
        with pytest.raises(
            CheckoutError, match="a hook of the origin refused .* It says: the main branch is frozen until Monday"
        ):
            workspace.push_data(settings, tree, "data")


def test_an_unpushed_commit_is_lent_to_an_origin_on_this_machine_and_taken_back(
    settings: Settings, developer: Path, tmp_path: Path
) -> None:
    (developer / "model.txt").write_text("not pushed\n")
    git(developer, "commit", "--quiet", "--all", "-m", "not pushed")
    commit, origin = git(developer, "rev-parse", "HEAD"), Git(Path(settings.origin))
    branches = origin.run("for-each-ref", "refs/heads")
    with workspace.lent(settings, Git(developer), commit), workspace.worktree(settings, commit) as tree:
        assert (tree / "model.txt").read_text() == "not pushed\n"
        assert origin.run("for-each-ref", "--format=%(objectname)", workspace.UNPUSHED) == commit
    assert origin.run("for-each-ref", workspace.UNPUSHED) == ""
    assert origin.run("for-each-ref", "refs/heads") == branches
    with workspace.lent(settings, Git(developer), git(developer, "rev-parse", "HEAD~")):  # main holds it
        assert origin.run("for-each-ref", workspace.UNPUSHED) == ""
    with workspace.lent(settings.model_copy(update={"origin": "https://example.org/x.git"}), Git(developer), commit):
        assert origin.run("for-each-ref", workspace.UNPUSHED) == ""  # no other machine is given anything


def test_what_a_killed_command_has_lent_is_taken_back_at_the_next_start(settings: Settings, developer: Path) -> None:
    origin = Git(Path(settings.origin))
    origin.run("update-ref", f"{workspace.UNPUSHED}/left", git(developer, "rev-parse", "HEAD"))
    workspace.take_back(origin)
    assert origin.run("for-each-ref", workspace.UNPUSHED) == ""


def test_a_branch_that_is_called_like_a_commit_takes_its_place_nowhere(settings: Settings, developer: Path) -> None:
    """Whoever may push chooses names; what is asked for by its whole id is that commit."""
    honest = git(developer, "rev-parse", "HEAD")
    (developer / "model.txt").write_text("evil\n")
    git(developer, "commit", "--quiet", "-am", "evil")
    git(developer, "push", "--quiet", "origin", f"HEAD:refs/heads/{honest}", f"HEAD:refs/tags/{honest}")
    with workspace.worktree(settings, honest) as tree:
        assert Git(tree).rev_parse("HEAD") == honest and (tree / "model.txt").read_text() != "evil\n"
