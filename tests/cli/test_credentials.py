"""With which key commands ask the service, and what they say where it does not do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.cli import credentials
from tasks.cli.parts import service_health
from tasks.serving.keys import ROLES, KeyFile, public_id
from tasks.spec.errors import AssayError, ConfigError
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start, until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home, config = tmp_path_factory.mktemp("credentials"), load_model(ROOT, "care")
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    running = start(home, config)
    yield running
    running.process.kill()
    running.process.wait(timeout=10)


def assay(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments]
    known = os.environ | {"ASSAY_HOME": str(home)} | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=known, check=False, timeout=120)


def test_a_home_makes_its_key_once_and_anew_before_it_ends(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    credentials.ensure_own_key(settings)
    first = settings.own_key.read_text()
    assert settings.own_key.stat().st_mode & 0o777 == 0o600
    credentials.ensure_own_key(settings)
    (known,) = KeyFile(settings.access_folder).keys().values()
    assert settings.own_key.read_text() == first and known.roles == ROLES and known.models is None
    soon = (datetime.now(UTC) + timedelta(days=20)).isoformat(timespec="seconds")
    path = settings.access_folder / "keys.json"
    path.write_text(path.read_text().replace(known.expires, soon))
    credentials.ensure_own_key(settings)
    states = [key.state() for key in KeyFile(settings.access_folder).keys().values()]
    assert settings.own_key.read_text() != first and states == ["revoked", "holds"]
    KeyFile(settings.access_folder).revoke(str(credentials.own_id(settings)))
    credentials.ensure_own_key(settings)
    assert [key.state() for key in KeyFile(settings.access_folder).keys().values()] == ["revoked", "revoked", "holds"]
    assert Settings(home=tmp_path / "open", access="open").own_key.exists() is False


@pytest.mark.parametrize(
    "content", ["", "assay_x", "a b", "assay_000000000000_x y", "assay_000000000000_é", "Bearer x"]
)
def test_a_file_that_holds_no_key_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(ConfigError, match="holds no key; write one into it as 'assay keys add' showed it, alone"):
        credentials.headers(Settings(home=tmp_path, key_file=tmp_path / "key"))
    with pytest.raises(ConfigError, match=r"the key of ASSAY_KEY_FILE cannot be read from .* \(No such file"):
        credentials.headers(Settings(home=tmp_path, key_file=tmp_path / "none"))


def test_a_file_is_scored_with_the_key_of_a_file(service: Service, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f"{json.dumps(row)}\n" for row in service.rows(3)))
    key, elsewhere = tmp_path / "key", tmp_path / "home"
    made = service.key("predict", models=("care",))
    key.write_text(f"{made}\n")
    environment = {"ASSAY_SERVICE_URL": service.url, "ASSAY_KEY_FILE": str(key)}
    until(lambda: assay(elsewhere, "predict", "care", str(rows), **environment).returncode == 0, seconds=20)
    assert set(service.log()["_sender"]) == {public_id(made)}
    key.write_text(service.key("read"))
    refused = assay(elsewhere, "predict", "care", str(rows), **environment)
    assert refused.returncode == 1 and "needs the role predict. A key with it is made with: " in refused.stderr
    none = assay(elsewhere, "predict", "care", str(rows), ASSAY_SERVICE_URL=service.url)
    assert none.returncode == 1 and "no key was sent" in none.stderr and "Traceback" not in none.stderr
    link = assay(elsewhere, "login", **environment)
    assert link.returncode == 1 and "the service gives no link: key " in link.stderr
    key.write_text(service.key("read", "operate"))
    until(lambda: assay(elsewhere, "login", **environment).returncode == 0, seconds=20)
    said = assay(elsewhere, "login", "--json", **environment)
    assert json.loads(said.stdout)["link"].startswith(f"{service.url}/login/once?token=")


def test_status_says_that_the_homes_own_key_is_refused(service: Service) -> None:
    settings = Settings(home=service.home)
    credentials.ensure_own_key(settings)
    KeyFile(settings.access_folder).revoke(str(credentials.own_id(settings)))

    def refused() -> bool:
        try:
            service_health(settings, service.url)
        except AssayError as error:
            return f"refuses the key in {settings.own_key}: key " in str(error) and "was revoked at" in str(error)
        return False

    until(refused, seconds=5)
