"""Logs that the schema before wrote, made here by its own SQL, open and go on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.records.log import migration as log_migration
from tasks.records.log.predictions import PredictionLog, Window
from tasks.spec.errors import LogUnavailable
from tasks.spec.evidence import Finding
from tests.records.log.logs import ALL, report, rows

BEFORE = """
CREATE TABLE predictions (seq {seq}, id VARCHAR(64) NOT NULL, model VARCHAR(40) NOT NULL, version VARCHAR(20) NOT NULL, time VARCHAR(40) NOT NULL,
    inputs TEXT NOT NULL, score FLOAT NOT NULL, decision BOOLEAN NOT NULL, UNIQUE (id));
CREATE INDEX predictions_of_a_model ON predictions (model, seq);
CREATE TABLE outcomes (seq {seq}, id VARCHAR(64) NOT NULL, label BOOLEAN NOT NULL, time VARCHAR(40) NOT NULL);
CREATE INDEX ix_outcomes_id ON outcomes (id);
CREATE TABLE windows (model VARCHAR(40) NOT NULL, number INTEGER NOT NULL, version VARCHAR(20) NOT NULL, first_seq BIGINT NOT NULL, last_seq BIGINT NOT NULL,
    rows INTEGER NOT NULL, passed_over BOOLEAN NOT NULL, PRIMARY KEY (model, number), UNIQUE (model, first_seq));
CREATE TABLE reports (model VARCHAR(40) NOT NULL, number INTEGER NOT NULL, report TEXT NOT NULL, PRIMARY KEY (model, number))
"""
FOUND = Finding(kind="data_drift", subject="x", value=0.2, limit=0.1, rows=10, alarm=True, sentence="It moved.")


@contextmanager
def raw(url: str) -> Iterator[sa.Connection]:
    """The database without the log's own code."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def write_before(url: str) -> None:
    seq = "BIGSERIAL PRIMARY KEY" if url.startswith("postgresql") else "INTEGER PRIMARY KEY"
    with raw(url) as connection:
        for statement in BEFORE.format(seq=seq).split(";"):
            connection.execute(sa.text(statement))
        for n in range(25):
            values = {"id": f"p-v1.0.0-{n}", "inputs": json.dumps({"x": float(n), "kind": "a"}), "decision": n % 2 == 0}
            connection.execute(
                sa.text(
                    "INSERT INTO predictions (id, model, version, time, inputs, score, decision) VALUES (:id, 'care', 'v1.0.0', '2026-01-01T00:00:00+00:00', :inputs, 0.25, :decision)"
                ),
                values,
            )
        for n, label in ((3, True), (4, False), (3, False)):
            connection.execute(
                sa.text("INSERT INTO outcomes (id, label, time) VALUES (:id, :label, '2026-01-02T00:00:00+00:00')"),
                {"id": f"p-v1.0.0-{n}", "label": label},
            )
        for number, passed in ((1, False), (2, False)):
            values = {"number": number, "first": number * 10 - 9, "last": number * 10, "passed": passed}
            connection.execute(
                sa.text("INSERT INTO windows VALUES ('care', :number, 'v1.0.0', :first, :last, 10, :passed)"), values
            )
        text = report(Window(1, "v1.0.0", 1, 10, 10), findings=(FOUND,)).model_dump_json()
        connection.execute(sa.text("INSERT INTO reports VALUES ('care', 1, :report)"), {"report": text})


def test_a_log_of_the_schema_before_opens_and_goes_on(log_url: str) -> None:
    write_before(log_url)
    log = PredictionLog(log_url)
    found = log.frame("care", 0, ALL)
    assert found["_id"].tolist() == [f"p-v1.0.0-{n}" for n in range(25)] and found["_seq"].tolist() == list(
        range(1, 26)
    )
    assert found["_decision"].tolist() == [n % 2 == 0 for n in range(25)] and found["_decision"].dtype == bool
    assert found["_label"].dropna().to_dict() == {3: 0.0, 4: 0.0}
    assert log.next_windows("care", 10, 5, 10) == [Window(2, "v1.0.0", 11, 20, 10)]
    assert [r.findings for r in log.reports("care")] == [(FOUND,)]
    assert log.series("care")[["window", "subject", "value"]].values.tolist() == [[1, "x", 0.2]]
    log.append(rows(5, prefix="q"))
    assert log.frame("care", 0, ALL)["_seq"].tolist() == list(range(1, 31))
    assert log.outcomes("care", [("p-v1.0.0-3", False), ("p-v1.0.0-4", True), ("q-v1.0.0-0", True)]) == {
        "accepted": 1,
        "repeated": 1,
        "changed": 1,
        "unknown": 0,
    }
    log.close()
    with raw(log_url) as connection:
        assert not [t for t in sa.inspect(connection).get_table_names() if t.endswith("_of_before")]


def test_a_migration_that_fails_leaves_the_log_as_it_was(log_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_before(log_url)

    def full(connection: sa.Connection) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(log_migration, "_windows", full)
        with pytest.raises(LogUnavailable, match="no space left"):
            PredictionLog(log_url)
    with raw(log_url) as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"predictions", "outcomes", "windows", "reports"}
        assert connection.execute(sa.text("SELECT count(*) FROM predictions")).scalar() == 25
    log = PredictionLog(log_url)
    assert len(log.frame("care", 0, ALL)) == 25
    log.close()


def test_a_log_of_before_windows_were_kept_whole_keeps_its_reports_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "predictions.db"
    log = PredictionLog(f"sqlite:///{path}")
    log.append(rows(25))
    for window in log.next_windows("care", 10, 5, 10):
        log.save_report(report(window))
    log.close()
    old = sqlite3.connect(path)
    old.executescript(
        "DROP TABLE windows; CREATE TABLE windows (model VARCHAR(40), number INTEGER, last_seq INTEGER); INSERT INTO windows VALUES ('care', 1, 10), ('care', 2, 20)"
    )
    old.close()
    log = PredictionLog(f"sqlite:///{path}")
    log.append(rows(5, prefix="q"))
    assert [(w.number, w.first_seq, w.last_seq) for w in log.next_windows("care", 10, 5, 10)] == [(3, 21, 30)]
    log.close()
