"""Each shipped model from its configuration to a served prediction, in one whole system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.records.registry import ledger
from tasks.science.data.tables import as_requests
from tasks.spec.model import load_model
from tasks.spec.models import model_names
from tests import asking
from tests.browser import page_measured
from tests.conftest import ROOT
from tests.system import Running, replay_rows

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("name", model_names(ROOT))
def test_a_shipped_model_is_examined_promoted_and_served(name: str, running: Running, tmp_path: Path) -> None:
    """``assay train`` on the commit as it stands; high materiality would wait for a signature, and none ships so."""
    config = load_model(ROOT, name)
    trained = running.assay("train", name, "--revision", "main", "--json")
    assert json.loads(trained.stdout)["state"] == "Promoted", trained.stdout + trained.stderr

    (promoted,) = [entry for entry in running.ledger() if entry.model == name and entry.kind == "promoted"]
    verdict = ledger.evidence(running.settings, promoted.evidence)["verdict"]
    states = {gate["gate"]: gate["state"] for gate in verdict["gates"]}
    assert set(states) >= {gate.name for gate in config.gates}
    assert {gate["gate"] for gate in verdict["gates"] if gate["mandatory"] and gate["state"] != "pass"} == set()

    pages = sorted((running.settings.reports / name).glob("verdict-*.html"))
    assert len(pages) == 1
    for width in (390, 1280):
        folder = tmp_path / str(width)
        folder.mkdir()
        measured = page_measured(pages[0].read_text(), width, folder)
        assert measured["scroll"] <= width and measured["over"] == [] and measured["cut"] == [], (width, measured)

    rows = replay_rows(running, name).head(20)
    running.until(lambda: running.serves(name) == "v1.0.0", f"{name} v1.0.0 in the service")
    answer = asking.post(
        f"{running.system.service_url}/models/{name}/predict", json={"rows": as_requests(config, rows)}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    assert [p["score"] is not None for p in answer.json()["predictions"]] == [True] * 20


def test_the_record_of_all_of_them_holds(running: Running) -> None:
    done = running.assay("ledger", "--verify")
    assert done.returncode == 0 and done.stdout.startswith("the ledger holds: chain, evidence, signatures and tags")
    assert {e.model for e in running.ledger() if e.kind == "promoted"} == set(model_names(ROOT))
