"""Two networks of a real home side by side: layers, losses, what they did, and the older one made again."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.stages.worlds import NAME, table
from tests.told import CONFIG, SOURCE, home_of, model_yaml

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]
KINDS: dict[str, dict[str, Any]] = {
    "narrow": {"kind": "mlp", "network": {"layers": [8], "learning_rate": 0.01}},
    "wide": {"kind": "mlp", "network": {"layers": [16, 8], "learning_rate": 0.01}},
    "line": {"kind": "logistic_regression"},
}


def test_networks_are_compared_layer_by_layer_and_epoch_by_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    page = Path(os.environ.get("KEEP_PAGE", tmp_path / "page.html"))
    with home_of(tmp_path) as past:
        past.write(SOURCE, lambda _: table(1500).to_csv(index=False))
        commits = []
        for name, estimator in KINDS.items():
            past.write(CONFIG, model_yaml(partial(dict.update, estimator=estimator)))
            past.push(name)
            commits.append(past.train(name, end="examine" if name == "line" else "promote"))
        done = past.assay("diff", NAME, "v1.0.0", "v2.0.0", "--json", "--page", str(page))
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        text = past.assay("diff", NAME, "v1.0.0", "v2.0.0").stdout
        other = past.assay("diff", NAME, commits[2], "v1.0.0").stdout
        rebuilt = past.assay("rebuild", NAME, "v2.0.0", "--reuse", "--no-record", "--json")
    network = found["network"]
    assert [[layer["units"] for layer in side] for side in network["layers"]] == [[7, 8, 1], [7, 16, 8, 1]]
    assert network["changes"] == ["layer 1 added: 16 units, relu", "weights in all: 73 to 273"]
    for run in network["epochs"]:
        assert run["validation"][run["kept"] - 1] == min(run["validation"]) and run["by"] == "random"
    assert "  layers     layer 1 added: 16 units, relu\n             weights in all: 73 to 273\n" in text
    assert "estimator.network.layers: [8] to [16, 8]" in text and "hidden_layer_sizes" not in text
    assert f"  learned    v1.0.0: epoch {network['epochs'][0]['kept']} of" in text
    assert "  layers " not in other and "  learned    v1.0.0: epoch" in other
    html = page.read_text()
    assert "Layers of v1.0.0" in html and "Layers of v2.0.0" in html and "Loss by epoch" in html
    assert json.loads(rebuilt.stdout)[0]["outcome"] == "identical", rebuilt.stdout + rebuilt.stderr
    if "KEEP_PAGE" in os.environ:  # for whoever wants to look at it
        page.with_suffix(".txt").write_text(text)
