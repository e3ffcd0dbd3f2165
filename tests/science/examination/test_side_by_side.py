"""Two models on the same rows: what is said, against numbers counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.science.examination.side_by_side import Sides, flips, group_effects, metric_effects
from tasks.science.stats.comparison import paired_difference, tango


def sides(n: int = 400, **changes: object) -> Sides:
    rng = np.random.default_rng(3)
    label = rng.random(n) < 0.4
    old = np.clip(0.35 * label + rng.random(n) * 0.65, 0, 1)
    known = {
        "kind": "binary", "classes": (), "label": label, "old": old, "new": np.clip(old + rng.normal(0, 0.1, n), 0, 1),
        "old_threshold": 0.5, "new_threshold": 0.4, "seed": 1, "entity": None,
        "groups": pd.DataFrame({"sex": np.where(np.arange(n) % 3, "f", "m")}),
    }  # fmt: skip
    return Sides(**{**known, **changes})  # type: ignore[arg-type]


def test_each_decides_by_its_own_threshold_and_every_flip_is_counted() -> None:
    s = sides()
    old, new = s.old >= 0.5, s.new >= 0.4
    found = flips(s)
    assert found is not None and (found.up, found.down) == (int((new & ~old).sum()), int((old & ~new).sum()))
    accuracy = next(e for e in metric_effects(s) if e.name == "accuracy")
    assert (accuracy.old, accuracy.new) == ((old == s.label).mean(), (new == s.label).mean())
    auc = next(e for e in metric_effects(s) if e.name == "roc_auc")
    told = paired_difference("roc_auc", s.label, s.new, s.old, 0.5, 0.975, 1)
    assert (auc.difference, auc.low, auc.high) == pytest.approx((told.value, told.low, told.high))


def test_rates_of_groups_are_those_of_their_rows_with_the_paired_interval() -> None:
    s = sides()
    for group in group_effects(s):
        inside = (s.groups["sex"] == group.group).to_numpy()
        old, new = (s.old >= 0.5)[inside], (s.new >= 0.4)[inside]
        rate, true, false = group.effects
        assert (rate.name, rate.rows, rate.old, rate.new) == ("selection_rate", inside.sum(), old.mean(), new.mean())
        gained, lost = int((new & ~old).sum()), int((old & ~new).sum())
        assert (group.flipped_up, group.flipped_down) == (gained, lost)
        assert (rate.low, rate.high) == pytest.approx(tango(gained, lost, len(old), 0.975))
        positive = s.label[inside]
        assert (true.old, true.new) == (old[positive].mean(), new[positive].mean())
        assert (false.old, false.new) == (old[~positive].mean(), new[~positive].mean())


def test_classes_name_from_and_to_and_numbers_decide_nothing() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet((1, 1, 1), 90)
    other = np.roll(scores, 1, axis=1)
    s = sides(90, kind="multiclass", classes=("a", "b", "c"), label=rng.integers(0, 3, 90), old=scores, new=other)
    found = flips(s)
    assert found is not None and found.up == 90 and {(one, two) for one, two, _ in found.moves} == {
        ("a", "b"), ("b", "c"), ("c", "a"),
    }  # fmt: skip
    assert sum(count for *_, count in found.moves) == 90
    s = sides(kind="regression", label=rng.random(400), old_threshold=None, new_threshold=None)
    assert flips(s) is None and [e.name for g in group_effects(s) for e in g.effects] == ["mae", "mae"]


def test_a_model_beside_itself_differs_by_nothing() -> None:
    s = sides(new=sides().old, new_threshold=0.5)
    assert {(e.difference, e.low, e.high) for e in metric_effects(s)} == {(0.0, 0.0, 0.0)}


def test_intervals_cover_the_true_difference_in_groups() -> None:
    """A selection rate that moves by 0.04 in truth, 300 times: 95 % of intervals hold it, within sampling."""
    rng, held = np.random.default_rng(11), 0
    for _ in range(300):
        old = rng.random(300)
        new = np.where(rng.random(300) < 0.04 / 0.7, 0.9, old)  # of the 70 % that are below 0.7, one in so many rises
        s = sides(300, label=np.arange(300) % 2 == 0, old=old, new=new, old_threshold=0.7, new_threshold=0.7,
                  groups=pd.DataFrame({"all": ["x"] * 300}))  # fmt: skip
        rate = group_effects(s)[0].effects[0]
        held += rate.low is not None and rate.high is not None and rate.low <= 0.04 <= rate.high
    assert held >= 300 * 0.95 - 3 * (300 * 0.95 * 0.05) ** 0.5
