"""Boolean, date and datetime columns from a CSV file to a drift alarm; what people read of a date is a date."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.cli.rows_of_files import read_rows
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.records.pages.drawings import draw
from tasks.science.data.protected import protected_groups
from tasks.science.gates.perturbations import touched
from tasks.science.gates.slice_search import Condition, discretise
from tasks.science.models.estimators import build
from tasks.science.monitors.drift.findings import drift_findings
from tasks.science.monitors.drift.reference import fit_reference
from tasks.science.monitors.groupings.words import apart
from tasks.science.monitors.profiles.profile import profile
from tasks.science.rules.tools import fitting
from tasks.serving.release import Release, table
from tasks.serving.schema import RowSchema
from tasks.spec.base import validate
from tasks.spec.columns import decoded, to_table
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Plot, Point, Series
from tasks.spec.model import ModelConfig, load_model
from tasks.tables.bounds import check_bounds
from tasks.tables.typed import as_json, typed
from tests.conftest import ROOT
from tests.science.gates.test_run import examination
from tests.spec.test_columns import manifest


@dataclass(frozen=True)
class Case:
    declared: dict[str, Any]
    cells: tuple[str, ...]
    """As a file holds them, evenly frequent in the reference; the window holds the last one only."""
    table: tuple[Any, ...]
    json: tuple[Any, ...]
    says: str
    """What the drift finding says of the window."""


CASES = {
    "boolean": Case({}, ("no", "YES"), ("false", "true"), (False, True), "'true' in 90.0% of the rows"),
    "date": Case(
        {"minimum": "2020-01-01", "format": "%d.%m.%Y"},
        ("01.03.2024", "02.03.2024", "30.06.2024"),
        (19783.0, 19784.0, 19904.0),
        ("2024-03-01", "2024-03-02", "2024-06-30"),
        "its mean is 2024-06-30, 2024-04-",
    ),
    "datetime": Case(
        {"zone": "Europe/Berlin", "maximum": "2030-01-01T00:00"},
        ("2024-03-01T13:00", "2024-03-01T14:00:00.25", "2024-07-01 00:00"),
        (1709294400.0, 1709298000.25, 1719784800.0),
        ("2024-03-01T12:00:00+00:00", "2024-03-01T13:00:00.250000+00:00", "2024-06-30T22:00:00+00:00"),
        "its mean is 2024-06-30 22:00:00 UTC, 2024-04-",
    ),
}


GATES = [{"name": "floor", "kind": "floor", "metric": "roc_auc", "limit": 0.5}]


def config_with(kind: str, **changes: Any) -> ModelConfig:
    """The care model with one more feature ``at``."""
    raw = json.loads(load_model(ROOT, "care").model_dump_json())
    raw["data"]["columns"].append({"name": "at", "type": kind, "nullable": True, **CASES[kind].declared})
    raw["features"].append("at")
    return validate(raw | changes, ModelConfig, "model.yaml")


def source(config: ModelConfig, cells: tuple[str, ...], n: int = 600) -> pd.DataFrame:
    """A table as a CSV file gives it; every tenth ``at`` is missing."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {c.name: rng.integers(0, 2, n) + int(c.low or 0) for c in config.data.columns if c.name != "at"}
    )
    at = np.array(cells, dtype=object)[np.arange(n) % len(cells)]
    return rows.assign(at=pd.Series(np.where(np.arange(n) % 10 == 3, "", at), dtype="str"))


