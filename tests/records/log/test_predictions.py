"""The prediction log on real SQLite and real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.records.log.predictions import PredictionLog, Window
from tasks.records.log.tables import PREDICTIONS
from tasks.spec.errors import ConfigError, LogUnavailable
from tests.conftest import ROOT
from tests.records.log.logs import ALL, report, rows


@pytest.fixture
def log(log_url: str) -> Iterator[PredictionLog]:
    opened = PredictionLog(log_url)
    yield opened
    opened.close()


def test_what_was_appended_is_read_in_order(log: PredictionLog, log_url: str) -> None:
    log.append(rows(3))
    other = PredictionLog(log_url)
    other.append(rows(2, "v2.0.0"))
    found = log.frame("care", 0, ALL)
    other.close()
    assert found["_id"].tolist() == [r.id for r in rows(3) + rows(2, "v2.0.0")]
    assert found["x"].tolist() == [0.0, 1.0, 2.0, 0.0, 1.0] and found["_label"].isna().all()


def test_a_repeated_id_refuses_its_request_alone(log: PredictionLog) -> None:
    log.append(rows(2))
    with pytest.raises(LogUnavailable):
        log.append(rows(2))
    log.append(rows(2, prefix="q"))
    assert len(log.frame("care", 0, ALL)) == 4


def test_numbers_go_beyond_32_bits(log: PredictionLog) -> None:
    with log.database.writing() as connection:
        connection.execute(
            sa.insert(PREDICTIONS).values(
                seq=2**33, id="far", model="care", version="v1.0.0", time="", inputs="{}", score=0.5, decision=True
            )
        )
    assert log.frame("care", 2**32, ALL)["_seq"].tolist() == [2**33]


def test_a_reader_opens_the_log_while_somebody_writes(log: PredictionLog, log_url: str) -> None:
    log.append(rows(2))
    with log.database.writing():
        other = PredictionLog(log_url)
        assert len(other.frame("care", 0, ALL)) == 2
        other.close()


def test_append_after_close_is_refused_and_does_not_hang(log_url: str) -> None:
    log = PredictionLog(log_url)
    log.append(rows(1))
    log.close()
    log.close()
    told: list[str] = []

    def late() -> None:
        for call in (lambda: log.append(rows(1, prefix="late")), lambda: log.outcomes("care", [("p-v1.0.0-0", True)])):
            try:
                call()
            except LogUnavailable as error:
                told.append(str(error))

    thread = threading.Thread(target=late, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert len(told) == 2 and all("is closed" in t for t in told)


def test_inputs_that_are_no_json_are_refused_and_the_log_goes_on(log: PredictionLog) -> None:
    with pytest.raises(TypeError):
        log.append(rows(1, x={1, 2}))
    log.append(rows(1))
    assert len(log.frame("care", 0, ALL)) == 1


def test_outcomes_are_counted_once_each_and_the_last_to_arrive_counts(log: PredictionLog) -> None:
    log.append(rows(3))
    log.append(rows(1, model="income", prefix="i"))
    a, b = "p-v1.0.0-0", "p-v1.0.0-1"
    assert log.outcomes("care", [(a, True), (b, False), ("nobody", True), ("i-v1.0.0-0", True)]) == {
        "accepted": 2,
        "repeated": 0,
        "changed": 0,
        "unknown": 2,
    }
    assert log.outcomes("care", [(a, True), (b, True), (b, True), (b, False)]) == {
        "accepted": 0,
        "repeated": 2,
        "changed": 2,
        "unknown": 0,
    }
    assert log.frame("care", 0, ALL)["_label"].tolist()[:2] == [1.0, 0.0]
    assert log.outcomes("care", [(a, False)])["changed"] == 1
    assert log.frame("care", 0, 2**62).dropna(subset="_label")["_label"].tolist() == [0.0, 0.0]
    assert log.count_labelled("care", 0) == 2
    with log.database.engine.connect() as connection:
        kept = connection.execute(sa.text("SELECT id, label FROM outcomes ORDER BY seq")).all()
    assert [(k, bool(v)) for k, v in kept] == [(a, True), (b, False), (b, True), (b, False), (a, False)]


def test_two_clients_that_report_one_outcome_are_not_both_the_first(log_url: str) -> None:
    logs = [PredictionLog(log_url) for _ in range(4)]
    logs[0].append(rows(50))
    counts: list[dict[str, int]] = []

    def tell(own: PredictionLog) -> None:
        counts.extend(own.outcomes("care", [(f"p-v1.0.0-{n}", True)]) for n in range(50))

    threads = [threading.Thread(target=tell, args=(own,)) for own in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in logs:
        own.close()
    assert sum(c["accepted"] for c in counts) == 50 and sum(c["repeated"] for c in counts) == 150


def test_labelled_reads_its_own_models_outcomes_alone(tmp_path: Path) -> None:
    """Counted in steps of SQLite's virtual machine, which do not depend on how busy the machine is."""
    log = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")
    log.append(rows(10))
    log.outcomes("care", [(r.id, True) for r in rows(10)])

    def steps() -> int:
        count = 0

        def one() -> int:
            nonlocal count
            count += 1
            return 0

        with log.database.engine.connect() as connection:
            connection.connection.driver_connection.set_progress_handler(one, 1)  # type: ignore[union-attr]
        assert len(log.frame("care", 0, 2**62).dropna(subset="_label")) == 10
        with log.database.engine.connect() as connection:
            connection.connection.driver_connection.set_progress_handler(None, 1)  # type: ignore[union-attr]
        return count

    before = steps()
    other = rows(5000, model="income", prefix="i")
    log.append(other)
    log.outcomes("income", [(r.id, True) for r in other])
    after = steps()
    log.close()
    assert before > 0 and after < 2 * before


