"""Labels that lie, reported to a running system with keys of its own: what retrains alone, and what waits for a
person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.science.data.tables import LABEL, as_requests
from tasks.serving.keys import KeyFile
from tasks.spec.evidence import Verdict
from tasks.spec.model import load_model
from tests import asking
from tests.conftest import ROOT
from tests.system import Running, replay_rows, require_package_index, running_system, set_value

pytestmark = pytest.mark.acceptance
HONEST, POISONED = 4000, 3000


def wider(text: str) -> str:
    """Gates on few rows of a group are decided by chance from one split to the next; what is tested here is not."""
    changed = text.replace("statistic: difference, limit: 0.25}", "statistic: difference, limit: 0.4}")
    assert changed != text
    return set_value("C", "0.5")(changed)


class Doors:
    """A system with ``income`` v1.0.0, its replay rows of 1994, and a key of each who asks or reports."""

    def __init__(self, running: Running) -> None:
        self.running = running
        commit = running.push("income: first release", income=wider)
        state = running.finished("train/training", commit)
        assert state["name"] == "Promoted", state["message"]
        running.until(lambda: running.serves("income") == "v1.0.0", "v1.0.0 in the service")
        self.config = load_model(ROOT, "income")
        rows = replay_rows(running, "income")
        self.rows = rows[rows["year"] == 94].sample(frac=1, random_state=1)
        keys = KeyFile(running.settings.access_folder)
        self.keys = {
            name: keys.add(name, (role,), ("income",))[0]
            for name, role in (("desk", "predict"), ("student", "outcomes"), *((s, "outcomes") for s in SOURCES))
        }

    def ask(self, count: int) -> tuple[list[str], pd.DataFrame]:
        """Rows that were not asked about before, by the desk: ids of the predictions, and the rows."""
        rows, self.rows = self.rows.head(count), self.rows.iloc[count:]
        assert len(rows) == count
        found: list[str] = []
        for start in range(0, count, 500):
            part = as_requests(self.config, rows.iloc[start : start + 500])
            found += [p["id"] for p in self._post("desk", "predict", {"rows": part})["predictions"]]
        return found, rows

    def report(self, who: str, labels: dict[str, bool]) -> None:
        outcomes = [{"id": one, "label": bool(label)} for one, label in labels.items()]
        for start in range(0, len(outcomes), 1000):
            self._post(who, "outcomes", {"outcomes": outcomes[start : start + 1000]})

    def retrain(self) -> dict[str, Any]:
        """What monitoring starts; gives the final state."""
        request = {"model": "income", "reason": "retrain", "actor": "assay", "revision": "main", "collect": True}
        return self.running.api.wait(self.running.api.start("train/training", request), seconds=400)

    def champion(self) -> str | None:
        found = Registry(self.running.settings).champion("income")
        return found.tag if found else None

    def gate(self, kind: Any) -> Any:
        entry = next(ledger.newest(self.running.settings, "income", (kind,)))
        evidence = ledger.evidence(self.running.settings, str(entry.evidence))
        verdict = Verdict.model_validate(evidence["verdict"], strict=False)
        return next(g for g in verdict.gates if g.gate == "label-sources")

    def _post(self, who: str, what: str, body: dict[str, Any]) -> Any:
        url = f"{self.running.system.service_url}/models/income/{what}"
        answer = httpx.post(url, json=body, headers=asking.bearer(self.keys[who]), timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()


SOURCES = ("tax office", "follow-up survey")


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    require_package_index()
    with running_system(tmp_path_factory.mktemp("labels")) as running:
        yield Doors(running)


def test_what_nobody_who_is_named_says_teaches_nothing(doors: Doors) -> None:
    ids, rows = doors.ask(200)
    doors.report("student", dict.fromkeys(ids, True))
    state = doors.retrain()
    assert state["type"] == "FAILED" and state["message"] == (
        "no labelled row of income came after row 0 of the log that may teach: 200 rows labelled by nobody whom "
        "labels.sources names. Outcomes came from student (200); labels.sources allows: tax office, "
        "follow-up survey."
    )
    assert doors.champion() == "v1.0.0"


def test_two_sources_that_bear_each_other_out_retrain_alone(doors: Doors) -> None:
    ids, rows = doors.ask(HONEST)
    truth = dict(zip(ids, rows[LABEL].astype(bool), strict=True))
    for number, source in enumerate(SOURCES):
        doors.report(source, dict(list(truth.items())[number::2]))
    state = doors.retrain()
    assert state["name"] == "Promoted", state["message"]
    gate = doors.gate("promoted")
    assert gate.state == "pass" and gate.reason.startswith(
        f"{HONEST:,} rows from production, labelled by follow-up survey 50%, tax office 50%; no source stands out"
    )
    running = doors.running
    running.git("fetch", "--quiet", "origin")
    said = running.git("log", "-1", "--format=%B", "--grep", "collected in production", "origin/main")
    each = HONEST // 2
    assert said.splitlines()[2] == (
        f"labelled by follow-up survey {each:,}, tax office {each:,}; left out: 200 labelled by nobody whom "
        "labels.sources names"
    )


def test_a_stolen_key_does_not_retrain_alone(doors: Doors) -> None:
    """A third of what one source says is wrong, all one way: nobody is told a secret, and the champion stays."""
    running, rng = doors.running, np.random.default_rng(2)
    ids, rows = doors.ask(POISONED)
    truth = rows[LABEL].to_numpy(bool)
    said = truth | ((np.arange(POISONED) % 2 == 0) & (rng.random(POISONED) < 0.5))
    told = dict(zip(ids, said, strict=True))
    for number, source in enumerate(SOURCES):
        doors.report(source, dict(list(told.items())[number::2]))
    state = doors.retrain()
    if state["name"] not in ("Rejected", "Insufficient evidence"):  # where no other gate saw it, too
        assert state["name"] == "Awaiting signature", state["message"]
        assert "It waits, since label-sources did not pass: " in state["message"]
        assert "and the others label like rows differently" in state["message"]
    assert doors.champion() == "v2.0.0" and running.serves("income") == "v2.0.0"
    kind = "awaiting_signature" if state["name"] == "Awaiting signature" else "rejected"
    assert doors.gate(kind).state == "fail"
