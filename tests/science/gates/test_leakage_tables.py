"""Rows given several times, codes that are no values, and neighbours in time: honest tables, and the edges of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.science.gates.leakage_sides import Sides
from tasks.science.gates.leakage_tables import codes_that_are_no_values, labels_of_other_rows, rows_given_again
from tasks.science.gates.leakage_time import neighbours_on_both_sides
from tasks.spec.evidence import Measurement
from tests.statistics.leakage import FEATURES, GATE, config, examined, lay_out

PLAIN = config(entity=False)


def sides(world: dict[str, Any], **changes: Any) -> Sides:
    e = replace(examined(world), config=PLAIN, entity=None, train_entity=None, **changes)
    assert e.train is not None and e.train_label is not None
    return Sides(PLAIN, list(FEATURES), e.train, e.train_label, e)


def coarse(rng: np.random.Generator, cells: int) -> dict[str, Any]:
    """Rows whose patterns repeat honestly, some of them often and most seldom."""
    world = lay_out(rng)
    weight = rng.pareto(1.0, cells) + 0.05
    for side in ("train", "rows"):
        drawn = rng.choice(cells, len(world[side]), p=weight / weight.sum())
        world[side] = world[side].assign(age=drawn, income=1.0, region="a", visits=0.0, extra=0.0)
    return world


@pytest.mark.parametrize("cells", [200, 3000, 100_000])
def test_honest_repetition_is_no_copy(cells: int) -> None:
    """A sample of single rows breaks the bound at the level that the gate spends; 40 runs of each, seeded."""
    told = [rows_given_again(GATE, sides(coarse(np.random.default_rng(s), cells)))[0] for s in range(40)]
    assert [m.state for m in told].count("fail") == 0


@pytest.mark.parametrize(("times", "share"), [(2, 0.2), (2, 1.0), (3, 0.2), (4, 0.1)])
def test_copies_are_counted(times: int, share: float) -> None:
    """Of 4,100 rows some are given several times, before the split; honest repetition hides a part of them."""
    world = lay_out(np.random.default_rng(3))
    whole = pd.concat([world["train"], world["rows"]], ignore_index=True).assign(
        label=np.concatenate([world["train_label"], world["label"]])
    )
    copied = whole.sample(frac=share, random_state=1)
    whole = pd.concat([whole, *[copied] * (times - 1)]).sample(frac=1, random_state=2).reset_index(drop=True)
    half = len(whole) // 2
    parts = {"train": whole[:half], "rows": whole[half : 2 * half]}
    for side, label in (("train", "train_label"), ("rows", "label")):
        world[label] = parts[side]["label"].to_numpy(bool)
        world[side] = parts[side].drop(columns="label").reset_index(drop=True)
    found = rows_given_again(GATE, sides(world))[0]
    assert found.state == "fail" and f"exactly {times} times" in found.label
    added = share * (times - 1)
    assert found.value is not None and 0.4 < found.value / (added / (1 + added)) < 1.05


def codes(values: np.ndarray) -> list[Measurement]:
    world = lay_out(np.random.default_rng(4))
    train = len(world["train"])
    world["train"]["extra"], world["rows"]["extra"] = values[:train], values[train : train + len(world["rows"])]
    return codes_that_are_no_values(GATE, sides(world))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ((8888.0,), "extra is 8888 in 41 rows and else at most 99;"),
        ((8888.0, 9999.0), "extra is 8888 and 9999 in 82 rows and else at most 99;"),
        ((-999.0,), "extra is -999 in 41 rows and else at least 0;"),
        ((99_999.0,), "extra is 99999 in 41 rows and else at most 99;"),
    ],
)
def test_codes_are_named_with_the_values_beside_them(code: tuple[float, ...], says: str) -> None:
    values = np.tile(np.arange(100.0), 41)
    for place, value in enumerate(code):
        values[50 + place :: 100] = value
    (found,) = codes(values)
    assert found.state == "fail" and found.label.startswith(says)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(5).lognormal(3, 2, 4100),
        np.random.default_rng(6).standard_cauchy(4100),
        np.where(np.random.default_rng(7).random(4100) < 0.7, 0, np.random.default_rng(8).uniform(100, 200, 4100)),
        np.random.default_rng(9).integers(0, 2, 4100).astype(float),
        np.concatenate([np.arange(4099.0), [1e9]]),
    ],
    ids=["lognormal", "cauchy", "mostly none", "yes or no", "one outlier"],
)
def test_honest_extremes_are_no_codes(values: np.ndarray) -> None:
    """Zero beside amounts from 100 to 200 is "none", however far it is from them."""
    assert [m.state for m in codes(values)] == ["pass"]


def test_labels_in_another_order_are_named_and_a_weak_model_is_not() -> None:
    world = lay_out(np.random.default_rng(10))
    assert labels_of_other_rows(GATE, sides(world))[0].state == "pass"
    rng = np.random.default_rng(11)
    mixed = {**world, "label": rng.permutation(world["label"]), "train_label": rng.permutation(world["train_label"])}
    found = labels_of_other_rows(GATE, sides(mixed))[0]
    assert found.state != "pass" and "the labels may belong to other rows" in found.label


def test_neighbours_are_asked_only_of_dated_rows_that_are_split_at_random() -> None:
    world = lay_out(np.random.default_rng(12))
    assert neighbours_on_both_sides(GATE, sides(world)) == []
