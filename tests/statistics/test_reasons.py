"""A smaller version of docs/evidence/reasons.md, on the small world."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.serving.release import load_release
from tasks.spec.metrics import TargetKind
from tests.serving.door import lay, opened
from tests.serving.test_explaining import asked, people, world
from tests.stages.worlds import table
from tests.statistics.reasons import compared, fitted, generated, held, told


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_reasons_hold_for_generated_rows(tmp_path: Path, kind: TargetKind) -> None:
    with opened(lay(tmp_path, world(kind))) as door:
        release = load_release(door.paths.model)

        def ask(rows: Sequence[Mapping[str, Any]], explain: bool) -> list[dict[str, Any]]:
            return asked(door, [dict(row) for row in rows], **({"explain": True} if explain else {}))

        for rows in (generated(release, door.config, 300), people(200, seed=11)):
            found = held(ask, release, rows)
            assert found["reasons"] > 100 and found["hold by HTTP"] == 1 and found["name what may not change"] == 0
            assert found["hold by scikit-learn"] > 0.99 and float(found["largest error of the sum"]) < 1e-9


def test_the_principal_column_stays_when_rows_are_added(tmp_path: Path) -> None:
    with opened(lay(tmp_path, world("binary"), table(3000))) as door:
        rows = pd.read_parquet(door.paths.prepared / "train.parquet")
        more = pd.read_parquet(door.paths.prepared / "replay.parquet")
        asks = [json.loads(json.dumps(row)) for row in people(200, seed=12)]
        before = told(fitted(door.config, rows), asks)
        found = compared(before, told(fitted(door.config, pd.concat([rows, more], ignore_index=True)), asks))
        assert found["decision stays"] > 0.95 and found["principal column stays"] > 0.9
        other = compared(before, told(fitted(door.config, rows.iloc[::2].reset_index(drop=True)), asks))
        assert other["principal column stays"] < 1  # the comparison can tell two trainings apart