def test_versions_with_other_columns_give_the_union(log: PredictionLog) -> None:
    log.append(rows(2, "v1.0.0", age=30.0, town="a"))
    log.append(rows(2, "v2.0.0", age=31.0, income=9.5, job=None))
    log.append(rows(1, "v3.0.0", age="old", job="b"))
    log.outcomes("care", [("p-v1.0.0-0", True), ("p-v2.0.0-1", False), ("p-v3.0.0-0", True)])
    found = log.frame("care", 0, ALL)
    assert list(found.columns[:4]) == ["age", "town", "income", "job"]
    assert found["town"].tolist()[:2] == ["a", "a"] and found["town"].isna().tolist() == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert found["income"].dtype == "float64" and found["income"].isna().sum() == 3
    assert found["job"].isna().sum() == 4
    assert log.frame("care", 0, 2**62).dropna(subset="_label")["_version"].tolist() == ["v1.0.0", "v2.0.0", "v3.0.0"]


def test_windows_are_cut_once_and_leave_nothing_out(log: PredictionLog) -> None:
    log.append(rows(25))
    log.append(rows(3, "v2.0.0"))
    log.append(rows(12, "v3.0.0"))
    found = log.next_windows("care", 10, 4, 10)
    assert [(w.number, w.version, w.rows) for w in found] == [
        (1, "v1.0.0", 10),
        (2, "v1.0.0", 10),
        (3, "v1.0.0", 5),
        (5, "v3.0.0", 10),
    ]
    assert log.next_windows("care", 7, 1, 10) == found  # other wishes later change nothing that is cut
    log.save_report(report(found[0]))
    log.save_report(report(found[2]))
    assert log.next_windows("care", 10, 4, 1) == [found[1]]
    assert [r.window for r in log.reports("care")] == [1, 3]
    whole = all_windows(log)
    assert [w.rows for w in whole] == [10, 10, 5, 3, 10]
    ids = [key for w in whole for key in log.frame("care", w.first_seq, w.last_seq)["_id"]]
    assert ids == log.frame("care", 0, ALL)["_id"].tolist()[:38]


def all_windows(log: PredictionLog) -> list[Window]:
    with log.database.engine.connect() as connection:
        return [
            Window(*r)
            for r in connection.execute(
                sa.text(
                    "SELECT number, version, first_seq, last_seq, rows FROM windows WHERE model = 'care' ORDER "
                    "BY number"
                )
            )
        ]


def test_a_long_backlog_is_cut_whole(log: PredictionLog) -> None:
    log.append(rows(257))
    assert [w.rows for w in log.next_windows("care", 10, 5, 100)] == [10] * 25


