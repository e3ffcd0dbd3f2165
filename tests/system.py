"""A real system for tests from outside: origin, hook, Prefect server, worker, service; every process is audited."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.cli import system as local
from tasks.cli.logins import login, own_server
from tasks.cli.prefect_api import PrefectApi
from tasks.cli.state import System, state
from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.repository import dvc, workspace
from tasks.spec.ledger import Entry
from tasks.spec.settings import Settings
from tests import asking
from tests.conftest import ROOT
from tests.keys import public

AUDIT = Path(__file__).parent / "flows/audit"
MODEL = "deployments/models/care/model.yaml"


@dataclass
class Running:
    """The running system, a developer's clone of its origin, and two people with keys."""

    settings: Settings
    system: System
    folder: Path
    outbound: Path
    said: str = ""
    appointed: dict[str, Path] = field(default_factory=dict)
    """Approvers of the list in force, and their keys."""

    @property
    def clone(self) -> Path:
        return self.folder / "developer"

    @property
    def api(self) -> PrefectApi:
        return own_server(self.settings, self.system.api_url)

    @property
    def login(self) -> tuple[str, str]:
        """What Prefect's server asks for, as somebody who has it writes into its UI."""
        name, _, password = login(self.settings).partition(":")
        return name, password

    def git(self, *arguments: str) -> str:
        """Run git as the developer; gives what it printed, remote lines of the hook included."""
        done = subprocess.run(["git", *arguments], cwd=self.clone, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return (done.stdout + done.stderr).strip()

    def push(self, message: str, **files: Callable[[str], str]) -> str:
        """Edit files (named by keyword in :data:`EDITS`), commit and push to main; gives the commit."""
        self.git("pull", "--quiet", "--rebase", "--autostash", "origin", "main")
        for name, edit in files.items():
            path = self.clone / EDITS[name]
            path.write_text(edit(path.read_text()))
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)
        self.said = self.git("push", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def finished(self, deployment: str, revision: str, seconds: float = 240) -> dict[str, Any]:
        """Wait for the run that a push of a commit started; gives its final state."""
        end = time.monotonic() + 60
        while True:
            runs = [r for r in self.api.runs(deployment) if r["parameters"]["request"]["revision"] == revision]
            if runs:
                return self.api.wait(runs[0]["id"], seconds=seconds)
            assert time.monotonic() < end, f"no run of {deployment} for {revision} came; the push said: {self.said}"
            time.sleep(0.3)

    def appoint(self, **keys: Path) -> None:
        """Put approvers on the list of who may sign, as people do: draft, edit, sign, enter."""
        path = self.folder / f"list-{len(self.appointed)}.json"
        assert self.assay("policy", "--draft", str(path)).returncode == 0
        document = json.loads(path.read_text())
        added = {f"{name}@example.org": key for name, key in keys.items()}
        document["policy"]["people"] += [
            {"name": name, "roles": ["approver"], "keys": [public(key)]} for name, key in added.items()
        ]
        path.write_text(json.dumps(document))
        for name, key in (self.appointed | added).items():
            done = self.assay("policy", "--sign", str(path), "--as", name, "--key", str(key))
            assert done.returncode == 0, done.stderr
        done = self.assay("policy", "--enter", str(path))
        assert done.returncode == 0, done.stderr
        self.appointed |= added

    def signed(self) -> list[str]:
        """The options with which somebody who may signs an order; none where nobody is appointed."""
        return [word for name, key in list(self.appointed.items())[:1] for word in ("--as", name, "--key", str(key))]

    def assay(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line as a person at this system would use it."""
        environment = os.environ | {"ASSAY_HOME": str(self.settings.home)}
        command = [sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=300
        )

    def up(self) -> None:
        """Start what does not run; its addresses may be others from now on."""
        done = self.assay("up")
        assert done.returncode == 0, done.stdout + done.stderr
        found = state(self.settings)
        assert found is not None
        self.system = found
        asking.know(found.service_url, self.settings.home)

    def until(self, check: Callable[[], bool], what: str, seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while not check():
            assert time.monotonic() < end, f"{what} did not come within {seconds} s"
            time.sleep(0.2)

    def serves(self, model: str) -> str | None:
        versions: dict[str, str] = asking.get(f"{self.system.service_url}/models").json()
        return versions.get(model)

    def champion(self) -> str | None:
        champion = Registry(self.settings).champion("care")
        return champion.tag if champion else None

    def logs(self, flow_run: str) -> str:
        return "\n".join(
            line["message"]
            for line in self.call("/logs/filter", {"logs": {"flow_run_id": {"any_": [flow_run]}}, "limit": 200})
        )

    def expectations(self) -> str:
        return (self.clone / EDITS["expectations"]).read_text()

    def ledger(self) -> list[Entry]:
        return ledger.entries(self.settings)

    def call(self, path: str, body: dict[str, Any]) -> Any:
        return self.api.call("POST", path, body)


EDITS = {
    "model": MODEL,
    "expectations": "deployments/models/care/expectations.yaml",
    "income": "deployments/models/income/model.yaml",
}


def set_value(key: str, value: str) -> Callable[[str], str]:
    """An edit of one ``key: value`` of a YAML text, wherever it stands."""

    def edit(text: str) -> str:
        changed, count = re.subn(rf"(?m)(\b{key}: )[^,}}\n]+", rf"\g<1>{value}", text, count=1)
        assert count == 1 and changed != text, f"{key} was not found, or is {value} already"
        return changed

    return edit


def replay_rows(running: Running, model: str) -> pd.DataFrame:
    """The champion's rows that were neither trained nor examined on; shape (rows, columns of the prepared table)."""
    champion = Registry(running.settings).champion(model)
    assert champion is not None
    with workspace.worktree(running.settings, champion.commit) as tree:
        dvc.checkout(tree, f"prepare@{model}")
        return pd.read_parquet(tree / f"data/{model}/prepared/replay.parquet")


@contextmanager
def running_system(folder: Path, **environment: str) -> Iterator[Running]:
    """Start a system on free ports with its home below ``folder``; stop it at the end.

    Args:
        folder: an empty folder; the system's home, the developer's clone and the audit's log are made in it.
        environment: variables of everything that is started meanwhile.
    """
    outbound = folder / "outbound.tsv"
    outbound.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("PYTHONPATH", str(AUDIT))
        patch.setenv("OUTBOUND_LOG", str(outbound))
        for name, value in environment.items():
            patch.setenv(name, value)
        for name in ("ASSAY_ORIGIN", "ASSAY_LOG_URL", "ASSAY_SERVICE_URL", "PREFECT_API_URL"):
            patch.delenv(name, raising=False)
        settings = Settings(home=folder / "home")
        with local.running(settings, server_port=0, service_port=0) as system:
            asking.know(system.service_url, settings.home)
            found = Running(settings, system, folder, outbound)
            subprocess.run(["git", "clone", "--quiet", system.origin, str(found.clone)], check=True)
            for key, value in (("user.name", "Dana"), ("user.email", "dana@example.org")):
                subprocess.run(["git", "config", key, value], cwd=found.clone, check=True)
            yield found


def audit_commands(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Audit the commands that a test starts as the system itself is audited."""
    monkeypatch.setenv("PYTHONPATH", str(AUDIT))
    monkeypatch.setenv("OUTBOUND_LOG", str(running.outbound))


def require_package_index() -> None:
    """Skip where no package index is reachable: ``ingest`` fetches from it, and without data nothing trains."""
    code = (
        "from pathlib import Path; from tasks.spec.model import load_model; from tasks.stages.ingest import _download; "
        "_download(load_model(Path.cwd(), 'care').data.source)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OUTBOUND_LOG"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        pytest.skip(f"no package index is reachable: {done.stderr.splitlines()[-1][:200]}")
