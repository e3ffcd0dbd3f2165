"""No test sees the developer's git config, home, or a running system."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.spec.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


LONGEST_FIRST = (
    "tests/flows/",
    "tests/stages/",
    "tests/scaffold/",
    "tests/test_checking",
    "tests/statistics/",
    "tests/science/windows/",
    "tests/serving/",
)
"""Folders whose files take longest, the whole system at their head."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: workers get whole files, and none should end alone on a long one."""
    ranks = {folder: rank for rank, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: next((r for f, r in ranks.items() if item.nodeid.startswith(f)), len(ranks)))


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """A dict is named by its argument, not by its content: addresses in it differ from process to process."""
    return argname if isinstance(val, dict) else None


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
    return subprocess.run(
        ["git", *identity, *arguments], cwd=path, check=True, capture_output=True, text=True
    ).stdout.strip()


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
def dvc_developer(developer: Path) -> Path:
    """The developer's clone, with DVC set up and not yet committed."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--force"], cwd=developer, check=True)
    return developer


@pytest.fixture
def settings(tmp_path: Path, developer: Path) -> Settings:
    # a system of the same process may have put its authority for timestamps into the environment
    return Settings(home=tmp_path / "home", origin=str(tmp_path / "origin.git"), timestamp_url="", timestamp_ca=None)


def _postgres_programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them off the PATH."""
    found = shutil.which("pg_config")
    told = (
        [Path(subprocess.run([found, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())]
        if found
        else []
    )
    on_path = [Path(program).resolve().parent for program in [shutil.which("initdb")] if program]
    folders = [*told, *on_path, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own on a free port, never run as root, and gone at the end."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here (initdb and pg_ctl); apt-get install postgresql")
    as_other: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="assay-postgres-"))  # pytest's own folders cannot be entered by another user
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no system user named postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_other = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*arguments: str) -> None:
        subprocess.run([*as_other, *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    run(str(programs / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "assay", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    try:
        run(
            str(programs / "pg_ctl"),
            "-D",
            str(folder / "data"),
            "-l",
            str(folder / "log"),
            "-o",
            options,
            "-w",
            "start",
        )
        yield f"postgresql://assay@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            [*as_other, str(programs / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "-w", "stop"],
            check=False,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty log, once in each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/predictions.db"
    return request.getfixturevalue("new_postgres")()


@pytest.fixture
def new_postgres(postgres: str) -> Callable[[], str]:
    """Makes an empty database and gives its URL."""

    def make() -> str:
        name = f"log_{uuid.uuid4().hex[:8]}"
        engine = sa.create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return postgres.removesuffix("postgres") + name

    return make
