"""Rows and columns of two tables, against edits that were made to one of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.science.monitors.drift.tables import column_changes, row_changes, unseen


def people(n: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "person": [f"p{i}" for i in range(n)],
            "year": 2020,
            "age": rng.integers(18, 80, n),
            "job": rng.choice(["clerk", "nurse", None], n, p=[0.5, 0.4, 0.1]),
            "_row": np.arange(n),
            "_side": rng.choice(["train", "holdout"], n),
        }
    )


def edited() -> pd.DataFrame:
    """20 changed, 30 removed, 5 added, 7 on another side, in another order and with ages as numbers with a point."""
    new = people()
    new.loc[:19, "age"] = 100
    new.loc[20:26, "_side"] = np.where(new.loc[20:26, "_side"] == "train", "holdout", "train")
    more = people(505).iloc[500:].assign(person=lambda t: "new-" + t["person"])
    new = pd.concat([new.iloc[:470], more]).sample(frac=1, random_state=2)
    return new.assign(age=new["age"].astype(float), _row=np.arange(len(new)))


def test_rows_match_by_key_where_one_names_them() -> None:
    found = row_changes(people(), edited(), ["person", "year"], "_side", ("_row",))
    assert (found.same, found.changed, found.added, found.removed, found.moved) == (450, 20, 5, 30, 7)
    assert (found.key, found.old, found.new) == ("person, year", 500, 475)


@pytest.mark.parametrize("keys", [[], ["year"], ["nothing"]])
def test_without_a_key_a_row_is_its_content(keys: list[str]) -> None:
    found = row_changes(people(), edited(), keys, "_side", ("_row",))
    assert (found.key, found.same, found.changed, found.added, found.removed) == ("", 450, 0, 25, 50)


def test_equal_rows_have_one_partner_each() -> None:
    old = pd.DataFrame({"x": [1, 1, 1, 2], "_side": ["train"] * 4})
    new = pd.DataFrame({"x": [1, 1, 3], "_side": ["train"] * 3})
    found = row_changes(old, new, [], "_side", ())
    assert (found.same, found.added, found.removed) == (2, 1, 2)


def test_columns_that_come_go_turn_or_move_are_named_and_others_are_the_same() -> None:
    old, new = people(4000), people(4000)
    new["age"] = new["age"] + 15
    new["job"] = new["job"].where(new.index > 400, None)
    old["gone"], new["come"] = 1.0, "x"
    old["turned"], new["turned"] = np.arange(4000), np.arange(4000).astype(str)
    rng = np.random.default_rng(5)
    old["noise"], new["noise"] = rng.normal(size=4000), rng.normal(size=4000)
    found = {c.name: c for c in column_changes(old, new, ["age", "job", "gone", "come", "turned", "noise", "year"])}
    states = {name: c.state for name, c in found.items()}
    assert states == {
        "age": "moved", "job": "moved", "gone": "removed", "come": "added", "turned": "retyped",
        "noise": states["noise"], "year": "same",
    }  # fmt: skip
    assert (found["age"].distance or 0) > 0.2 > 0.05 > (found["noise"].distance or 0)
    assert found["age"].mean_new == pytest.approx((found["age"].mean_old or 0) + 15)
    assert (found["job"].missing_new or 0) > (found["job"].missing_old or 0) + 0.08
    for column in (found["age"], found["job"]):
        assert sum(column.shares_old) == pytest.approx(1) and sum(column.shares_new) == pytest.approx(1)
        assert len(column.cells) == len(column.shares_old) == len(column.shares_new)


def test_a_distance_of_nothing_is_seldom_more_than_a_hundredth() -> None:
    """Samples of one distribution, 200 times: the part that sampling gives is taken out."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        tables = [pd.DataFrame({"x": rng.normal(size=2000)}) for _ in range(2)]
        found.append(column_changes(*tables, ["x"])[0].distance or 0.0)
    assert np.mean(np.array(found) ** 2) < 0.0005 and np.quantile(found, 0.5) < 0.02


def test_rows_and_people_that_the_other_was_trained_on_are_no_fresh_rows() -> None:
    train, rows = people(200)[:100], people(200).assign(_entity=lambda t: t["person"])
    assert unseen(rows, train, "_entity", ("_row", "_side")).sum() == 100
    train = train.assign(_entity="p150", age=0)
    fresh = unseen(rows, train, "_entity", ("_row", "_side"))
    assert fresh.sum() == 199 and not fresh[150]
