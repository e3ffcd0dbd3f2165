"""What docs/log.md tells a reader to type works on a log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from tasks.records.log.predictions import Override, Prediction, PredictionLog
from tasks.spec.evidence import Finding
from tests.conftest import ROOT
from tests.records.log.logs import report

GUIDE = (ROOT / "docs/log.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Four predictions of income, two known, one of them corrected later, one overridden; a window with an alarm."""
    monkeypatch.setenv("ASSAY_LOG_URL", found := f"sqlite:///{tmp_path / 'predictions.db'}")
    log = PredictionLog(found)
    log.append(
        [
            Prediction(
                f"p{n}",
                "income",
                "v1.0.0",
                "2026-01-01T08:00:00+00:00",
                {"sex": "Female" if n % 2 else "Male"},
                0.5,
                n < 1,
            )
            for n in range(4)
        ]
    )
    log.outcomes("income", [("p0", True), ("p1", True)])
    log.outcomes("income", [("p1", False)])
    log.overrides("income", [Override("p3", True, "a clerk", "knows the case")])
    (window,) = log.next_windows("income", 4, 4, 1)
    log.save_report(
        report(
            window, "income", (Finding(kind="feed", subject="volume", value=1.0, rows=4, alarm=True, sentence="few"),)
        )
    )
    log.close()
    return found


def test_every_query_of_the_guide_gives_what_it_says(url: str) -> None:
    engine = sa.create_engine(url)
    accuracy, selected, overridden, alarms = (pd.read_sql(query, engine) for query in QUERIES)
    engine.dispose()
    assert accuracy.to_dict("records") == [{"version": "v1.0.0", "day": "2026-01-01", "known": 2, "accuracy": 1.0}]
    assert selected.set_index("sex")["selected"].to_dict() == {"Female": 0.0, "Male": 0.5}
    assert overridden[["who", "model_said", "person_said"]].to_numpy().tolist() == [["a clerk", 0, 1]]
    assert alarms[["window_number", "kind", "subject", "action"]].to_numpy().tolist() == [
        [1, "feed", "volume", "nothing"]
    ]


def test_what_the_guide_reads_with_pandas_is_there(url: str) -> None:
    (typed,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    there: dict[str, Any] = {}
    exec(typed, there)
    assert len(there["rows"]) == 4 and there["known"]["_label"].tolist() == [1.0, 0.0] and there["overridden"] == 1
    assert there["answered"]["overrides"] == {"other": 1, "same": 0} and there["series"]["subject"].tolist() == [
        "volume"
    ]
