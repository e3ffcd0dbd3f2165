"""The log read: every kind of model, in chunks, as a sample, fast whatever the history."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from tasks.records.log.outbox import Decision
from tasks.records.log.predictions import Prediction, PredictionLog, Window
from tasks.records.log.values import decode, joined
from tasks.spec.evidence import Finding
from tasks.spec.ledger import EntryDraft, WindowDetails
from tests.records.log.logs import ALL, report, rows


@pytest.fixture
def log(log_url: str) -> Iterator[PredictionLog]:
    opened = PredictionLog(log_url)
    yield opened
    opened.close()


def multiclass(count: int, prefix: str = "m") -> list[Prediction]:
    scores = {"low": 0.2, "middle": 0.5, "1": 0.3}
    return [
        Prediction(
            f"{prefix}{n}",
            "triage",
            "v1.0.0",
            "2026-01-01T00:00:00+00:00",
            {"x": n},
            0.5,
            "1" if n % 2 else "middle",
            scores,
        )
        for n in range(count)
    ]


def test_each_kind_comes_back_as_it_went_in(log: PredictionLog) -> None:
    log.append(rows(2))
    log.append(multiclass(3))
    log.append([Prediction(f"r{n}", "price", "v1.0.0", "", {"x": n}, 1234.5 * n, None) for n in range(3)])
    log.append([Prediction("t0", "rent", "v1.0.0", "", {"x": 1}, 700.0, True)])
    assert log.outcomes("triage", [("m0", "low"), ("m1", "1")])["accepted"] == 2
    assert log.outcomes("price", [("r0", 12.25), ("r1", 3)])["accepted"] == 2
    assert log.outcomes("rent", [("t0", 1.0)])["accepted"] == 1
    found = log.frame("triage", 0, ALL)
    assert found["_score"].tolist() == [0.5] * 3 and found["_decision"].tolist() == ["middle", "1", "middle"]
    assert found[["_score:low", "_score:middle", "_score:1"]].values.tolist() == [[0.2, 0.5, 0.3]] * 3
    assert (
        found["_label"].tolist()[:2] == ["low", "1"]
        and found["_label"].isna().tolist() == [False, False, True]
        and found["_label"].dtype == "str"
    )
    found = log.frame("price", 0, ALL)
    assert found["_score"].tolist() == [0.0, 1234.5, 2469.0] and found["_decision"].tolist() == [None] * 3
    assert found["_label"].tolist()[:2] == [12.25, 3.0] and found["_label"].dtype == "float64"
    assert log.frame("care", 0, ALL)["_decision"].dtype == bool
    assert log.frame("rent", 0, ALL)[["_decision", "_label"]].values.tolist() == [[True, 1.0]]


def test_a_label_of_another_kind_is_a_change_and_no_label_is_refused(log: PredictionLog) -> None:
    log.append(rows(1))
    key = "p-v1.0.0-0"
    assert [
        next(k for k, n in log.outcomes("care", [(key, v)]).items() if n) for v in (True, True, 1.0, "true", "true")
    ] == ["accepted", "repeated", "changed", "changed", "repeated"]
    for wrong in (float("nan"), float("inf"), "", None, [1]):
        with pytest.raises(ValueError, match="is no outcome or decision; allowed are"):
            log.outcomes("care", [(key, wrong)])  # type: ignore[list-item]
    assert log.frame("care", 0, ALL)["_label"].tolist() == ["true"]


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused_on_both_databases(log: PredictionLog, score: float) -> None:
    with pytest.raises(ValueError, match="has to be a finite number"):
        log.append([*rows(1), Prediction("n", "care", "v1.0.0", "", {"x": 1}, score, True)])
    log.append(rows(1))
    assert len(log.frame("care", 0, ALL)) == 1


def test_a_multiclass_window_without_labels_has_a_text_column(log: PredictionLog) -> None:
    log.append(multiclass(2))
    found = log.frame("triage", 0, ALL)["_label"]
    assert found.isna().all() and found.dtype == "str"


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_chunks_are_the_frame_in_pieces(log: PredictionLog, size: int) -> None:
    for n in range(4):  # two models' rows lie between each other
        log.append(rows(5, prefix=f"a{n}", x=1.5 * n, town="x" if n else None))
        log.append(rows(5, prefix=f"b{n}", model="income"))
    log.outcomes("care", [("a1-v1.0.0-2", True), ("a3-v1.0.0-4", False), ("a3-v1.0.0-4", True)])
    whole = log.frame("care", 0, ALL)
    pieces = list(log.chunks("care", 0, ALL, rows=size))
    assert [len(p) for p in pieces] == [min(size, 20 - start) for start in range(0, 20, size)]
    again = joined(pieces)
    pd.testing.assert_frame_equal(again, whole, check_like=True)
    assert whole["_label"].dropna().to_dict() == {7: 1.0, 19: 1.0}
    inner = log.frame("care", int(whole["_seq"][3]), int(whole["_seq"][16]))
    assert inner["_id"].tolist() == whole["_id"].tolist()[3:17]


def test_only_the_columns_asked_for(log: PredictionLog) -> None:
    log.append(rows(3, a=1.0, b="x"))
    log.append(multiclass(2))
    assert list(next(log.chunks("care", 0, ALL, columns=["_label", "b", "_id"])).columns) == ["_label", "b", "_id"]
    found = next(log.chunks("care", 0, ALL, columns=["never", "_score"]))
    assert list(found.columns) == ["never", "_score"] and found["never"].isna().all()
    assert list(log.frame("triage", 0, ALL, columns=["_score:low"])["_score:low"]) == [0.2, 0.2]
    with log.database.writing() as connection:  # inputs that nobody asked for are not even looked at
        connection.execute(sa.text("UPDATE predictions SET inputs = 'no json'"))
    assert len(log.frame("care", 0, ALL, columns=["_score", "_time"])) == 3


def test_an_empty_window_and_one_row(log: PredictionLog) -> None:
    empty = log.frame("care", 1, 100, extras=True)
    assert len(empty) == 0 and {
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
    } == set(empty.columns)
    assert list(log.frame("care", 1, 100, columns=["x", "_score"]).columns) == ["x", "_score"]
    assert (
        list(log.chunks("care", 1, 100)) == []
        and log.labelled_share("care", 1, 100) == 0.0
        and len(log.sample("care", 1, 100, 5, 0)) == 0
    )
    assert (
        log.next_windows("care", 10, 5, 3) == []
        and len(log.series("care")) == 0
        and log.missing("care", 1, 100) == 0
        and len(log.frame("care", 0, 2**62).dropna(subset="_label")) == 0
    )
    log.append(rows(1))
    assert len(log.frame("care", 0, ALL)) == 1 and log.sample("care", 0, ALL, 5, 0)["_id"].tolist() == ["p-v1.0.0-0"]


def test_a_sample_is_uniform_in_order_and_the_same_again(log: PredictionLog) -> None:
    for n in range(10):
        log.append(rows(30, prefix=f"a{n}"))
        log.append(rows(7, prefix=f"b{n}", model="income"))
    log.outcomes("care", [(f"a{n}-v1.0.0-3", True) for n in range(10)])
    ids = log.frame("care", 0, ALL)["_id"].tolist()
    one, again = log.sample("care", 0, ALL, 60, 1), log.sample("care", 0, ALL, 60, 1)
    pd.testing.assert_frame_equal(one, again)
    assert (
        len(one) == 60 and one["_seq"].is_monotonic_increasing and one["_id"].is_unique and set(one["_id"]) <= set(ids)
    )
    assert log.sample("care", 0, ALL, 1000, 1)["_id"].tolist() == ids
    counts = pd.Series(0, index=ids)
    for seed in range(60):
        counts[log.sample("care", 0, ALL, 60, seed, columns=["_id"])["_id"]] += 1
    # Each row is drawn with probability 1/5: of 60 draws 12, and 3 to 26 with probability 1 - 2e-5 for each of 300.
    assert counts.sum() == 3600 and counts.between(3, 26).all()
    assert abs(counts[: len(ids) // 2].sum() - 1800) < 5 * np.sqrt(3600 * 0.25)
    labelled = log.sample("care", 0, ALL, 10_000, 0)
    assert labelled["_label"].notna().sum() == 10


def test_shares_and_counts(log: PredictionLog) -> None:
    log.append(rows(10))
    log.append(rows(5, model="income", prefix="i"))
    log.outcomes("care", [("p-v1.0.0-0", True), ("p-v1.0.0-0", False), ("p-v1.0.0-9", False)])
    log.outcomes("income", [(f"i-v1.0.0-{n}", True) for n in range(5)])
    assert (
        log.labelled_share("care", 1, 10),
        log.labelled_share("care", 1, 5),
        log.labelled_share("income", 0, ALL),
    ) == (0.2, 0.2, 1.0)
    assert (
        log.count_labelled("care", 0),
        log.count_labelled("care", 1),
        log.count_labelled("care", 10),
        log.count_labelled("income", 0),
    ) == (2, 1, 0, 5)


def test_reports_and_series_of_the_newest_windows(log: PredictionLog) -> None:
    log.append(rows(50))
    windows = log.next_windows("care", 10, 5, 10)
    for w in windows:
        drift = Finding(
            kind="data_drift", subject="x", value=w.number / 10, limit=0.1, rows=10, alarm=w.number > 2, sentence=""
        )
        log.save_report(
            report(
                w,
                findings=(drift, Finding(kind="feed", subject="volume", value=None, rows=10, alarm=False, sentence="")),
            )
        )
    assert [r.window for r in log.reports("care", last=2)] == [4, 5] and [r.window for r in log.reports("care")] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert (
        log.reports("care", version="v9.0.0") == []
        and log.reports("income") == []
        and log.reports("care", last=0) == []
    )
    series = log.series("care", kinds=["data_drift"], last=3)
    assert series[["window", "time", "value", "alarm"]].values.tolist() == [
        [3, "day 3", 0.3, True],
        [4, "day 4", 0.4, True],
        [5, "day 5", 0.5, True],
    ]
    assert len(log.series("care")) == 10 and log.series("care", kinds=["feed"])["value"].isna().all()
    log.save_report(report(windows[4]))
    assert len(log.series("care")) == 8 and len(log.reports("care")) == 5 and log.next_windows("care", 10, 5, 10) == []
    assert log.window("care", 3) == windows[2] and log.window("care", 6) is None


@pytest.mark.parametrize(
    "what", ["next_windows", "reports", "series", "p_values", "count_labelled", "labelled_share", "feed", "sample"]
)
def test_one_more_window_costs_the_same_after_a_long_history(tmp_path: Path, what: str) -> None:
    """Counted in steps of SQLite's virtual machine, which do not depend on how busy the machine is."""
    log = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")

    def after(windows: int) -> int:
        have = len(log.reports("care"))
        for start in range(have, windows, 10):
            log.append(rows(200, prefix=f"h{start}"))
            log.outcomes("care", [(f"h{start}-v1.0.0-{n}", True) for n in range(0, 200, 4)])
            for w in log.next_windows("care", 20, 5, 10):
                log.save_report(
                    report(
                        w, findings=(Finding(kind="feed", subject="x", value=1.0, rows=20, alarm=False, sentence=""),)
                    )
                )
                log.keep_p_values("care", "v1.0.0", w.number, {"data_drift": 0.5})
        log.append(rows(20, prefix=f"new{windows}"))
        w = Window(0, "", 0, 0, 0)

        def look() -> None:
            nonlocal w
            (w,) = log.next_windows("care", 20, 5, 10)

        looked = _steps(log, look)
        calls: dict[str, Callable[[], Any]] = {
            "next_windows": lambda: None,
            "reports": lambda: log.reports("care", last=5),
            "series": lambda: log.series("care", last=5),
            "p_values": lambda: log.p_values("care", "v1.0.0", before=w.number, last=5),
            "count_labelled": lambda: log.count_labelled("care", w.first_seq - 1),
            "labelled_share": lambda: log.labelled_share("care", w.first_seq, w.last_seq),
            "feed": lambda: log.feed("care", w.first_seq, w.last_seq),
            "sample": lambda: log.sample("care", w.first_seq, w.last_seq, 5, 0),
        }
        steps = looked if what == "next_windows" else _steps(log, calls[what])
        log.save_report(report(w))
        return steps

    short, long = after(10), after(200)
    log.close()
    assert 0 < long <= 1.2 * short


