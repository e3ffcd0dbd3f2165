"""Homes that older releases of this repository really made: brought forward in one step, and back again.

An older release is the code of an older commit, run in a worktree with today's environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.cli import system as local
from tasks.cli.homes import number_of
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry.verification import verify
from tasks.records.repository import dvc, workspace
from tasks.science.data.tables import as_requests
from tasks.spec.formats import HOME
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests import asking
from tests.conftest import ROOT, git
from tests.system import MODEL, require_package_index, set_value

pytestmark = pytest.mark.acceptance

RELEASES = {
    "8b819b7": "before the log's schema had a revision",
    "420159b": "before entries were signed",
    "35fd61b": "before a commit of the ledger held one entry",
}
MAIN = [sys.executable, "-c", "from tasks.cli.app import main; main()"]


@dataclass
class Release:
    """The commands of one release on one home, and a developer's clone of its origin."""

    code: Path
    home: Path

    def assay(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ASSAY_", "PREFECT_"))}
        environment = kept | {"ASSAY_HOME": str(self.home), "PYTHONPATH": str(self.code)}
        return subprocess.run(
            [*MAIN, *arguments], cwd=self.code, env=environment, capture_output=True, text=True, timeout=900
        )

    def done(self, *arguments: str) -> str:
        done = self.assay(*arguments)
        assert done.returncode == 0 and "Traceback" not in done.stderr, (arguments, done.stdout, done.stderr)
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.assay(*arguments, "--json")
        assert done.stdout and "Traceback" not in done.stderr, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def champion(self) -> tuple[str | None, str | None]:
        """What is champion of care, and what serves."""
        care = self.json("status")["models"]["care"]
        return care["champion"], care["serving"]

    def push(self, developer: Path, iterations: int, version: str) -> None:
        """Push a change of care, and wait until what the hook starts has promoted it."""
        path = developer / MODEL
        path.write_text(set_value("max_iter", str(iterations))(path.read_text()))
        git(developer, "commit", "--quiet", "--all", "-m", f"care: {iterations}")
        git(developer, "push", "--quiet", "origin", "HEAD:main")
        end = time.monotonic() + 400
        while self.champion() != (version, version):
            assert time.monotonic() < end, (self.champion(), self.assay("ledger").stdout)
            time.sleep(3)


@pytest.fixture(params=RELEASES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Release]:
    """A home of an older release whose system runs."""
    require_package_index()
    code = tmp_path / "older"
    made = subprocess.run(
        ["git", "worktree", "add", "--quiet", "--detach", str(code), request.param], cwd=ROOT, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"the commit {request.param} is not in this clone; it was cut off (git fetch --unshallow)")
    release = Release(code, tmp_path / "home")
    release.home.mkdir()
    try:
        release.done("up")
        yield release
    finally:
        release.assay("down")
        local.down(Settings(home=release.home))
        subprocess.run(["git", "worktree", "remove", "--force", str(code)], cwd=ROOT, check=False)


def developer_of(release: Release) -> Path:
    clone = release.home.parent / "developer"
    git(release.home.parent, "clone", "--quiet", str(release.home / "origin.git"), str(clone))
    return clone


def served(url: str, rows: list[dict[str, Any]]) -> list[str]:
    answer = asking.post(f"{url}/models/care/predict", json={"rows": rows}, timeout=120)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["predictions"]]


def replay_rows(release: Release) -> list[dict[str, Any]]:
    """Rows of care that were neither trained nor examined on, by today's reader."""
    import pandas as pd

    settings = Settings(home=release.home)
    with workspace.worktree(settings, "care@v1.0.0") as tree:
        dvc.checkout(tree, "prepare@care")
        table = pd.read_parquet(tree / "data/care/prepared/replay.parquet").head(1000)
    return as_requests(load_model(release.code, "care"), table)


def test_a_home_of_an_older_release_comes_forward_in_one_step_and_back_again(old: Release) -> None:
    developer = developer_of(old)
    old.push(developer, 81, "v1.0.0")
    old.push(developer, 83, "v2.0.0")
    url = old.json("status")["system"]["service_url"]
    rows = replay_rows(Release(ROOT, old.home))
    asking.know(url, old.home)
    ids = served(url, rows)
    outcomes = [{"id": key, "label": n % 3 == 0} for n, key in enumerate(ids[:600])]
    assert asking.post(f"{url}/models/care/outcomes", json={"outcomes": outcomes}, timeout=60).status_code == 200
    old.done("monitor", "care", "--no-act")
    before = entries_of(old)
    old.done("down")

    new, settings = Release(ROOT, old.home), Settings(home=old.home)
    assert number_of(old.home) < HOME.number
    done = new.assay("up")
    assert done.returncode == 0, done.stderr
    copy = old.home / f"backups/before-format-{HOME.number}.tar"
    assert (
        f"was upgraded from format 1 to {HOME.number}; the way back is: assay down; assay restore {copy}" in done.stderr
    )
    found = new.json("status")
    assert all(part["state"] == "well" for part in found["parts"]), found["parts"]
    assert new.champion() == ("v2.0.0", "v2.0.0") and found["record_problems"] == []
    new.done("ledger", "--verify", "--whole")
    assert verify(settings) == [] and entries_of(new)[: len(before)] == before
    with closing(PredictionLog(settings.log_database)) as log:
        assert list(log.frame("care", 0, 2**62)["_id"]) == ids and log.count_labelled("care", 0) == 600
        assert [report.window for report in log.reports("care")] == [1, 2]
        asking.know(found["system"]["service_url"], old.home)
        more = served(found["system"]["service_url"], rows)
        new.done("monitor", "care", "--no-act")
        assert [report.window for report in log.reports("care")] == [1, 2, 3, 4]
        assert list(log.frame("care", 0, 2**62)["_id"]) == ids + more
    new.done("rollback", "care", "--because", "a test")
    assert new.champion()[0] == "v1.0.0"
    new.done("ledger", "--verify", "--whole")
    found = new.json("status")
    assert all(part["state"] == "well" for part in found["parts"]), found["parts"]
    new.done("down")

    refused = old.assay("up")  # releases before homes had a number cannot know it; the log and the ledger are newer
    old.assay("down")
    print(refused.returncode, (refused.stdout + refused.stderr)[-500:])
    new.done("restore", str(copy), "--replace")
    old.done("up")
    assert old.champion() == ("v2.0.0", "v2.0.0") and entries_of(old) == before
    old.done("ledger", "--verify")
    back = old.json("status")["system"]["service_url"]
    asking.know(back, old.home)
    assert len(served(back, rows[:3])) == 3


def entries_of(release: Release) -> list[dict[str, Any]]:
    """Sequence, kind and digest of each entry, by the release's own command."""
    found = json.loads(release.done("ledger", "--json"))
    entries = found["entries"] if isinstance(found, dict) else found
    return [{key: entry.get(key) for key in ("sequence", "kind", "model", "version", "evidence")} for entry in entries]
