"""The review queue: each reason, its order, what is never in it; and what the answers say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.science.monitors.protocol import RuleBreak
from tasks.science.windows.review import review_queue
from tasks.science.windows.review_answers import answered_by_people, review_summary
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig, Protected
from tasks.spec.review import ReviewAnswer, ReviewItem
from tests.statistics.live import rows_of, world

N = 300


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    sex = Protected(column="sex", groups={"female": ("female",), "male": ("male",)})
    age = Protected(column="age", edges=(0, 50, 120), names=("young", "old"))
    features = (*world()[0].features, "sex")
    made = world()[0]
    target = made.data.target.model_copy(update={"decision_threshold": 0.3})
    data = made.data.model_copy(update={"target": target})
    return made.model_copy(update={"protected": {"sex": sex, "age": age}, "features": features, "data": data})


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = rows_of(2000, rng)
    return rows.assign(_label=(rng.random(2000) < rows["_score"]).astype(float))


def window() -> pd.DataFrame:
    """Rows of which none gives any reason: reference rows themselves, far from the threshold."""
    rng = np.random.default_rng(0)
    rows = rows_of(2000, rng)
    return (
        rows[(rows["_score"] - 0.3).abs() > 0.1]
        .head(N)
        .reset_index(drop=True)
        .assign(_id=[f"p{i:03d}" for i in range(N)], _label=np.nan)
    )


def queue(
    config: ModelConfig,
    reference: pd.DataFrame,
    rows: pd.DataFrame,
    breaks: tuple[RuleBreak, ...] = (),
    outside: Any = None,
    groups: Any = None,
) -> list[ReviewItem]:
    return review_queue(config, reference, rows, 7, breaks, outside, groups, 1)


def broken(row: int, excess: float = 0.1) -> RuleBreak:
    return RuleBreak(row, f"p{row:03d}", "scores lie between 0 and 0.5", excess)


def test_a_usual_window_needs_no_look(config: ModelConfig, reference: pd.DataFrame) -> None:
    assert [i for i in queue(config, reference, window()) if "no reference row is like it" not in i.reasons[0]] == []


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("sex", "other", "sex holds a category that the reference has not"),
        ("income", 900.0, "income lies beyond every value of the reference"),
        ("income", -900.0, "income lies beyond every value of the reference"),
        ("income", np.inf, "income lies beyond every value of the reference"),
        ("debt", np.nan, "debt is missing, as it never is in the reference"),
    ],
)
def test_inputs_outside_the_support(
    config: ModelConfig, reference: pd.DataFrame, column: str, value: Any, told: str
) -> None:
    rows = window()
    rows.loc[5, column] = value
    item = next(i for i in queue(config, reference, rows) if i.id == "p005")
    assert told in item.reasons and item.window == 7


def test_no_reason_holds_a_value_of_an_input(config: ModelConfig, reference: pd.DataFrame) -> None:
    rows = window()
    rows.loc[5, "sex"], rows.loc[6, "income"] = "a secret", 987654.0
    text = " ".join(r for i in queue(config, reference, rows) for r in i.reasons)
    assert "secret" not in text and "987654" not in text


def test_values_that_are_usual_each_and_not_together(config: ModelConfig, reference: pd.DataFrame) -> None:
    rows = window()
    high = {c: float(reference[c].quantile(0.998)) for c in ("age", "income", "debt", "shoes", "capital")}
    rows.loc[5, list(high)] = list(high.values())
    assert any(
        "no reference row is like it" in r
        for r in next(i for i in queue(config, reference, rows) if i.id == "p005").reasons
    )


def test_broken_rules_other_monitors_and_groups(config: ModelConfig, reference: pd.DataFrame) -> None:
    outside, groups = np.zeros(N, bool), pd.Series(["a", "b"] * (N // 2))
    outside[8], groups[9], groups[10] = True, None, "c"
    items = {
        i.id: i.reasons for i in queue(config, reference, window(), (broken(11), broken(12, np.inf)), outside, groups)
    }
    assert items["p008"] == ("its inputs together lie outside the reference's support",)
    assert items["p009"] == ("falls into no group of the embedding",) and items["p010"] == (
        "is alone in its group of the embedding",
    )
    assert "by 0.100" in items["p011"][0] and "is NaN" in items["p012"][0]


def test_a_rare_intersection(config: ModelConfig, reference: pd.DataFrame) -> None:
    rare = reference[(reference["sex"] == "male") | (reference["age"] < 50)]
    rows = window()
    women = rows.index[(rows["sex"] == "female") & (rows["age"] >= 50)]
    items = queue(config, rare, rows)
    assert any("hardly anybody of the reference (0 of" in r for r in items[0].reasons) and items[0].id in set(
        rows["_id"][women]
    )


def test_a_close_decision_unlike_its_neighbours_and_an_outcome_that_was_hardly_allowed(
    config: ModelConfig, reference: pd.DataFrame
) -> None:
    rows = window()
    alike = reference[reference["_score"] > 0.8].head(1)
    rows.loc[5, ["age", "income", "debt", "shoes", "capital", "sex"]] = (
        alike[["age", "income", "debt", "shoes", "capital", "sex"]].iloc[0].to_numpy()
    )
    rows.loc[5, "_score"] = 0.299
    rows.loc[6, ["_score", "_label"]] = [0.001, 1.0]
    items = {i.id: i.reasons for i in queue(config, reference, rows)}
    assert any("is close to the threshold, and" in r for r in items["p005"])
    assert any("its outcome is farther from the score" in r for r in items["p006"])


def test_the_queue_is_short_has_no_row_twice_and_does_not_depend_on_the_order_of_what_it_is_given(
    config: ModelConfig, reference: pd.DataFrame
) -> None:
    rows = window()
    rows.loc[30:59, "sex"] = "other"
    rows.loc[100:149, list(rows.columns.drop("_id"))] = rows.loc[100, list(rows.columns.drop("_id"))].to_list()
    breaks = tuple(broken(i, i / 100) for i in (*range(20), *range(100, 150), 30))
    items = queue(config, reference, rows, (*breaks, *breaks))
    assert len(items) == 20 == len({i.id for i in items})
    assert items[0].id == "p030", "two sorts of reasons come first"
    assert items[1].alike == 49 and items[1].id == "p149" and sum(i.alike for i in items) == 49
    assert {"sex" in i.reasons[0] for i in items[2:6]} == {True, False}, "the sorts take turns"
    assert queue(config, reference, rows, breaks[::-1]) == items


def test_what_was_decided_is_told(config: ModelConfig, reference: pd.DataFrame) -> None:
    rows = window().assign(_decision=True)
    assert queue(config, reference, rows, (broken(3),))[0].decision is True
    assert queue(config, reference, rows.assign(_decision="class a"), (broken(3),))[0].decision == "class a"
    assert queue(config, reference, rows.drop(columns="_decision").assign(_score=np.nan), (broken(3),))[0].score is None


def test_empty_windows_one_row_and_rows_without_ids(config: ModelConfig, reference: pd.DataFrame) -> None:
    assert queue(config, reference, window().head(0)) == []
    assert len(queue(config, reference, window().head(1), (broken(0),))) == 1
    assert len(queue(config, reference.head(0), window(), (broken(0),))) == 1
    none = config.model_copy(
        update={
            "monitoring": config.monitoring.model_copy(
                update={"review": config.monitoring.review.model_copy(update={"most": 0})}
            )
        }
    )
    assert queue(none, reference, window(), (broken(0),)) == []
    with pytest.raises(ConfigError, match="no prediction ids"):
        queue(config, reference, window().drop(columns="_id"))
    with pytest.raises(ConfigError, match="outside holds 3 values for 300 rows"):
        queue(config, reference, window(), outside=np.zeros(3, bool))


# -- answers


def said(identifier: str, verdict: Any, who: str = "jo", time: str = "1") -> ReviewAnswer:
    return ReviewAnswer(id=identifier, verdict=verdict, who=who, time=time)


ITEMS = [ReviewItem(id=f"p{i}", window=1, score=0.5, reasons=("why",)) for i in range(10)]


def test_answers_in_numbers() -> None:
    answers = [
        said("p0", "agree"),
        said("p1", "disagree"),
        said("p2", "unsure"),
        said("p3", "agree"),
        said("p3", "disagree", "al"),
        said("p9", "disagree"),
        said("p9", "agree", time="2"),
        said("x", "agree"),
    ]
    found = review_summary(ITEMS, answers, {"p0": True, "p1": True, "p9": True})
    assert (found.queued, found.unsure, found.contested, found.unknown) == (10, 1, 1, 1)
    assert (found.answered.value, found.answered.rows) == (0.5, 10)
    assert found.agreement.value == pytest.approx(2 / 3) and found.agreement.rows == 3
    assert (found.model_right.value, found.expert_right.value) == (1.0, pytest.approx(2 / 3))
    assert found.agreement.low is not None and found.agreement.low == pytest.approx(
        0.0943, abs=1e-4
    )  # Clopper & Pearson of 2 of 3
    assert "5 of 10" in found.sentence and "disagree among themselves" in found.sentence


def test_overrides_and_appeals_in_a_sentence_each() -> None:
    nobody = {"other": 0, "same": 0}, {"open": 0, "upheld": 0, "rejected": 0}
    assert answered_by_people(*nobody, "since window 3") == []
    decided, appealed = answered_by_people(
        {"other": 3, "same": 1}, {"open": 1, "upheld": 1, "rejected": 1}, "since window 3"
    )
    assert (
        decided
        == "People decided on 4 predictions themselves since window 3: otherwise than the model in 75% (19% to 99%) "
        "of 4"
    )
    assert appealed == "3 predictions were appealed since window 3: open 1, upheld were 50% (1% to 99%) of 2 answered"
    assert answered_by_people(nobody[0], nobody[1] | {"open": 1}, "since window 3") == [
        "1 prediction was appealed since window 3: open 1"
    ]


def test_no_answers_and_no_queue() -> None:
    assert review_summary(ITEMS, []).agreement.value is None
    assert review_summary([], [said("p1", "agree")]).answered.value is None
