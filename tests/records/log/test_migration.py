"""Logs of earlier schemas, made here by their own SQL, open and go on; a log of a later one is refused."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import alembic.op
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from tasks.cli.app import main
from tasks.records.log import database as log_database
from tasks.records.log import migration
from tasks.records.log.predictions import PredictionLog, Window
from tasks.spec.errors import ConfigError, LogUnavailable
from tasks.spec.evidence import Finding
from tests.records.log.logs import ALL, report, rows

UNNUMBERED = Path(__file__).parent / "schemas"
"""The last schema without a revision, as the code of 2026-11-27 made it."""
BEFORE = """
CREATE TABLE predictions (seq {seq}, id VARCHAR(64) NOT NULL, model VARCHAR(40) NOT NULL, version VARCHAR(20) NOT NULL,
    time VARCHAR(40) NOT NULL, inputs TEXT NOT NULL, score FLOAT NOT NULL, decision BOOLEAN NOT NULL, UNIQUE (id));
CREATE INDEX predictions_of_a_model ON predictions (model, seq);
CREATE TABLE outcomes (seq {seq}, id VARCHAR(64) NOT NULL, label BOOLEAN NOT NULL, time VARCHAR(40) NOT NULL);
CREATE INDEX ix_outcomes_id ON outcomes (id);
CREATE TABLE windows (model VARCHAR(40) NOT NULL, number INTEGER NOT NULL, version VARCHAR(20) NOT NULL,
    first_seq BIGINT NOT NULL, last_seq BIGINT NOT NULL, rows INTEGER NOT NULL, passed_over BOOLEAN NOT NULL,
    PRIMARY KEY (model, number), UNIQUE (model, first_seq));
CREATE TABLE reports (model VARCHAR(40) NOT NULL, number INTEGER NOT NULL, report TEXT NOT NULL,
    PRIMARY KEY (model, number))
"""
FOUND = Finding(kind="data_drift", subject="x", value=0.2, limit=0.1, rows=10, alarm=True, sentence="It moved.")
TIME = "2026-01-01T00:00:00+00:00"
HEAD = migration.HEAD
NEXT = '''
"""A later release's script: one more column, filled for every row."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9001", "{head}"
def upgrade():
    op.add_column("predictions", sa.Column("region", sa.String(20)))
    op.execute("UPDATE predictions SET region = 'north'")
    {then}
