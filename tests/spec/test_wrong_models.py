"""Every file in ``wrong`` is a whole ``model.yaml`` with one mistake; its comment is the sentence that one gets."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tasks.spec.errors import ConfigError
from tasks.spec.gate import TARGET_KINDS
from tasks.spec.gates import GATE_KINDS
from tasks.spec.model import load_model
from tests.conftest import ROOT

WRONG = sorted((ROOT / "tests/spec/wrong").glob("*.yaml"))


@pytest.mark.parametrize("path", WRONG, ids=lambda p: p.stem)
def test_a_wrong_model_is_refused_with_the_mistake_and_what_is_allowed(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    expected = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    placed = tmp_path / "deployments/models" / yaml.safe_load(text)["name"] / "model.yaml"
    placed.parent.mkdir(parents=True)
    placed.write_text(text)
    (tmp_path / "deployments/models.yaml").write_text(f"models: [{placed.parent.name}]\n")
    with pytest.raises(ConfigError) as refused:
        load_model(tmp_path, placed.parent.name)
    assert str(refused.value) == f"{placed}: {expected}"


def test_every_gate_that_asks_something_is_refused_what_it_cannot_answer() -> None:
    """The folder holds a wrong file for each gate whose metric or measure depends on the target."""
    asking = {kind for kind, gate in GATE_KINDS.items() if gate.asks is not None}
    said = " ".join(path.read_text().split("\nname:")[0] for path in WRONG)
    assert {kind for kind in asking if f"gate {kind} names the {GATE_KINDS[kind].asks}" in said} == asking


def test_the_table_of_gates_is_what_the_gates_declare() -> None:
    """``docs/gates.md`` says of each kind what it takes; the table below is made from the declarations."""
    lines = ["| kind | mandatory from | " + " | ".join(TARGET_KINDS) + " |", "|---" * (2 + len(TARGET_KINDS)) + "|"]
    for kind, gate in GATE_KINDS.items():
        asked = [
            "no" if target not in gate.takes else ", ".join(gate.takes[target]) or "yes" for target in TARGET_KINDS
        ]
        named = [f"{gate.asks}: {allowed}" if gate.asks and allowed != "no" else allowed for allowed in asked]
        lines.append(f"| {kind} | {gate.needed_from or 'never'} | " + " | ".join(named) + " |")
    written = (ROOT / "docs/gates.md").read_text().splitlines()
    first = written.index(lines[0])
    assert written[first : first + len(lines) + 1] == [*lines, ""]