def _steps(log: PredictionLog, call: Callable[[], Any]) -> int:
    count = 0

    def one() -> int:
        nonlocal count
        count += 1
        return 0

    def handle(to: Any) -> None:
        with log.database.engine.connect() as connection:
            connection.connection.driver_connection.set_progress_handler(to, 1)  # type: ignore[union-attr]

    handle(one)
    call()
    handle(None)
    return count


def test_what_looks_like_something_else_stays_what_it_is() -> None:
    texts = [
        json.dumps(r)
        for r in (
            {"day": "2026-01-01", "code": "01", "n": 1, "x": None, "word": "NA"},
            {"day": None, "code": "2", "n": None, "x": None, "word": "ünï\n"},
        )
    ]
    found = decode(texts)
    assert (
        found["day"].tolist()[0] == "2026-01-01"
        and found["day"].isna().tolist() == [False, True]
        and found["code"].tolist() == ["01", "2"]
    )
    assert found["word"].tolist() == ["NA", "ünï\n"]
    assert found["x"].dtype == "float64" and found["n"].dtype == "float64"
    assert list(found.columns) == ["day", "code", "n", "x", "word"]
    assert decode(['{"x": 1}', '{"x": "old"}'])["x"].tolist() == ["1", "old"]
    assert decode(['{"x": NaN}', '{"x": 2}'])["x"].isna().tolist() == [True, False]
    assert decode(['{"x": [1]}', "{}"])["x"].isna().tolist() == [False, True] and len(decode(["{}", "{}"])) == 2


