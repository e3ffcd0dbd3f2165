"""What must go is gone, to the byte; what stays says how much is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.records.log.outbox import Decision
from tasks.records.log.predictions import Appeal, Forgotten, Override, Prediction, PredictionLog, Review
from tasks.spec.errors import CheckoutError, ConfigError
from tasks.spec.ledger import EntryDraft, ForgottenDetails
from tests.records.log.logs import ALL, report, rows

PERSON = "Wilhelmina-Quartermain"


@pytest.fixture
def log(log_url: str) -> Iterator[PredictionLog]:
    opened = PredictionLog(log_url)
    yield opened
    opened.close()


def answered(log: PredictionLog, key: str) -> None:
    log.outcomes("care", [(key, True), (key, False)])
    log.overrides("care", [Override(key, False, "anna", f"asked {PERSON}")])
    log.appeals("care", [Appeal(key, f"{PERSON} says no", "open", PERSON)])
    log.reviews("care", [Review(key, 1, "agree", "anna", f"{PERSON} again")])


def test_all_of_a_prediction_goes_and_nothing_else(log: PredictionLog) -> None:
    log.append(rows(10))
    log.append(rows(2, model="income", prefix="i"))
    for n in (2, 3):
        answered(log, f"p-v1.0.0-{n}")
    found = log.forget("care", ["p-v1.0.0-2", "p-v1.0.0-2", "p-v1.0.0-7", "i-v1.0.0-0", "nobody"])
    assert (
        found.numbers() == {"predictions": 2, "outcomes": 2, "overrides": 1, "appeals": 1, "reviews": 1, "unknown": 2}
        and found.swept
    )
    assert len(log.frame("care", 0, ALL)) == 8 and len(log.frame("income", 0, ALL)) == 2
    assert log.tally("care")["reviews"]["agree"] == 1 and log.count_labelled("care", 0) == 1
    assert log.outcomes("care", [("p-v1.0.0-2", True)])["unknown"] == 1
    assert log.forget("care", ["p-v1.0.0-2"]).numbers()["predictions"] == 0


def test_the_place_of_the_newest_row_is_not_given_to_another(log: PredictionLog) -> None:
    log.append(rows(10))
    (window,) = log.next_windows("care", 10, 5, 1)
    log.forget("care", ["p-v1.0.0-9", "p-v1.0.0-8"])
    log.append(rows(3, prefix="q"))
    assert log.frame("care", window.first_seq, window.last_seq)["_id"].tolist() == [f"p-v1.0.0-{n}" for n in range(8)]
    assert log.frame("care", 0, ALL)["_seq"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13]


def test_windows_keep_their_reports_and_say_what_is_missing(log: PredictionLog) -> None:
    log.append(rows(30))
    windows = log.next_windows("care", 10, 5, 10)
    for w in windows:
        log.save_report(report(w))
        log.keep_profile("care", w.number, {"format": 1})
    log.forget("care", [f"p-v1.0.0-{n}" for n in range(12)])
    assert [log.frame("care", w.first_seq, w.last_seq).attrs["rows_missing"] for w in windows] == [10, 2, 0]
    assert [len(log.sample("care", w.first_seq, w.last_seq, 5, 0)) for w in windows] == [0, 5, 5]
    assert log.sample("care", windows[1].first_seq, windows[1].last_seq, 20, 0)["_id"].tolist() == [
        f"p-v1.0.0-{n}" for n in range(12, 20)
    ]
    assert len(log.reports("care")) == 3 and log.missing("care", 0, ALL) == 12
    assert [log.profile("care", w.number) for w in windows] == [{"format": 1}] * 3
    log.append(rows(10, prefix="q"))
    assert [(w.number, w.rows) for w in log.next_windows("care", 10, 5, 10)] == [(4, 10)]


def test_by_a_column(log: PredictionLog) -> None:
    log.append(rows(2, name=PERSON, age=41, code="007", member=True))
    log.append(rows(2, "v2.0.0", name="other", age=41.5, code=7, member=False))
    assert log.forget("care", log.find("care", "code", "007")).predictions == 2
    assert (
        log.forget("care", log.find("care", "age", "41")).predictions == 0
        and log.forget("care", log.find("care", "age", "41.50")).predictions == 2
    )
    log.append(rows(2, "v3.0.0", name=PERSON, age=41, code="007", member=True))
    with pytest.raises(ConfigError, match="column age holds numbers, and 'old' is none; nothing was deleted"):
        log.forget("care", log.find("care", "age", "old"))
    with pytest.raises(ConfigError, match="has an input 'nmae'; the newest has: name, age, code, member"):
        log.forget("care", log.find("care", "nmae", PERSON))
    assert (
        log.forget("care", log.find("care", "member", "false")).predictions == 0
        and log.forget("care", log.find("care", "member", "true")).predictions == 2
    )
    with pytest.raises(ConfigError, match="none, since there is none"):
        log.forget("care", log.find("care", "name", PERSON))


def test_what_cannot_be_told_is_not_done(log: PredictionLog) -> None:
    log.append(rows(3))

    def refused(_: object) -> None:
        raise CheckoutError("the ledger could not be written")

    with pytest.raises(CheckoutError):
        log.forget("care", ["p-v1.0.0-1"], refused)
    assert len(log.frame("care", 0, ALL)) == 3


def test_what_is_to_be_told_is_kept_with_the_deletion_and_says_all_of_it(log: PredictionLog) -> None:
    """Expiry goes by parts of 5,000 rows: a process that dies between two has told of the first, and of no more."""
    log.append([Prediction(f"d{n}", "care", "v1.0.0", "2026-01-01T00:00:00+00:00", {}, 0.5, True) for n in range(7000)])
    parts = []

    def decided(found: Forgotten) -> Decision:
        parts.append(found.predictions)
        draft = EntryDraft(
            kind="forgotten",
            model="care",
            actor="test",
            reason="person",
            sentence=f"{found.predictions} gone",
            evidence=found.numbers(),
            details=ForgottenDetails(by="age", predictions=found.predictions),
        )
        return Decision(draft, 0)

    def dies_at_the_second_part(found: Forgotten) -> Decision:
        if found.predictions > 5000:
            raise KeyboardInterrupt
        return decided(found)

    with pytest.raises(KeyboardInterrupt):
        log.expire("care", "2026-02-01", dies_at_the_second_part)
    assert len(log.frame("care", 0, ALL)) == 2000
    assert [w.decision.draft.sentence for w in log.waiting("care")] == ["5000 gone"]
    assert log.expire("care", "2026-02-01", decided).predictions == 2000
    assert [w.decision.draft.sentence for w in log.waiting("care")] == ["5000 gone", "2000 gone"]
    log.append([Prediction(f"e{n}", "care", "v1.0.0", "2026-01-01T00:00:00+00:00", {}, 0.5, True) for n in range(7000)])
    assert log.expire("care", "2026-02-01", decided).predictions == 7000
    told = [w.decision.draft.sentence for w in log.waiting("care")]
    assert told == ["5000 gone", "2000 gone", "7000 gone"] and parts[-2:] == [5000, 7000]


def test_what_is_old_expires(log: PredictionLog) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    days = [*range(10), 2, 30, 11]  # a clock was wrong twice
    log.append(
        [
            Prediction(
                f"d{n}",
                "care",
                "v1.0.0",
                (start + timedelta(days=d)).isoformat(timespec="milliseconds"),
                {"x": 1},
                0.5,
                True,
            )
            for n, d in enumerate(days)
        ]
    )
    log.append(rows(1, model="income"))
    log.outcomes("care", [("d1", True), ("d11", True)])
    found = log.expire("care", start + timedelta(days=5))
    assert (found.predictions, found.outcomes) == (6, 1)
    assert log.frame("care", 0, ALL)["_id"].tolist() == ["d5", "d6", "d7", "d8", "d9", "d11", "d12"]
    assert (
        log.expire("care", "2026-01-06").predictions == 0
        and log.expire("nobody", "2026-01-06").predictions == 0
        and len(log.frame("income", 0, ALL)) == 1
    )


def _holds(folder: Path, *words: str) -> set[str]:
    """Files and words in them; UTF-16 is not how SQLite was told to keep text."""
    return {
        f"{path.name}: {word}"
        for path in folder.glob("predictions.db*")
        for word in words
        if word.encode() in path.read_bytes()
    }


@pytest.mark.parametrize("how", ["id", "column", "age"])
def test_no_byte_of_a_person_is_left_in_the_files(tmp_path: Path, how: str) -> None:
    log = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")
    rng = np.random.default_rng(0)
    mine = {int(n) for n in rng.choice(3000, 40, replace=False)}
    ids = {n: f"{'MINE' if n in mine else ''}{rng.bytes(14).hex()}" for n in range(3000)}
    for start in range(0, 3000, 100):  # ids in random order split the pages of their index again and again
        names = {
            n: f"{PERSON}{'x' * int(rng.integers(5000))}" if n in mine else f"somebody {'y' * int(rng.integers(50))}"
            for n in range(start, start + 100)
        }
        log.append(
            [
                Prediction(
                    ids[n],
                    "care",
                    "v1.0.0",
                    "2025-01-01" if n in mine else "2026-01-01",
                    {"name": name[:30], "more": name},
                    0.5,
                    True,
                )
                for n, name in names.items()
            ]
        )
    for n in sorted(mine):
        answered(log, ids[n])
    log.outcomes("care", [(ids[n], True) for n in range(3000) if n not in mine])
    assert _holds(tmp_path, PERSON, "MINE")
    if how == "column":
        found = log.forget("care", log.find("care", "name", f"{PERSON}xxxxxxxx"[:30]))
        found = log.forget("care", [ids[n] for n in mine])  # those with a short name are left
    else:
        found = log.forget("care", [ids[n] for n in mine]) if how == "id" else log.expire("care", "2025-06-01")
    assert found.swept and len(log.frame("care", 0, ALL)) == 2960
    gone = (PERSON, "MINE") if how != "age" else (PERSON,)
    assert _holds(tmp_path, *gone) == set()
    log.sweep()
    assert _holds(tmp_path, PERSON, "MINE") == set()
    log.close()
    assert _holds(tmp_path, PERSON, "MINE") == set()


def test_no_byte_is_left_of_rows_that_moved_when_others_were_deleted(tmp_path: Path) -> None:
    log = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")
    log.append(
        [
            Prediction(f"r{n}", "care", "v1.0.0", "", {"name": f"NAME{n:05d}NAME", "more": "y" * (n % 97)}, 0.5, True)
            for n in range(4000)
        ]
    )
    rng = np.random.default_rng(0)
    for _ in range(4):
        going = rng.choice(log.frame("care", 0, ALL, columns=["_id"])["_id"].to_numpy(str), 600, replace=False).tolist()
        assert log.forget("care", going).swept
    left = set(log.frame("care", 0, ALL)["name"])
    assert _holds(tmp_path, *[n for n in (f"NAME{k:05d}NAME" for k in range(4000)) if n not in left]) == set()
    log.close()


def test_a_reader_that_keeps_the_old_bytes_alive_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.records.log.forgetting.SWEEP_SECONDS", 0.0)
    log = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")
    log.database.engine.dispose()
    log.append(rows(3, name=PERSON))
    with log.database.engine.connect() as reader:
        reader.exec_driver_sql("PRAGMA busy_timeout=10")
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT count(*) FROM predictions").one()
        other = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")
        with other.database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=10")
        assert not other.forget("care", [r.id for r in rows(3)]).swept
    assert other.sweep() and _holds(tmp_path, PERSON) == set()
    other.close()
    log.close()


def test_an_export_is_the_same_bytes_again_and_comes_back(log: PredictionLog, tmp_path: Path) -> None:
    log.append(rows(4, town="a", n=1, x=None))
    log.append(
        [
            Prediction(
                f"e{n}", "care", "v1.0.0", "2026-01-01", {"town": None, "n": 2.5, "when": "2026-01-01"}, 0.25, False
            )
            for n in range(3)
        ]
    )
    answered(log, "e1")
    one, two = (
        log.export("care", 0, ALL, tmp_path / "a/one.parquet"),
        log.export("care", 0, ALL, tmp_path / "two.parquet"),
    )
    assert one.digest == two.digest and one.path.read_bytes() == two.path.read_bytes() and one.rows == 7
    found, frame = pd.read_parquet(one.path), log.frame("care", 0, ALL, extras=True)
    assert list(found.columns) == [
        "town",
        "n",
        "x",
        "when",
        "_seq",
        "_id",
        "_time",
        "_version",
        "_score",
        "_decision",
        "_label",
        "_override",
        "_appeal",
        "_review",
        "_sender",
        "_label_sender",
    ]
    for name in ("town", "n", "when", "_id", "_score", "_decision", "_label", "_appeal"):
        assert found[name].dropna().tolist() == frame[name].dropna().tolist(), name
    assert found["_override"].dropna().tolist() == [False]
    log.outcomes("care", [("e2", True)])
    assert log.export("care", 0, ALL, tmp_path / "two.parquet").digest != one.digest
    with pytest.raises(ConfigError, match="no prediction of care from position 100 to 200"):
        log.export("care", 100, 200, tmp_path / "none.parquet")
    assert sorted(p.name for p in tmp_path.glob("*.parq*")) == ["two.parquet"]