@pytest.mark.parametrize("kind", CASES)
def test_a_kind_passes_from_a_file_to_a_drift_alarm(kind: str, tmp_path: Path) -> None:
    case, config = CASES[kind], config_with(kind)
    raw = source(config, case.cells)
    rows = typed(config.data.columns, raw)
    of_cells = dict(zip(case.cells, case.table, strict=True))
    assert rows["at"].astype(object).where(rows["at"].notna(), None).tolist() == [of_cells.get(c) for c in raw["at"]]

    label = np.random.default_rng(1).random(len(rows)) < 0.5
    pipeline = build(config).fit(rows[list(config.features)], label)
    requests, values = as_json(config.inputs, rows), dict(zip(case.cells, case.json, strict=True))
    assert [r["at"] for r in requests] == [values.get(c) for c in raw["at"]]

    release = Release(manifest(config), pipeline)
    accepted, refused = RowSchema(release.manifest).check(requests)
    served = table(accepted, release.manifest)
    assert refused == [] and accepted == requests
    pd.testing.assert_frame_equal(served, rows[[c.name for c in config.inputs]])
    scores = release.score(served)
    assert scores.tolist() == pipeline.predict_proba(rows[list(config.features)])[:, 1].tolist()

    file = tmp_path / "rows.csv"
    raw[[c.name for c in config.inputs]].to_csv(file, index=False)
    assert [r["at"] for batch in read_rows(file, config) for r in batch] == [r["at"] for r in requests]

    log = PredictionLog(f"sqlite:///{tmp_path}/log.db")
    log.append([
        Prediction(f"p{i}", "care", "v1.0.0", "2026-11-01T00:00:00", row, score, score >= 0.5)
        for i, (row, score) in enumerate(zip(accepted, scores.tolist(), strict=True))
    ])  # fmt: skip
    logged = decoded(config.inputs, log.frame("care", 0, 2**62))
    log.close()
    pd.testing.assert_frame_equal(to_table(config.inputs, logged), served)

    reference = fit_reference(config, rows.assign(_score=scores), 1)
    counted = profile(reference.layout, logged)
    moved = typed(config.data.columns, source(config, case.cells[-1:])).assign(_score=scores)
    quiet, loud = (
        {(f.kind, f.subject): f for f in drift_findings(config, reference, window, {"at": 1.0}, 0.01)}
        for window in (counted, profile(reference.layout, moved))
    )
    assert not any(f.alarm for f in quiet.values() if f.subject == "at")
    assert loud["data_drift", "at"].alarm and case.says in loud["data_drift", "at"].sentence
    assert "at" not in [c.name for c in touched("unseen", list(config.inputs))]


def test_bands_of_dates_are_groups() -> None:
    protected = {"cohort": {"column": "at", "edges": ["2024-01-01", "2024-03-02", "2024-07-01"]}}
    config = config_with("date", protected=protected, gates=GATES)
    rows = typed(config.data.columns, source(config, CASES["date"].cells, 9))
    early, late = "2024-01-01 to 2024-03-02", "2024-03-02 to 2024-07-01"
    found = protected_groups(config, rows)["cohort"]
    assert found.astype(object).where(found.notna(), None).tolist() == [
        early,
        late,
        late,
        None,
        late,
        late,
        early,
        late,
        late,
    ]
    again = validate(json.loads(config.model_dump_json()), ModelConfig, "model.yaml")
    assert protected_groups(again, rows)["cohort"].equals(found)


@pytest.mark.parametrize("edges", [["2024-01-01", "x", "2025-01-01"], [1, 2, 3], ["2024-01-01", 2, 3]])
def test_bands_that_are_no_dates_are_refused(edges: list[Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"edges (of cohort have to be of its column's type, each a date such as|must be)"
    ):
        config_with("date", protected={"cohort": {"column": "at", "edges": edges}}, gates=GATES)


def test_what_people_read_of_a_date_is_a_date() -> None:
    config = config_with("date")
    kinds = {c.name: c.kind for c in config.inputs}
    days = np.arange(19783.0, 19783.0 + 400)
    codes = discretise(pd.DataFrame({"at": days}), kinds)
    assert codes.sentence((Condition(0, 1, 2),)) == "at 2024-05-06 to under 2024-09-17"
    inside, outside = (pd.DataFrame({"at": days[:100] + shift}) for shift in (0, 300))
    assert apart(config, inside, outside) == ("at at most 2024-05-29 (90% of it, 0% of the rest)",)
    points = tuple(Point(x=x, y=0.5) for x in days[::10])
    plot = Plot(
        title="t", kind="curve", x_label="at", x_type="date", y_label="score", series=(Series(name="s", points=points),)
    )
    shown = re.findall(r">(\d{4}-\d{2}-\d{2})<", str(draw(plot)))
    assert 2 <= len(shown) <= 4 and not re.search(r">19,?[0-9]{3}<", str(draw(plot)))


def test_a_rule_names_a_date() -> None:
    config = config_with("date")
    found = examination(rows=pd.DataFrame({"at": [19783.0] * 2000}), config=config)
    assert fitting("at", "2024-03-01", found) == 19783.0
    with pytest.raises(Exception, match=r"at is 2019-01-01; allowed: 2020-01-01 to any"):
        fitting("at", "2019-01-01", found)
    with pytest.raises(Exception, match=r"at is of type date, and 5 is no date such as 2024-03-01"):
        fitting("at", 5, found)


def test_a_date_beyond_its_bound_is_no_training_row() -> None:
    config = config_with("date")
    rows = typed(config.data.columns, source(config, ("31.12.2019", "01.03.2024"), 8))
    with pytest.raises(ConfigError) as error:
        check_bounds([config.column("at")], rows)
    assert "column at holds '2019-12-31' in row 1 and 3 other rows, and its minimum is 2020-01-01." in str(error.value)