def test_arrow_and_json_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        texts = []
        for _ in range(30):
            row: dict[str, Any] = {
                "a": float(rng.normal()),
                "b": int(rng.integers(-5, 5)),
                "c": rng.choice(["x", "1", "2020-02-02T10:00:00Z", "nan"]),
                "d": bool(rng.integers(2)),
            }
            texts.append(
                json.dumps(
                    {k: (None if rng.random() < 0.1 else v) for k, v in row.items() if rng.random() < 0.95 and k != "d"}
                    | {"d": row["d"]}
                )
            )
        fast = decode(texts)
        slow = pd.DataFrame([json.loads(t) for t in texts])
        assert set(fast.columns) == set(slow.columns)
        for name in fast.columns:
            known = fast[name].notna()
            assert (known == slow[name].notna()).all() and fast.loc[known, name].tolist() == slow.loc[
                known, name
            ].tolist()


def test_a_window_is_decided_once_whoever_looks_at_it(log_url: str) -> None:
    """Two runs look at one window; what the second decided is not kept, also where both judge it again."""
    one, two = PredictionLog(log_url), PredictionLog(log_url)
    one.append(rows(30))
    (window, *_) = one.next_windows("care", 10, 5, 10)
    first, second = report(window), report(window).model_copy(update={"created": "later"})
    draft = EntryDraft(
        kind="monitored",
        model="care",
        actor="a",
        reason="schedule",
        sentence="s",
        evidence={"window": 1},
        details=WindowDetails(window=1, action="nothing"),
    )
    assert one.save_report(first, Decision(draft, 1)) and not two.save_report(second, Decision(draft, 1))
    assert two.report("care", 1) == first and len(one.waiting("care")) == 1
    again, late = (first.model_copy(update={"labelled": n}) for n in (5, 6))
    assert two.save_report(again, Decision(draft, 1), first) and not one.save_report(late, Decision(draft, 1), first)
    assert one.report("care", 1) == again and len(one.waiting("care")) == 2
    one.close()
    two.close()
