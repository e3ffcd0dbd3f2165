"""Attribution that moves between features, and attributions that cannot be compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.science.monitors.drift.attribution import attribution_findings
from tasks.science.stats.permutation import permuted_shares
from tasks.spec.model import ModelConfig
from tests.statistics.live import WEIGHTS, explained, people, world

ALPHA = 0.001


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return world()[0]


def side(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return explained(people(n, rng), n, rng)


def test_the_distance_is_the_share_that_moved(config: ModelConfig) -> None:
    flat = pd.DataFrame(1.0, index=range(100), columns=list(WEIGHTS))
    moved = flat.assign(debt=2.0, income=0.0)  # a fifth of the whole goes from one to the other
    distance, ranking = attribution_findings(config, flat, moved, ALPHA, 0)
    assert distance.value == pytest.approx(0.2) and distance.low == pytest.approx(0.2) == distance.high
    assert not distance.alarm, "the floor is 20 %, and beyond it begins drift"
    assert "debt (20% to 40%) gained; income (20% to 0%) lost" in distance.sentence
    assert ranking.value is not None and not ranking.alarm


def test_drift_is_an_alarm_and_names_who_gained_and_lost(config: ModelConfig) -> None:
    now = side(300, 1)
    distance, ranking = attribution_findings(config, side(1000, 0), now.assign(income=now["income"] / 10), ALPHA, 0)
    assert distance.alarm and distance.low is not None and distance.low > 0.2
    assert "income" in distance.sentence.split("lost")[0] and "gained" in distance.sentence
    assert ranking.value is not None and ranking.value < 1 and "in the reference" in ranking.sentence


def test_a_large_distance_of_few_rows_is_no_alarm_where_chance_may_do_it(config: ModelConfig) -> None:
    rng = np.random.default_rng(0)
    heavy = [pd.DataFrame(rng.pareto(0.7, (40, len(WEIGHTS))), columns=list(WEIGHTS)) for _ in range(2)]
    distance, _ = attribution_findings(config, *heavy, ALPHA, 0)
    assert distance.value is not None and distance.value > 0.2 and not distance.alarm


def test_the_same_rows_have_not_moved_and_the_seed_decides(config: ModelConfig) -> None:
    first, again = (attribution_findings(config, side(500, 0), side(500, 1), ALPHA, 3) for _ in range(2))
    assert first == again
    distance, ranking = attribution_findings(config, side(500, 0), side(500, 0), ALPHA, 3)
    assert distance.value == 0 and ranking.value == pytest.approx(1.0)


def test_permutation_keeps_the_sums() -> None:
    rng = np.random.default_rng(0)
    then, now = rng.random((40, 3)), rng.random((20, 3))
    old, new = permuted_shares(then, now, 700, 1)
    assert old.shape == new.shape == (700, 3)
    assert old.sum(axis=1) == pytest.approx(np.ones(700)) and new.mean(axis=0) == pytest.approx(
        np.concatenate([then, now]).sum(axis=0) / np.concatenate([then, now]).sum(), abs=0.01
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a.head(0), "0 rows of the window are explained"),
        (lambda a: a.head(1), "1 row of the window is explained"),
        (lambda a: a.drop(columns="debt"), "lack debt"),
        (lambda a: a.assign(strange=1.0), "name strange, which the model does not use"),
        (lambda a: a.assign(debt=np.nan), "NaN or infinite"),
        (lambda a: a.assign(debt=np.inf), "NaN or infinite"),
        (lambda a: a * 0, "nothing is attributed"),
    ],
    ids=["empty", "one row", "lacking", "strange", "missing", "infinite", "zero"],
)
def test_what_cannot_be_compared_says_so(config: ModelConfig, change: object, told: str) -> None:
    assert callable(change)
    (finding,) = attribution_findings(config, side(500, 0), change(side(300, 1)), ALPHA, 0)
    assert finding.value is None and not finding.alarm and told in finding.sentence and "not known" in finding.sentence
