"""The stage on which the demo's acts are played: a developer's clone, clients of the service, and the Prefect API."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from tasks.cli import credentials
from tasks.cli.logins import own_server
from tasks.cli.prefect_api import PrefectApi
from tasks.cli.runs import succeeded
from tasks.cli.state import System
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.repository import dvc, workspace
from tasks.science.data.tables import LABEL, as_requests
from tasks.serving.keys import KeyFile
from tasks.spec.evidence import Verdict, WindowReport
from tasks.spec.ledger import Entry, EntryKind
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.settings import Settings

BATCH = 500
PATIENCE = 240.0


class StoryBroken(Exception):
    """An act did not come out as expected."""


def expect(condition: bool, otherwise: str) -> None:
    """The demo's assertion: it stays in force under ``python -O`` and says what was seen."""
    if not condition:
        raise StoryBroken(otherwise)


@dataclass
class Story:
    system: System
    settings: Settings
    clone: Path
    model: str = "income"
    replay: pd.DataFrame = field(default_factory=pd.DataFrame)
    sent: dict[str, bool] = field(default_factory=dict)
    """Labels of the predictions whose outcome has not been reported yet, by prediction id."""

    @property
    def prefect(self) -> PrefectApi:
        return own_server(self.settings, self.system.api_url)

    @property
    def config(self) -> ModelConfig:
        return load_model(self.clone, self.model)

    # -- the developer ------------------------------------------------------------------------------------------

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.clone, capture_output=True, text=True, check=False)
        expect(done.returncode == 0, f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
        return (done.stdout + done.stderr).strip()

    def edit_and_push(self, edit: Callable[[str], str], message: str) -> str:
        """Change the model's config in the developer's clone and push it to the main branch; gives the commit."""
        self.git("pull", "--quiet", "--rebase", "origin", self.settings.branch)
        path = self.clone / "deployments/models" / self.model / "model.yaml"
        before = path.read_text()
        after = edit(before)
        expect(after != before, f"the edit for {message!r} changed nothing")
        path.write_text(after)
        self.git("commit", "--quiet", "-am", message)
        self.git("push", "--quiet", "origin", f"HEAD:{self.settings.branch}")
        return self.git("rev-parse", "HEAD")

    # -- Prefect ------------------------------------------------------------------------------------------------

    def finished_training(self, chosen: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for the training run whose request fits, and give its final state."""
        run_id = self._until(lambda: self._find("train/training", chosen), "a training run")
        return self.prefect.wait(run_id)

    def finished_rollback(self) -> dict[str, Any]:
        return self.prefect.wait(
            self._until(lambda: self._find("roll-back/rollback", lambda request: True), "a rollback run")
        )

    def _find(self, deployment: str, chosen: Callable[[dict[str, Any]], bool]) -> str | None:
        runs = self.prefect.runs(deployment)
        return next((run["id"] for run in runs if chosen(run["parameters"]["request"])), None)

    @staticmethod
    def _until(look: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            time.sleep(0.5)
        raise StoryBroken(f"{what} did not start within {PATIENCE:.0f} s")

    def monitor(self) -> list[WindowReport]:
        """One monitoring run; gives every report so far."""
        request = {"model": self.model, "reason": "person", "actor": "demo"}
        state = self.prefect.wait(self.prefect.start("monitor/monitoring", request))
        expect(succeeded(state), f"monitoring ended {state['name']}: {state.get('message')}")
        return self.reports()

    # -- records ------------------------------------------------------------------------------------------------

    def reports(self) -> list[WindowReport]:
        log = PredictionLog(self.settings.log_database)
        try:
            return log.reports(self.model)
        finally:
            log.close()

    def champion(self) -> str:
        champion = Registry(self.settings).champion(self.model)
        return champion.tag if champion else "none"

    def ledger(self) -> list[Entry]:
        return ledger.entries(self.settings)

    def verdict(self, kind: EntryKind) -> Verdict:
        """The verdict behind the newest ledger entry of this kind."""
        entry = next(ledger.newest(self.settings, self.model, (kind,)), None)
        expect(entry is not None, f"the ledger holds no entry of kind {kind}")
        document = ledger.evidence(self.settings, str(entry and entry.evidence))
        return Verdict.model_validate(document["verdict"], strict=False)

    def load_replay(self) -> None:
        """The rows that DVC keeps for replay: never trained on, never examined on."""
        champion = Registry(self.settings).champion(self.model)
        expect(champion is not None, "there is no champion whose data could be replayed")
        with workspace.worktree(self.settings, champion.commit) as tree:  # type: ignore[union-attr]
            dvc.checkout(tree, f"prepare@{self.model}")
            rows = pd.read_parquet(tree / "data" / self.model / "prepared/replay.parquet")
        self.replay = rows.sample(frac=1, random_state=self.config.seed)

    def take(self, period: int, count: int) -> pd.DataFrame:
        """The next rows of one period; each row is sent once."""
        rows = self.replay[self.replay["year"] == period].head(count)
        expect(len(rows) == count, f"only {len(rows)} rows of {period} are left")
        self.replay = self.replay.drop(rows.index)
        return rows

    # -- clients of the service ---------------------------------------------------------------------------------

    def client(self, key: str = "") -> httpx.Client:
        """Of the service, with the key of the home's commands, or with another one."""
        made = credentials.client(self.settings, self.system.service_url, timeout=30)
        if key:
            made.headers["authorization"] = f"Bearer {key}"
        return made

    @cached_property
    def sources(self) -> list[str]:
        """A key for each source of labels that the model trusts: who reports what became of people did not ask."""
        keys = KeyFile(self.settings.access_folder)
        return [keys.add(name, ("outcomes",), (self.model,), days=1)[0] for name in self.config.labels.sources]

    def wait_for_service(self, version: str) -> None:
        def serving() -> bool:
            with self.client() as client:
                answer = client.get(f"/models/{self.model}")
            return answer.status_code == 200 and answer.json().get("version") == version

        self._until(serving, f"version {version} in the service")

    def send(self, rows: pd.DataFrame) -> float:
        """Ask the service about rows; remember their labels for later. Gives the share selected."""
        selected = 0
        with self.client() as client:
            for start in range(0, len(rows), BATCH):
                part = rows.iloc[start : start + BATCH]
                answer = client.post(f"/models/{self.model}/predict", json={"rows": as_requests(self.config, part)})
                expect(answer.status_code == 200, f"the service answered {answer.status_code}: {answer.text[:300]}")
                predictions = answer.json()["predictions"]
                selected += sum(bool(p["decision"]) for p in predictions)
                labels = part[LABEL].tolist()
                self.sent.update({p["id"]: bool(y) for p, y in zip(predictions, labels, strict=True)})
        return selected / len(rows)

    def send_outcomes(self) -> int:
        """Report the outcome of every prediction that has none; the sources take turns."""
        outcomes = [{"id": key, "label": label} for key, label in self.sent.items()]
        for number, key in enumerate(self.sources):
            mine = outcomes[number :: len(self.sources)]
            with self.client(key) as client:
                for start in range(0, len(mine), 2 * BATCH):
                    part = mine[start : start + 2 * BATCH]
                    answer = client.post(f"/models/{self.model}/outcomes", json={"outcomes": part})
                    expect(answer.status_code == 200, f"the service answered {answer.status_code}: {answer.text[:300]}")
        self.sent.clear()
        return len(outcomes)


class Load:
    """A client that asks one row after the other, and counts what went wrong and who answered."""

    def __init__(self, story: Story, rows: pd.DataFrame) -> None:
        self._bodies = as_requests(story.config, rows)
        self._story, self._url = story, f"/models/{story.model}/predict"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answered: dict[str, int] = {}
        self.failed: list[str] = []

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        with self._story.client() as client:
            for body in self._bodies:
                if self._stop.is_set():
                    return
                try:
                    answer = client.post(self._url, json={"row": body})
                    answer.raise_for_status()
                    version = answer.json()["version"]
                    self.answered[version] = self.answered.get(version, 0) + 1
                except httpx.HTTPError as error:
                    self.failed.append(str(error))
                self._stop.wait(0.05)
