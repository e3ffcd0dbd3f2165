"""What several gates, rules and calls ask is computed once, also from threads, and is what asking one by one would
give."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from tasks.science.examination.examination import Examination
from tasks.science.gates.slice_search import discretise
from tasks.science.models.explanations import Explainer, attributions
from tasks.science.rules.check import check_rule
from tasks.science.rules.scores import typical_rows, vignette_states
from tasks.science.stats.shift import shift
from tasks.spec.evidence import GateResult
from tasks.spec.rules import Vignette
from tests.science.gates.test_run import examination

DATA = GateResult(gate="data", kind="data", mandatory=True, state="pass", reason="as expected")


def test_of_threads_that_ask_at_once_one_computes() -> None:
    evidence, begin, computed = examination(), Barrier(8), []

    def ask(name: str) -> Any:
        def compute() -> int:
            time.sleep(0.05)
            computed.append(name)
            return evidence.cached("inner", lambda: computed.append("inner") or 7)

        begin.wait()
        return evidence.cached(name, compute)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, ["a", "b"] * 4)) == [7] * 8
    assert sorted(computed) == ["a", "b", "inner"]


def test_what_raises_is_asked_again_and_nothing_is_kept_of_it() -> None:
    evidence = examination()
    with pytest.raises(ZeroDivisionError):
        evidence.cached("a", lambda: 1 / 0)
    assert evidence.cached("a", lambda: 2) == 2


def test_another_check_of_the_data_shares_what_is_known_and_another_evidence_does_not() -> None:
    evidence = examination()
    first, second = evidence.beside(DATA), evidence.beside(DATA.model_copy(update={"state": "fail"}))
    assert first.cached("a", lambda: 1) == second.cached("a", lambda: 2) == evidence.cached("a", lambda: 3) == 1
    assert [e.data_check.state if e.data_check else None for e in (evidence, first, second)] == [None, "pass", "fail"]
    assert replace(first, score=1 - first.score).cached("a", lambda: 4) == 4


class Counted(FunctionTransformer):
    calls = 0

    def transform(self, X: Any) -> Any:  # noqa: N803
        type(self).calls += 1
        return super().transform(X)


@pytest.mark.parametrize("estimator", [LogisticRegression(), HistGradientBoostingClassifier(max_iter=10)])
def test_an_explainer_gives_what_single_calls_give_and_prepares_once(estimator: Any) -> None:
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(rng.normal(size=(300, 3)), columns=["x", "y", "z"])
    pipeline = Pipeline(
        [("prepare", ColumnTransformer([("number", Counted(), list(rows.columns))])), ("estimator", estimator)]
    ).fit(rows, rows["x"] + rows["y"] > 0)
    parts = [rows.iloc[i : i + 50] for i in range(0, 300, 50)]
    alone = [attributions(pipeline, part, rows, 0) for part in parts]
    explainer, Counted.calls = Explainer(pipeline, rows), 0
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda part: explainer(part, 0), parts))
    assert Counted.calls == len(parts) + (1 if isinstance(estimator, LogisticRegression) else 0)
    for one, other in zip(alone, together, strict=True):
        pd.testing.assert_frame_equal(one, other)


def people(n: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    rows = pd.DataFrame(
        {
            "income": rng.normal(50, 10, n),
            "debt": np.where(rng.random(n) < 0.5, np.nan, rng.normal(size=n)),
            "job": rng.choice(["a", "b", "c"], n),
        }
    )
    return rows.assign(job=rows["job"].where(rng.random(n) < 0.8))


@pytest.mark.parametrize(
    "limits", [{"above": {"job": "c"}}, {"above": {"job": "c"}, "margin": 0.02}, {"between": (0.0, 0.5)}]
)
@pytest.mark.parametrize("features", [("income", "debt", "job"), ("income",)])
def test_cases_of_many_typical_persons_asked_together_are_judged_as_one_by_one(
    limits: dict[str, Any], features: tuple[str, ...]
) -> None:
    rows = people()

    def predict(asked: pd.DataFrame) -> np.ndarray:
        score = asked["income"].to_numpy() / 100 + np.where(
            asked["job"].eq("a") & ("job" in features), 0.03 * np.sign(asked["income"] - 50), 0.0
        )
        return np.where(asked["income"] > 52, np.nan, score)

    blocks = [np.arange(i, i + 30) for i in range(0, len(rows), 30)]
    whole = examination(len(rows), rows=rows, predict=predict, features=features)
    rule = Vignette(rule="vignette", case={"job": "a"}, because="of the test", **limits)
    alone: list[Examination] = [replace(whole, rows=rows.iloc[block].reset_index(drop=True)) for block in blocks]
    expected = [check_rule(rule, one, 0.95).state for one in alone]
    assert vignette_states(rule, whole, typical_rows(rows, blocks)) == expected
    if "job" in features:
        assert {"pass", "fail"} == set(expected)


def test_the_typical_row_is_the_median_and_the_first_of_the_most_frequent() -> None:
    rows = people()
    found = typical_rows(rows, [np.arange(len(rows)), np.arange(40)])
    for at, part in enumerate((rows, rows.head(40))):
        assert found["income"][at] == part["income"].quantile(0.5, interpolation="nearest")
        assert found["job"][at] == part["job"].mode().iloc[0]
        assert np.isnan(found["debt"][at]) == (part["debt"].isna().mean() > 0.5)
    assert found.dtypes.equals(rows.dtypes)


def test_strings_are_counted_as_objects_are() -> None:
    rows, later = people(), people(1200).tail(400)
    as_objects = [side.assign(job=side["job"].astype(object)) for side in (rows, later)]
    assert rows["job"].dtype != as_objects[0]["job"].dtype
    assert shift(rows["job"], later["job"], "job") == shift(as_objects[0]["job"], as_objects[1]["job"], "job")
    one, other = discretise(rows), discretise(as_objects[0])
    assert one.categories == other.categories and (one.table == other.table).all()