WRITER = """
import sys
from tasks.records.log.predictions import Prediction, PredictionLog
url, who = sys.argv[1:]
log = PredictionLog(url)
for n in range(60):
    log.append([Prediction(f"{who}-{n}-{k}", "care", "v1.0.0", "", {"x": 1.0}, 0.5, True) for k in range(5)])
    if n % 3 == 0:
        log.next_windows("care", 20, 5, 3)
log.close()
"""


def test_four_writing_processes_lose_nothing_and_windows_are_disjoint_and_complete(log_url: str) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, log_url, str(who)], cwd=ROOT) for who in range(4)]
    assert [w.wait(timeout=120) for w in writers] == [0] * 4
    log = PredictionLog(log_url)
    log.next_windows("care", 20, 5, 1)
    logged, windows = log.frame("care", 0, ALL)["_id"].tolist(), all_windows(log)
    inside = [key for w in windows for key in log.frame("care", w.first_seq, w.last_seq)["_id"]]
    log.close()
    assert sorted(logged) == sorted(f"{w}-{n}-{k}" for w in range(4) for n in range(60) for k in range(5))
    assert [w.number for w in windows] == list(range(1, 61)) and {w.rows for w in windows} == {20}
    assert inside == logged


def test_no_number_is_drawn_before_an_earlier_one_can_be_seen(new_postgres: Callable[[], str]) -> None:
    """A writer that drew its number and does not commit yet: nobody may overtake it."""
    url = new_postgres()
    one, two = PredictionLog(url), PredictionLog(url)
    drawn, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with one.database.writing() as connection:
            connection.execute(
                sa.insert(PREDICTIONS).values(
                    id="early", model="care", version="v1.0.0", time="", inputs="{}", score=0.5, decision=True
                )
            )
            drawn.set()
            may_commit.wait(20)

    threads = [threading.Thread(target=slow), threading.Thread(target=lambda: two.append(rows(1)))]
    threads[0].start()
    assert drawn.wait(20)
    threads[1].start()
    threads[1].join(timeout=1)
    seen_meanwhile = two.frame("care", 0, ALL)["_id"].tolist()
    may_commit.set()
    for thread in threads:
        thread.join()
    seen = two.frame("care", 0, ALL)["_id"].tolist()
    one.close()
    two.close()
    assert (seen_meanwhile, seen) == ([], ["early", "p-v1.0.0-0"])


def test_a_postgresql_that_went_away_is_a_sentence(new_postgres: Callable[[], str], postgres: str) -> None:
    url = new_postgres()
    log = PredictionLog(url)
    log.append(rows(1))
    engine = sa.create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)"))
    engine.dispose()
    with pytest.raises(LogUnavailable, match="cannot be written .*does not exist"):
        log.append(rows(1, prefix="q"))
    log.close()


@pytest.mark.parametrize("harm", ["deleted", "replaced", "without wal"])
def test_nothing_is_acknowledged_into_a_file_that_is_gone(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "predictions.db"
    log = PredictionLog(f"sqlite:///{path}")
    log.append(rows(2))
    if harm == "without wal":
        path.with_name("predictions.db-wal").unlink()
    else:
        for part in tmp_path.glob("predictions.db*"):
            part.rename(tmp_path / f"kept-{part.name}")
    if harm == "replaced":
        PredictionLog(f"sqlite:///{path}").close()
    with pytest.raises(
        LogUnavailable, match="was deleted" if harm == "deleted" else "was replaced or has lost its -wal file"
    ):
        log.append(rows(1, prefix="lost"))
    with pytest.raises(LogUnavailable, match="Put the same file back"):
        log.outcomes("care", [("p-v1.0.0-0", True)])
    assert path.exists() == (harm != "deleted")  # looking did not leave an empty file there
    if harm == "deleted":
        for part in tmp_path.glob("kept-*"):
            part.rename(tmp_path / part.name.removeprefix("kept-"))
        log.append(rows(1, prefix="again"))
        assert len(log.frame("care", 0, ALL)) == 3
    log.close()


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(ConfigError, match="names a mysql database; allowed: sqlite and postgresql"):
        PredictionLog("mysql://nobody@127.0.0.1/log")
    with pytest.raises(LogUnavailable, match="cannot be written"):
        PredictionLog(f"sqlite:///{os.devnull}/no/such.db")
