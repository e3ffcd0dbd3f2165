"""A running system refuses a candidate whose model card does not hold; the check alone: tests/test_card.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system import Running

pytestmark = pytest.mark.acceptance


def test_a_card_that_lacks_a_text_or_holds_a_changed_number_refuses_the_candidate(
    running: Running, released: dict[str, Any], tmp_path: Path
) -> None:
    def pushed(message: str, old: str, new: str) -> str:
        state = running.finished("train/training", running.push(message, model=lambda text: text.replace(old, new)))
        assert state["name"] == "Rejected", state["message"]
        return str(state["message"])

    contact, none = "contact: outpatient-planning@example.org", 'contact: ""'
    said = pushed("care: no contact", contact, none)
    assert "materiality asks for card.contact, and nobody has written it" in said
    done = running.assay("card", "care", "--json")
    file = tmp_path / "card.json"
    file.write_text(done.stdout)
    assert running.assay("card", "care", "--check", str(file)).returncode == 0, done.stderr
    text = next(one["text"] for one in json.loads(done.stdout)["statements"] if one["id"] == "gate.auc-floor.0")
    committed = running.clone / "deployments/models/care/card.json"
    committed.write_text(done.stdout.replace(text, text.replace("AUC on holdout: 0.", "AUC on holdout: 0.9")))
    said = pushed("care: a card that says more", none, contact)
    assert "card.json does not follow from the records: gate.auc-floor.0: its text is 'AUC on holdout: 0.9" in said
    committed.unlink()
    running.finished("train/training", running.push("care: without the card"))
