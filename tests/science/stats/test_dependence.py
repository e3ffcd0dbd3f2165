"""Do labels depend on who gave them: against ordinary least squares, and on worlds where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.science.stats.dependence import dependence


def rows(n: int, seed: int) -> tuple[pd.DataFrame, np.random.Generator]:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "job": rng.choice(list("wxyz"), n)})
    table.loc[rng.random(n) < 0.05, "a"] = np.nan
    return table, rng


def labels(table: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    logit = table["a"].fillna(0) - 0.8 * (table["job"] == "w") + 0.5 * table["b"] ** 2 - 0.8
    return np.asarray(rng.random(len(table)) < 1 / (1 + np.exp(-logit)))


def test_the_difference_is_that_of_a_regression_on_inputs_and_source() -> None:
    table, rng = rows(6000, 1)
    table = table.fillna({"a": 0.0})
    source = rng.random(6000) < 1 / (1 + np.exp(-table["a"].to_numpy()))
    job = pd.get_dummies(table["job"]).to_numpy(float)[:, 1:]
    mean = 0.7 * table["a"].to_numpy() + job @ [0.2, -0.4, 0.1]
    label = mean + 0.3 * source + rng.normal(size=6000)
    design = np.column_stack([np.ones(6000), table[["a", "b"]].to_numpy(), job, source])
    rank = np.argsort(np.argsort(label)) / 6000  # numbers count by their ranks
    coefficient, *_ = np.linalg.lstsq(design, rank, rcond=None)
    spread = float(np.std(rank - design @ coefficient))
    found = dependence(label, source, table, 0.95, 0)
    assert found is not None and found.p < 1e-6
    assert found.value == pytest.approx(coefficient[-1] / spread, abs=0.05)
    assert found.low < coefficient[-1] / spread < found.high


def test_sources_of_other_mixes_that_agree_are_rarely_accused() -> None:
    """Twenty worlds in which one source sees more of one kind of rows: at 5 %, five accusations have a chance of 0.3
    %."""
    accused, covered = 0, 0
    for seed in range(20):
        table, rng = rows(800, seed)
        source = rng.random(800) < np.where(table["job"] == "w", 0.7, 0.35)
        found = dependence(labels(table, rng), source, table, 0.95, seed)
        assert found is not None
        accused += found.p < 0.05
        covered += found.low < 0 < found.high
    assert accused < 5 and covered >= 14


@pytest.mark.parametrize("lie", ["a kind of rows", "both ways"])
def test_a_lie_about_one_kind_of_rows_is_seen(lie: str) -> None:
    table, rng = rows(3000, 5)
    source, truth = rng.random(3000) < 0.5, labels(table, rng)
    kind = source & table["job"].isin(["x", "w"]).to_numpy() & (rng.random(3000) < 0.7)
    said = truth.copy()
    said[kind] = True if lie == "a kind of rows" else (table["b"] > 0).to_numpy()[kind]
    found = dependence(said, source, table, 0.95, 0)
    honest = dependence(truth, source, table, 0.95, 0)
    assert found is not None and honest is not None
    assert found.p < 0.01 < honest.p and found.p < honest.p / 10


def test_a_row_that_is_sent_a_thousand_times_counts_once() -> None:
    table, rng = rows(600, 6)
    source, label = rng.random(600) < 0.5, labels(table, rng)
    again = np.concatenate([np.arange(600), np.repeat(np.flatnonzero(source)[:1], 1000)])
    one = dependence(label, source, table, 0.95, 0)
    many = dependence(label[again], source[again], table.iloc[again].reset_index(drop=True), 0.95, 0)
    assert one is not None and many is not None
    assert one.rows == many.rows == 600 and many.value == pytest.approx(one.value, abs=0.02)


def test_kinds_of_rows_that_one_source_alone_labels_say_nothing() -> None:
    table, rng = rows(1500, 7)
    source, label = (table["job"] == "w").to_numpy(), labels(table, rng)
    label = label | source
    found = dependence(label, source, table, 0.95, 0)
    assert found is None or found.p > 0.01 or found.high - found.low > 0.3


def test_too_few_rows_and_labels_that_do_not_vary_give_no_answer() -> None:
    table, rng = rows(200, 8)
    assert dependence(labels(table, rng), np.arange(200) < 9, table, 0.95, 0) is None
    assert dependence(np.ones(200, bool), rng.random(200) < 0.5, table, 0.95, 0) is None
    classes = rng.integers(0, 3, 200)
    assert dependence(classes, rng.random(200) < 0.5, table, 0.95, 0) is not None
