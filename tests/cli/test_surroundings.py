"""Commands in surroundings that were set up for something else: each works, or says the way out in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.records.registry import ledger
from tasks.spec.settings import Settings
from tests.cli.test_clock import appoint
from tests.cli.test_status import DRAFT, parts, stopped_home
from tests.cli.test_system import assay
from tests.conftest import git
from tests.keys import key
from tests.records.repository.test_user_config import habits

__all__ = ["habits"]

PROXIES = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
}
ODD = 'a,b#c?d 100% "Ümlaut'


@pytest.fixture
def home(tmp_path: Path, developer: Path) -> Path:
    return stopped_home(tmp_path)


def test_odd_paths_proxies_and_a_users_hooks_change_no_command(
    home: Path, developer: Path, habits: Path, tmp_path: Path
) -> None:
    """All at once: an entry is written, the record holds, and the home comes back from its backup elsewhere."""
    odd, file = tmp_path / ODD, tmp_path / f"{ODD}.tar"
    home.rename(odd)
    key(tmp_path, "ann")
    appoint(odd, tmp_path, "ann", **PROXIES)
    assert assay(odd, "ledger", "--verify", **PROXIES).returncode == 0
    assert assay(odd, "status", **PROXIES).returncode == 0
    assert assay(odd, "backup", str(file), **PROXIES).returncode == 0
    now = tmp_path / f"now {ODD}"
    done = assay(now, "restore", str(file), **PROXIES)
    assert done.returncode == 0, done.stderr
    assert ledger.entries(Settings(home=now)) == ledger.entries(Settings(home=odd))
    assert parts(now)[0] == 0 and not (tmp_path / "hook-ran").exists()
    assert {p.name for p in tmp_path.iterdir() if "a,b" in p.name} == {ODD, f"{ODD}.tar", f"now {ODD}"}


def test_a_branch_named_assay_is_told_by_status_and_by_who_writes_and_the_way_out_leads_out(
    tmp_path: Path, developer: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "origin.git").rename(home / "origin.git")
    git(developer, "remote", "set-url", "origin", str(home / "origin.git"))
    git(developer, "push", "--quiet", "origin", "HEAD:refs/heads/assay")
    code, found = parts(home)
    assert code == 1 and found["clone"]["says"] == (
        "the origin has a branch 'assay', beside which there can be no 'assay/ledger'"
    )
    way = found["clone"]["fix"]
    assert way == "git push ORIGIN origin/assay:refs/heads/OTHER :refs/heads/assay"
    git(developer, "fetch", "--quiet")
    git(developer, *way.replace("ORIGIN", "origin").replace("OTHER", "other").split()[1:])
    key(tmp_path, "ann")
    ledger.append(Settings(home=home), DRAFT)
    assert parts(home)[1]["clone"]["state"] == "well" and assay(home, "ledger", "--verify").returncode == 0


def test_a_truncated_clone_of_the_home_is_completed(home: Path, tmp_path: Path) -> None:
    settings = Settings(home=home)
    for _ in range(3):
        ledger.append(settings, DRAFT)
    count = len(ledger.entries(settings))
    shutil.rmtree(settings.clone)
    how = ["--quiet", "--no-checkout", "--depth=1", "--no-single-branch"]
    subprocess.run(["git", "clone", *how, f"file://{home}/origin.git", settings.clone], check=True)
    done = assay(home, "ledger", "--verify", "--whole")
    assert done.returncode == 0, done.stdout + done.stderr
    code, found = parts(home)
    assert code == 0 and found["ledger"]["says"] == f"{count} entries" and ", truncated:" not in found["clone"]["says"]


def test_a_second_home_on_one_origin_reads_all_and_writes_once_its_examiner_is_listed(
    home: Path, tmp_path: Path
) -> None:
    origin, second = str(home / "origin.git"), tmp_path / "second"
    key(tmp_path, "ann")
    appoint(home, tmp_path, "ann")
    assert assay(second, "ledger", "--verify", ASSAY_ORIGIN=origin).returncode == 0
    path = tmp_path / "list.json"
    path.unlink()
    assert assay(second, "policy", "--draft", str(path), ASSAY_ORIGIN=origin).returncode == 0
    refused = assay(second, "policy", "--enter", str(path), ASSAY_ORIGIN=origin)
    assert refused.returncode != 0 and len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert refused.stderr.startswith("error: ")
    listed = json.loads(assay(home, "policy", "--json").stdout)
    assert listed == json.loads(assay(second, "policy", "--json", ASSAY_ORIGIN=origin).stdout)
    assert assay(home, "ledger", "--verify").returncode == 0