'''


@contextmanager
def raw(url: str) -> Iterator[sa.Connection]:
    """The database without the log's own code."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _insert(connection: sa.Connection, table: str, **values: Any) -> None:
    names = ", ".join(f'"{n}"' for n in values)
    marks = ", ".join(f":{n}" for n in values)
    connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)


def _fill(connection: sa.Connection) -> None:
    """25 predictions, in columns that both old schemas have."""
    for n in range(25):
        inputs = json.dumps({"x": float(n), "kind": "a"})
        values = {"id": f"p-v1.0.0-{n}", "model": "care", "version": "v1.0.0", "time": TIME, "inputs": inputs}
        _insert(connection, "predictions", **values, score=0.25, decision=n % 2 == 0)


def write_before(url: str) -> None:
    """A log of the schema of 2026-11-25, without windows that wait and with labels of binary models only."""
    seq = "BIGSERIAL PRIMARY KEY" if url.startswith("postgresql") else "INTEGER PRIMARY KEY"
    with raw(url) as connection:
        for statement in BEFORE.format(seq=seq).split(";"):
            connection.execute(sa.text(statement))
        _fill(connection)
        for n, label in ((3, True), (4, False), (3, False)):
            _insert(connection, "outcomes", id=f"p-v1.0.0-{n}", label=label, time=TIME)
        for number in (1, 2):
            seqs = {"first_seq": number * 10 - 9, "last_seq": number * 10}
            _insert(
                connection, "windows", model="care", number=number, version="v1.0.0", **seqs, rows=10, passed_over=False
            )
        text = report(Window(1, "v1.0.0", 1, 10, 10), findings=(FOUND,)).model_dump_json()
        _insert(connection, "reports", model="care", number=1, report=text)


def write_unnumbered(url: str, leave_out: str = "\0") -> None:
    """A log as the code of 2026-11-27 wrote it, with something in every table."""
    kind = "postgresql" if url.startswith("postgresql") else "sqlite"
    statements = (UNNUMBERED / f"2026-11-27.{kind}.sql").read_text().split(";\n")
    about = {"id": "p-v1.0.0-3", "model": "care", "prediction": 4, "time": TIME}
    with raw(url) as connection:
        for statement in statements:
            if statement.strip() and leave_out not in statement:
                connection.execute(sa.text(statement))
        _fill(connection)
        _insert(connection, "outcomes", **about, label=True)
        _insert(connection, "overrides", **about, label=False, who="a clerk", why="knows the case")
        _insert(connection, "appeals", **about, claim="wrong", state="open", who="the applicant")
        _insert(connection, "reviews", **about, window=1, verdict="agree", who="an expert", note="")
        for number, waits in ((1, False), (2, True)):
            seqs = {
                "first_seq": number * 10 - 9,
                "last_seq": number * 10,
                "rows": 10,
                "passed_over": False,
                "waits": waits,
            }
            _insert(connection, "windows", model="care", number=number, version="v1.0.0", **seqs)
        text = report(Window(1, "v1.0.0", 1, 10, 10), findings=(FOUND,)).model_dump_json()
        facts = {"model": "care", "number": 1, "version": "v1.0.0", "last": "day 1", "rows": 10, "labelled": 0}
        _insert(connection, "reports", **facts, action="nothing", report=text)
        finding = {"kind": "data_drift", "subject": "x", "value": 0.2, "limit": 0.1, "alarm": True}
        _insert(connection, "findings", model="care", number=1, place=0, **finding)
        _insert(
            connection,
            "profiles",
            model="care",
            kind="silence",
            number=0,
            format=1,
            document='{"format":1,"silent":["outcomes"]}',
        )


def revision(url: str) -> list[str]:
    with raw(url) as connection:
        return list(connection.execute(sa.text("SELECT version_num FROM log_revision")).scalars())


def copies(url: str) -> list[Path]:
    return sorted(Path(url.removeprefix("sqlite:///")).parent.glob("*.before-*")) if url.startswith("sqlite") else []


def shape(url: str) -> dict[str, Any]:
    """Everything of a database's schema but the names that PostgreSQL invents."""
    with raw(url) as connection:
        numbered = {}
        if url.startswith("sqlite"):  # which writes a column that was added behind the constraints
            found = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
            numbered = {name: "AUTOINCREMENT" in sql for name, sql in found}
        inspector = sa.inspect(connection)
        return {
            name: (
                [(c["name"], str(c["type"]), c["nullable"], bool(c["default"])) for c in inspector.get_columns(name)],
                inspector.get_pk_constraint(name)["constrained_columns"],
                sorted(str(u["column_names"]) for u in inspector.get_unique_constraints(name)),
                sorted(
                    (i["name"], i["column_names"])
                    for i in inspector.get_indexes(name)
                    if "duplicates_constraint" not in i
                ),
                numbered.get(name),
            )
            for name in inspector.get_table_names()
            if name != "log_revision"
        }


def test_a_log_of_the_schema_before_opens_and_goes_on(log_url: str) -> None:
    write_before(log_url)
    log = PredictionLog(log_url)
    found = log.frame("care", 0, ALL)
    assert found["_id"].tolist() == [f"p-v1.0.0-{n}" for n in range(25)]
    assert found["_seq"].tolist() == list(range(1, 26))
    assert found["_decision"].tolist() == [n % 2 == 0 for n in range(25)] and found["_decision"].dtype == bool
    assert found["_label"].dropna().to_dict() == {3: 0.0, 4: 0.0}
    assert log.next_windows("care", 10, 5, 10) == [Window(2, "v1.0.0", 11, 20, 10)]
    assert [r.findings for r in log.reports("care")] == [(FOUND,)]
    assert log.series("care")[["window", "subject", "value"]].values.tolist() == [[1, "x", 0.2]]
    log.append(rows(5, prefix="q"))
    assert log.frame("care", 0, ALL)["_seq"].tolist() == list(range(1, 31))
    labels = [("p-v1.0.0-3", False), ("p-v1.0.0-4", True), ("q-v1.0.0-0", True)]
    assert log.outcomes("care", labels) == {"accepted": 1, "repeated": 1, "changed": 1, "unknown": 0}
    log.close()
    with raw(log_url) as connection:
        assert not [t for t in sa.inspect(connection).get_table_names() if t.endswith("_of_before")]
    assert revision(log_url) == [migration.HEAD]


def test_an_unnumbered_log_of_the_last_schema_is_adopted_as_it_is(log_url: str) -> None:
    write_unnumbered(log_url)
    before = shape(log_url)
    for _ in range(2):
        log = PredictionLog(log_url)
        assert len(log.frame("care", 0, ALL)) == 25 and log.count_labelled("care", 0) == 1
        assert log.tally("care") == {
            "overrides": {"other": 0, "same": 1},
            "appeals": {"open": 1, "upheld": 0, "rejected": 0},
            "reviews": {"agree": 1, "disagree": 0, "unsure": 0},
        }
        assert log.next_windows("care", 10, 5, 10) == [Window(2, "v1.0.0", 11, 20, 10)]
        assert [r.findings for r in log.reports("care")] == [(FOUND,)] and len(log.series("care")) == 1
        assert log.silent_feeds("care") == ["outcomes"]
        log.close()
    found = {name: table for name, table in shape(log_url).items() if not name.startswith("outbox")}
    there = {name: ([c for c in columns if c[0] != "sender"], *rest) for name, (columns, *rest) in found.items()}
    assert there == before and revision(log_url) == [HEAD] and copies(log_url) == []


def test_an_index_that_some_unnumbered_logs_lack_is_made(log_url: str) -> None:
    write_unnumbered(log_url, leave_out="INDEX outcomes_as_they_came")
    PredictionLog(log_url).close()
    with raw(log_url) as connection:
        names = {i["name"] for i in sa.inspect(connection).get_indexes("outcomes")}
    assert names == {"outcomes_in_order", "outcomes_as_they_came"}


def test_the_scripts_lead_to_the_tables_that_a_new_log_gets(
    log_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    other = (
        f"sqlite:///{tmp_path}/other.db" if log_url.startswith("sqlite") else request.getfixturevalue("new_postgres")()
    )
    PredictionLog(log_url).close()
    with raw(other) as connection:
        config = migration._config(connection)
        command.upgrade(config, "head")
    assert ScriptDirectory.from_config(config).get_heads() == [migration.HEAD]
    assert revision(log_url) == revision(other) == [migration.HEAD]
    assert shape(log_url) == shape(other) and len(shape(other)) >= 9


def test_a_migration_that_fails_leaves_the_log_as_it_was(log_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_before(log_url)
    before = shape(log_url)

    def full(name: str) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(alembic.op, "drop_table", full)  # the last step, when all rows were moved
        with pytest.raises(LogUnavailable, match="no space left"):
            PredictionLog(log_url)
    assert shape(log_url) == before
    with raw(log_url) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM predictions")).scalar() == 25
    log = PredictionLog(log_url)
    assert len(log.frame("care", 0, ALL)) == 25
    log.close()


def test_a_copy_is_made_before_rows_are_rewritten(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/predictions.db"
    write_before(url)
    before = shape(url)
    (tmp_path / "predictions.db").chmod(0o640)
    PredictionLog(url).close()
    (copy,) = copies(url)
    assert copy.name == f"predictions.db.before-{HEAD}" and copy.stat().st_mode & 0o777 == 0o640
    assert shape(f"sqlite:///{copy}") == before
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (25,)
    copy.replace(tmp_path / "predictions.db")  # the way back, and forward again
    log = PredictionLog(url)
    assert len(log.frame("care", 0, ALL)) == 25
    log.close()


def test_without_room_for_the_copy_nothing_is_changed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/predictions.db"
    write_before(url)
    before = shape(url)
    (tmp_path / f"predictions.db.before-{HEAD}").mkdir()  # so the copy cannot take its place
    with pytest.raises(LogUnavailable, match="cannot be written"):
        PredictionLog(url)
    assert shape(url) == before and not list(tmp_path.glob("*.part*"))


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Turns this code into that of a later release, whose script 9001 ends with a given statement."""

    def turn(then: str) -> None:
        folder = tmp_path / "migrations"
        (folder / "versions").mkdir(parents=True, exist_ok=True)
        for path in migration.SCRIPTS.rglob("*.py"):
            (folder / path.relative_to(migration.SCRIPTS)).write_text(path.read_text())
        (folder / "versions/r9001_regions.py").write_text(NEXT.format(then=then, head=HEAD))
        monkeypatch.setattr(migration, "SCRIPTS", folder)
        monkeypatch.setattr(migration, "HEAD", "9001")
        monkeypatch.setattr(log_database, "HEAD", "9001")

    return turn


@pytest.mark.parametrize("write", [write_before, write_unnumbered, lambda url: PredictionLog(url).close()])
def test_a_later_release_brings_every_log_forward(
    log_url: str, write: Callable[[str], None], later: Callable[[str], None]
) -> None:
    write(log_url)
    with raw(log_url) as connection:
        rows_there = connection.execute(sa.text("SELECT count(*) FROM predictions")).scalar()
    later("pass")
    for _ in range(2):
        PredictionLog(log_url).close()
    with raw(log_url) as connection:
        found = connection.execute(sa.text("SELECT count(*) FROM predictions WHERE region = 'north'")).scalar()
    assert found == rows_there and revision(log_url) == ["9001"]
    assert [c.name for c in copies(log_url)] == (["predictions.db.before-9001"] if log_url.startswith("sqlite") else [])


def test_a_later_release_that_fails_on_the_way_leaves_the_older_log(log_url: str, later: Callable[[str], None]) -> None:
    log = PredictionLog(log_url)
    log.append(rows(3))
    log.close()
    before = shape(log_url)
    later('op.execute("UPDATE no_such_table SET x = 1")')
    with pytest.raises(LogUnavailable, match="no_such_table"):
        PredictionLog(log_url)
    assert shape(log_url) == before and revision(log_url) == [HEAD]


def test_a_log_of_a_later_release_is_refused(
    log_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    PredictionLog(log_url).close()
    with raw(log_url) as connection:
        connection.execute(sa.text("UPDATE log_revision SET version_num = '0099'"))
    with pytest.raises(
        ConfigError, match=f"schema revision '0099', and this release of Assay knows revisions up to {HEAD}"
    ):
        PredictionLog(log_url)
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    monkeypatch.setenv("ASSAY_LOG_URL", log_url)
    monkeypatch.setattr(sys, "argv", ["assay", "replay", "care"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2 and "a newer release wrote it. Use that release" in capsys.readouterr().err
    assert revision(log_url) == ["0099"]


OPEN = """
import sys
from tasks.records.log.predictions import PredictionLog
sys.stdin.read(1)  # so that all begin together
log = PredictionLog(sys.argv[1])
print(len(log.frame("care", 0, 2**62)), len([m for m in sys.modules if m.split(".")[0] == "alembic"]))
log.close()
"""


def _open_together(url: str, count: int) -> list[tuple[int, int]]:
    """Rows that each process saw, and how many of alembic's modules it imported."""
    ready = [
        subprocess.Popen([sys.executable, "-c", OPEN, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for process in ready:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[0] for process in ready]
    assert all(process.returncode == 0 for process in ready)
    return [(int(a), int(b)) for a, b in (text.split() for text in said)]


def test_of_processes_that_open_an_old_log_together_one_migrates_it(log_url: str) -> None:
    write_before(log_url)
    assert [count for count, _ in _open_together(log_url, 3)] == [25] * 3
    assert revision(log_url) == [migration.HEAD]
    assert _open_together(log_url, 1) == [(25, 0)], "a log that needs no migration is opened without alembic"


def test_a_new_log_is_made_without_alembic(tmp_path: Path) -> None:
    assert _open_together(f"sqlite:///{tmp_path}/new.db", 2) == [(0, 0), (0, 0)]


def test_a_log_of_before_windows_were_kept_whole_keeps_its_reports_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "predictions.db"
    log = PredictionLog(f"sqlite:///{path}")
    log.append(rows(25))
    for window in log.next_windows("care", 10, 5, 10):
        log.save_report(report(window))
    log.close()
    with closing(sqlite3.connect(path)) as old:
        old.executescript(
            "DROP TABLE log_revision; DROP TABLE windows; DROP TABLE outbox;"
            "ALTER TABLE predictions DROP sender; ALTER TABLE outcomes DROP sender;"
            "ALTER TABLE overrides DROP sender; ALTER TABLE appeals DROP sender; ALTER TABLE reviews DROP sender;"
            "CREATE TABLE windows (model VARCHAR(40), number INTEGER, last_seq INTEGER);"
            "INSERT INTO windows VALUES ('care', 1, 10), ('care', 2, 20)"
        )
    log = PredictionLog(f"sqlite:///{path}")
    log.append(rows(5, prefix="q"))
    assert [(w.number, w.first_seq, w.last_seq) for w in log.next_windows("care", 10, 5, 10)] == [(3, 21, 30)]
    log.close()
