"""What a retraining that nobody asked for may do inside a signed envelope: the flow itself, on a small real model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.client.schemas.objects import State
from prefect.testing.utilities import prefect_test_harness

from flows.training import train
from tasks.cli.waivers import sign_envelope
from tasks.proof import verify
from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.serving.keys import KeyFile
from tasks.spec.evidence import Verdict
from tasks.spec.model import load_model
from tasks.spec.requests import TrainingRequest
from tests import asking
from tests.conftest import ROOT, git
from tests.keys import key, public
from tests.records.registry.test_trust import appoint
from tests.serving.running import start
from tests.stages.worlds import NAME, table
from tests.told import CONFIG, SOURCE, Past, home_of, model_yaml

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
SIGNED = f"deployments/models/{NAME}/envelope.yaml"
ENVELOPE = {
    "sources": ["office"],
    "rows": 200,
    "estimator": {"C": [0.5, 2.0]},
    "performance": [
        {"name": "still-good", "kind": "floor", "metric": "roc_auc", "limit": 0.8},
        {"name": "as-good", "kind": "comparison", "metric": "brier", "margin": 0.02},
    ],
}


def small(found: dict[str, Any]) -> None:
    """The gates that low materiality asks for, and one source of labels."""
    found["gates"] = [g for g in found["gates"] if g["kind"] in ("data", "floor", "comparison", "rules", "readiness")]
    found["labels"] = {"sources": ["office"]}
    found["monitoring"] = {"window_rows": 100, "minimum_rows": 50}


def edited(text: str, **change: Any) -> str:
    return yaml.safe_dump(yaml.safe_load(text) | change, sort_keys=False)


EXPECTED = """
ingested: [{type: expect_table_row_count_to_be_between, min_value: 1000}]
prepared: [{type: expect_column_values_to_be_between, column: hours, min_value: 0, max_value: 80}]
"""


class World(Past):
    """A small model that serves, and one source that says how its answers came out."""

    def begin(self) -> None:
        for name in ("ann", "jo"):
            key(self.folder, name)
        for path in [ROOT / "pyproject.toml", *(ROOT / "flows").glob("*.py")]:  # else its code is not the installed one
            (self.developer / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
            (self.developer / path.relative_to(ROOT)).write_text(path.read_text())
        self.write(f"deployments/models/{NAME}/expectations.yaml", lambda _: EXPECTED)
        self.write(CONFIG, lambda text: model_yaml(small)(model_yaml()(text)))
        self.write(SOURCE, lambda _: table(1500).to_csv(index=False))
        self.push("first")
        ledger.begin(self.settings)
        jo = {"name": "jo@example.org", "roles": ["approver"], "keys": [public(self.folder / "jo")]}
        appoint(self.settings, self.folder, jo, sign={"jo": self.folder / "jo"})

    def run(self, reason: str = "retrain", **more: Any) -> State:
        collect = reason == "retrain"
        found: State = train(
            TrainingRequest(model=NAME, reason=reason, actor="assay", collect=collect, **more), return_state=True
        )
        git(self.developer, "pull", "--quiet", "--rebase", "origin", "main")
        return found

    def label(self, rows: int, seed: int) -> None:
        """Rows that are asked about over HTTP, and their outcomes by the one source."""
        keys = KeyFile(self.settings.access_folder)
        desk, office = (keys.add(n, (r,))[0] for n, r in (("desk", "predict"), ("office", "outcomes")))
        service = start(self.settings.home, load_model(self.developer, NAME))
        try:
            frame = table(rows, seed)
            asked = {
                "rows": frame[["age", "hours", "job", "sex"]]
                .astype(object)
                .where(frame.notna(), None)
                .to_dict("records")
            }
            url = f"{service.url}/models/{NAME}"
            answer = httpx.post(f"{url}/predict", json=asked, headers=asking.bearer(desk), timeout=60)
            assert answer.status_code == 200, answer.text
            told = [{"id": one["id"], "label": bool(pay > 30)}
                    for one, pay in zip(answer.json()["predictions"], frame["pay"], strict=True)]  # fmt: skip
            done = httpx.post(f"{url}/outcomes", json={"outcomes": told}, headers=asking.bearer(office), timeout=60)
            assert done.json()["accepted"] == rows, done.text
        finally:
            service.process.terminate()
            service.process.wait(30)

    def sign(self, **terms: str) -> None:
        values = {"who": "jo@example.org", "reason": "the yearly update of pay", "expires": TOMORROW} | terms
        sign_envelope(self.settings, self.developer, NAME, values, self.folder / "jo")
        git(self.developer, "add", ".")
        git(self.developer, "-c", "user.email=jo@example.org", "commit", "--quiet", "-m", "sign")
        git(self.developer, "push", "--quiet", "origin", "HEAD:main")

    def verdict(self) -> Verdict:
        kinds = ("awaiting_signature", "promoted")
        entry = next(e for e in reversed(ledger.entries(self.settings, NAME)) if e.kind in kinds)
        document = ledger.evidence(self.settings, str(entry.evidence))["verdict"]
        return Verdict.model_validate(document, strict=False)

    @property
    def champion(self) -> str | None:
        found = Registry(self.settings).champion(NAME)
        return found.tag if found else None


@contextmanager
def world(folder: Path) -> Iterator[World]:
    with home_of(folder) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        with prefect_test_harness(server_startup_timeout=240):
            found = World(made.folder, made.settings)
            found.begin()
            yield found


pytestmark = pytest.mark.acceptance


def test_a_retraining_on_one_source_stays_inside_a_signed_envelope_or_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with world(tmp_path) as small:
        first = small.run("push")
        assert first.name == "Promoted", first.message
        small.label(150, seed=3)
        waits = small.run()
        assert waits.name == "Awaiting signature", waits.message
        assert (
            "nobody could contradict it; no envelope says what it may do without a person (envelope in m"
            in waits.message
        )
        small.write(CONFIG, lambda text: edited(text, envelope=ENVELOPE))
        git(small.developer, "add", ".")
        git(small.developer, "-c", "user.email=ann@example.org", "commit", "--quiet", "-m", "an envelope")
        git(small.developer, "push", "--quiet", "origin", "HEAD:main")
        small.sign()
        promoted = small.run()
        assert promoted.name == "Promoted" and promoted.message.endswith(
            "label-sources (insufficient evidence); it stayed inside the envelope that jo@example.org signed until "
            f"{TOMORROW}."
        ), promoted.message
        held = small.verdict().envelope
        assert held is not None and [(c.name, c.state) for c in held.checks] == [
            (name, "pass") for name in ("sources", "rows", "log", "anything else", "still-good", "as-good")
        ]
        assert {"assay", "ann@example.org"} <= set(held.authors) and "jo@example.org" not in held.authors
        pages = [page.read_text() for page in (small.settings.reports / NAME).glob("verdict-*.html")]
        assert sum("It stayed inside the envelope that jo@example.org signed" in page for page in pages) == 1
        small.label(260, seed=4)
        waits = small.run()
        assert waits.name == "Awaiting signature" and (
            "; it left the envelope that jo@example.org signed until " + TOMORROW + ", by rows: it adds 260 rows from "
            "production; allowed are 200. A second person signs with: assay approve" in waits.message
        ), waits.message
        assert small.champion == "v2.0.0"
        capsys.readouterr()
        assert verify.main([small.settings.origin, "--root", state(small.settings).root]) == 0
        assert f"champions: {NAME} v2.0.0" in capsys.readouterr().out
