"""Rows of a query: asked once, kept as a file that DVC tracks, and read like any other source."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
import yaml
from pyarrow import parquet

from tasks.cli.changes import take as snapshot
from tasks.spec.data_source import SqlSource
from tasks.spec.errors import ConfigError, UnreachableError
from tasks.spec.model import load_model
from tasks.stages.common import ModelPaths
from tasks.tables.sql import take_snapshot
from tests.stages import worlds
from tests.stages.worlds import NAME, document, table

KEPT = f"data/{NAME}/source/rows.parquet"


def source(url: str, query: str = "SELECT * FROM people ORDER BY id") -> SqlSource:
    return SqlSource(kind="sql", url=url, query=query, snapshot=KEPT)


def sqlite(root: Path) -> str:
    (root / "data").mkdir()
    with sqlite3.connect(root / "data/people.db") as database:
        database.execute("CREATE TABLE people (id INTEGER, plan TEXT, code INTEGER, pay REAL, mixed)")
        database.executemany(
            "INSERT INTO people VALUES (?, ?, ?, ?, ?)",
            [(1, "01", 1234561, 0.1, 1), (2, "NA", None, None, "a"), (3, None, 9007199254740993, 1e300, 2.5)],
        )
    return "sqlite:///data/people.db"


def test_sqlite_keeps_every_value(tmp_path: Path) -> None:
    assert take_snapshot(tmp_path, source(sqlite(tmp_path))) == 3
    kept = parquet.read_table(tmp_path / KEPT).to_pylist()
    assert kept == [
        {"id": 1, "plan": "01", "code": 1234561, "pay": 0.1, "mixed": "1"},
        {"id": 2, "plan": "NA", "code": None, "pay": None, "mixed": "a"},
        {"id": 3, "plan": None, "code": 9007199254740993, "pay": 1e300, "mixed": "2.5"},
    ]


def test_postgresql_keeps_decimals_dates_and_zones(tmp_path: Path, new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE people AS SELECT 1 AS id, 1234567890.10::numeric AS amount, date '2024-03-01' AS day, "
            "timestamptz '2024-03-01 10:00+01' AS at, true AS member, 'x%%y'::text AS note, 'b' AS note2"
        )
    engine.dispose()
    asked = "SELECT *, note LIKE 'x%' AS found, note2 AS note FROM people WHERE day::text = '2024-03-01'"
    by_variable = url.replace("assay@", "${WHO}:${DB_PASSWORD}@")
    assert take_snapshot(tmp_path, source(by_variable, asked), {"WHO": "assay", "DB_PASSWORD": "p@ss/word"}) == 1
    (row,) = parquet.read_table(tmp_path / KEPT).to_pylist()
    assert row.pop("at").isoformat() == "2024-03-01T09:00:00+00:00" and row.pop("day").isoformat() == "2024-03-01"
    assert row == {
        "id": 1, "amount": "1234567890.10", "member": True, "note": "x%y", "note2": "b", "found": True, "note.1": "b",
    }  # fmt: skip
    with pytest.raises(UnreachableError, match=r"does not answer: .*Check host, name and the variables of the URL"):
        take_snapshot(tmp_path, source("postgresql://assay@127.0.0.1:9/none"))


@pytest.mark.parametrize(
    ("url", "query", "says"),
    [
        ("sqlite:///data/none.db", "SELECT 1", r"there is no file .*none\.db\. Mend the path"),
        (
            "sqlite:///data/people.db",
            "SELECT * FROM folk",
            r"cannot be asked .*: no such table: folk\. Mend the query",
        ),
        ("sqlite:///data/people.db", "DELETE FROM people", r"attempt to write a readonly database"),
        ("sqlite:///data/people.db", "SELECT * FROM people WHERE id > 9", r"gives no row\. Mend the query"),
        ("sqlite:///data/people.db", "SELECT x'00ff' AS photo", r"gives bytes in column photo, which no cell can hold"),
        ("postgresql://u:${NONE_SUCH}@h/d", "SELECT 1", r"names NONE_SUCH, and no such variable is set"),
        ("nosuch://h/d", "SELECT 1", r"which SQLAlchemy cannot use"),
        ("nothing", "SELECT 1", r"which SQLAlchemy cannot use"),
    ],
)
def test_what_cannot_be_asked_is_said(tmp_path: Path, url: str, query: str, says: str) -> None:
    sqlite(tmp_path)
    with pytest.raises(ConfigError, match=says):
        take_snapshot(tmp_path, source(url, query), {})
    assert not (tmp_path / KEPT).exists()


def test_a_password_never_stands_in_the_config(tmp_path: Path) -> None:
    model = document("binary")
    model["data"]["source"] = source("sqlite://").model_dump() | {"url": "postgresql://reader:hunter2@host/db"}
    worlds.write(tmp_path, document("binary"), table(10))
    (tmp_path / f"deployments/models/{NAME}/model.yaml").write_text(yaml.safe_dump(model))
    with pytest.raises(ConfigError, match=r"url holds a password; write \$\{DB_PASSWORD\} in its place") as refused:
        load_model(tmp_path, NAME)
    assert "hunter2" not in str(refused.value)


def test_a_query_becomes_a_tracked_file_that_is_trained_on(dvc_developer: Path) -> None:
    model = document("binary")
    model["data"]["source"] = source("sqlite:///people.db").model_dump()
    rows = table(300)
    (dvc_developer / f"data/{NAME}/source").mkdir(parents=True)
    folder = dvc_developer / "deployments/models" / NAME
    folder.mkdir(parents=True)
    (dvc_developer / "deployments/models.yaml").write_text(f"models: [{NAME}]\n")
    (folder / "model.yaml").write_text(yaml.safe_dump(model))
    with sqlite3.connect(dvc_developer / "people.db") as database:
        rows.to_sql("people", database, index_label="id")
    found = snapshot(dvc_developer, NAME)
    assert found == {"file": KEPT, "pointer": f"{KEPT}.dvc", "rows": 300}
    assert (dvc_developer / f"{KEPT}.dvc").exists()
    (dvc_developer / "people.db").unlink()  # training reads the snapshot alone
    paths, config = ModelPaths(dvc_developer, NAME), load_model(dvc_developer, NAME)
    worlds.ingest(paths, config)
    ingested = pd.read_parquet(paths.ingested)
    pd.testing.assert_frame_equal(ingested, rows.astype({"hours": float}), check_dtype=False)
    with pytest.raises(ConfigError, match=r"^data.source of small is of kind file; only rows of kind sql"):
        (folder / "model.yaml").write_text(yaml.safe_dump(document("binary")))
        snapshot(dvc_developer, NAME)
