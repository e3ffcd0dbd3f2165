"""No test sees the developer's git config, home, or a running system."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tasks.spec.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("ASSAY_HOME", "ASSAY_ORIGIN", "ASSAY_LOG_URL", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


def git(path: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(["git", *identity, *arguments], cwd=path, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def developer(tmp_path: Path) -> Path:
    """A developer's clone of a bare origin, with one commit pushed."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch", "main", "origin.git")
    git(tmp_path, "clone", "--quiet", "origin.git", "developer")
    clone = tmp_path / "developer"
    git(clone, "checkout", "--quiet", "-B", "main")
    (clone / "model.txt").write_text("first\n")
    (clone / ".dvc").mkdir()
    (clone / ".dvc/.gitignore").write_text("/config.local\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "first")
    git(clone, "push", "--quiet", "origin", "main")
    return clone


@pytest.fixture
def settings(tmp_path: Path, developer: Path) -> Settings:
    return Settings(home=tmp_path / "home", origin=str(tmp_path / "origin.git"))
