"""Leaves, hidden layers, features and a user's function; in memory and from the file that the service loads."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from skops import io as skops

from tasks.science.models.embeddings import (
    DIMENSIONS,
    _named,
    _representation,
    embed,
    fit_space,
    hidden_layer,
    leaf_codes,
    representing,
)
from tasks.science.models.estimators import build
from tasks.serving.trusted import TRUSTED
from tasks.spec.errors import ConfigError
from tests.statistics.groupings import config, rows


def walked(estimator: Any, x: np.ndarray) -> np.ndarray:
    """(n, trees) the leaf of each row by hand, with scikit-learn's rules for missing values and categories."""
    known, position = estimator._bin_mapper.make_known_categories_bitsets()

    def has(bits: np.ndarray, value: float) -> bool:
        return bool((int(bits[int(value) // 32]) >> (int(value) % 32)) & 1)

    def leaf(tree: Any, row: np.ndarray) -> int:
        at = 0
        while not tree.nodes[at]["is_leaf"]:
            node, value = tree.nodes[at], row[tree.nodes[at]["feature_idx"]]
            left = bool(node["missing_go_to_left"])
            if not np.isnan(value) and not node["is_categorical"]:
                left = value <= node["num_threshold"]
            elif not np.isnan(value) and value >= 0:
                inside = has(tree.raw_left_cat_bitsets[node["bitset_idx"]], value)
                left = inside or (left and not has(known[position[node["feature_idx"]]], value))
            at = int(node["left"] if left else node["right"])
        return at

    return np.array(
        [
            [leaf(tree, row) for iteration in estimator._predictors for tree in iteration]
            for row in estimator._preprocess_X(x, reset=False)
        ]
    )


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("categories", [None, [0, 2]])
def test_the_leaves_of_boosted_trees_are_those_of_a_walk_by_hand(task: str, categories: list[int] | None) -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack(
        [rng.integers(0, 9, 400), rng.normal(size=400), rng.integers(0, 40, 400), rng.normal(size=400)]
    ).astype(float)
    x[rng.random(x.shape) < 0.1] = np.nan
    y = np.nan_to_num(x[:, 0]) % 3 + np.nan_to_num(x[:, 1]) + (np.nan_to_num(x[:, 2]) % 5)
    fit = {"max_iter": 8, "max_leaf_nodes": 10, "min_samples_leaf": 5, "categorical_features": categories}
    estimator = (
        HistGradientBoostingRegressor(**fit).fit(x, y)
        if task == "regression"
        else HistGradientBoostingClassifier(**fit).fit(x, np.digitize(y, [2.0] if task == "binary" else [1.0, 4.0]))
    )
    asked = x[:120].copy()
    asked[:5, 0], asked[5:9, 2], asked[9:12, 1] = (
        77.0,
        -1.0,
        1e9,
    )  # an unknown category, one that is none, and a number far out
    found = leaf_codes(estimator, asked)
    assert found is not None
    codes, width = found
    trees = [tree for iteration in estimator._predictors for tree in iteration]
    starts = np.concatenate([[0], np.cumsum([len(t.nodes) for t in trees])])
    assert width == starts[-1] and (codes - starts[:-1] == walked(estimator, asked)).all()
    value = sum(t.nodes["value"][c - s] for t, c, s in zip(trees, codes.T, starts, strict=False))
    if task == "regression":
        assert np.ravel(estimator._baseline_prediction) + value == pytest.approx(estimator.predict(asked))


@pytest.mark.parametrize("kind", [RandomForestRegressor, ExtraTreesClassifier])
def test_rows_are_as_close_as_the_trees_in_which_they_share_a_leaf(kind: Any) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4))
    estimator = kind(n_estimators=20, max_leaf_nodes=6, random_state=0).fit(x, x[:, 0] > 0)
    pipeline = Pipeline([("prepare", FunctionTransformer()), ("estimator", estimator)])
    c = config("logistic_regression").model_copy(update={"features": ("a", "b", "c", "d")})
    source, table = _representation(pipeline, c, pd.DataFrame(x, columns=list("abcd")))
    leaves = estimator.apply(x)
    shared = (leaves[:, None] == leaves[None]).mean(axis=2)
    assert source == "the leaves of 20 trees" and (table @ table.T).toarray() == pytest.approx(shared)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_the_hidden_layer_gives_the_networks_own_answer(activation: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 3))
    y = x[:, 0] > 0
    net = MLPClassifier((8, 5), activation=activation, max_iter=1000, tol=1e-2, random_state=0).fit(x, y)
    odds = hidden_layer(net, x) @ net.coefs_[-1] + net.intercepts_[-1]
    assert hidden_layer(net, x).shape == (200, 5)
    assert 1 / (1 + np.exp(-odds[:, 0])) == pytest.approx(net.predict_proba(x)[:, 1])


@pytest.mark.parametrize("kind", ["logistic_regression", "hist_gradient_boosting", "random_forest"])
def test_a_row_has_its_place_alone_from_memory_and_from_the_file(kind: str) -> None:
    rng = np.random.default_rng(3)
    frame, c = rows(900, rng), config(kind)
    pipeline = build(c).fit(frame[list(c.features)], frame["_label"] > 0.5)
    file = io.BytesIO()
    skops.dump(pipeline, file)
    loaded = skops.loads(file.getvalue(), trusted=list(TRUSTED))
    space = fit_space(representing(loaded, c), c, frame.head(600), 0)
    placed = embed(representing(loaded, c), c, frame.tail(300), space)
    assert placed.shape[1] <= DIMENSIONS + 1 and np.isfinite(placed).all() and space.explained <= 1
    assert (embed(representing(pipeline, c), c, frame.tail(300), space) == placed).all()
    assert embed(representing(pipeline, c), c, frame.tail(1), space) == pytest.approx(placed[-1:])
    again = fit_space(representing(pipeline, c), c, frame.head(600), 0)
    assert (again.components == space.components).all()
    assert embed(representing(pipeline, c), c, frame.head(0), space).shape == (0, placed.shape[1])


def test_missing_and_unknown_values_have_a_place() -> None:
    frame, c = rows(600, np.random.default_rng(4)), config("hist_gradient_boosting")
    pipeline = build(c).fit(frame[list(c.features)], frame["_label"] > 0.5)
    space = fit_space(representing(pipeline, c), c, frame, 0)
    assert np.isfinite(embed(representing(pipeline, c), c, frame.assign(x1=np.nan, kind="never seen"), space)).all()


def test_another_version_is_told_from_this_one() -> None:
    frame, c = rows(600, np.random.default_rng(5)), config("hist_gradient_boosting")
    first = build(c).fit(frame[list(c.features)], frame["_label"] > 0.5)
    other = build(c).fit(frame.head(300)[list(c.features)], frame.head(300)["_label"] > 0.5)
    with pytest.raises(ConfigError, match="belongs to another version"):
        embed(representing(other, c), c, frame, fit_space(representing(first, c), c, frame, 0))


def good(pipeline: Any, frame: pd.DataFrame) -> np.ndarray:
    return np.column_stack([frame["x1"], frame["x2"]])


def short(pipeline: Any, frame: pd.DataFrame) -> np.ndarray:
    return np.zeros((len(frame) - 1, 2))


def flat(pipeline: Any, frame: pd.DataFrame) -> np.ndarray:
    return np.zeros(len(frame))


def words(pipeline: Any, frame: pd.DataFrame) -> list[list[str]]:
    return [["a"]] * len(frame)


def broken(pipeline: Any, frame: pd.DataFrame) -> np.ndarray:
    raise RuntimeError("no")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("short", r"gives the shape \(19, 2\) for 20 rows; allowed is \(20, d\)"),
        ("flat", r"gives the shape \(20,\)"),
        ("words", "failed on 20 rows"),
        ("broken", "RuntimeError: no"),
        ("absent", "cannot be imported"),
    ],
)
def test_a_users_function_that_does_not_fit_is_refused_in_words(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        asked = rows(20, np.random.default_rng(0))
        _named(f"tests.science.models.test_embeddings:{name}", None, asked)  # type: ignore[arg-type]


def test_a_users_function_is_asked() -> None:
    c = config("logistic_regression")
    c = c.model_copy(
        update={
            "monitoring": c.monitoring.model_copy(update={"embedding": "tests.science.models.test_embeddings:good"})
        }
    )
    frame = rows(300, np.random.default_rng(6))
    frame.loc[7, "x1"] = np.nan
    space = fit_space(representing(None, c), c, frame, 0)  # type: ignore[arg-type]
    placed = embed(representing(None, c), c, frame, space)  # type: ignore[arg-type]
    assert (
        space.source.endswith(":good") and np.isnan(placed[7]).all() and np.isfinite(np.delete(placed, 7, axis=0)).all()
    )
    with pytest.raises(ConfigError, match="finite numbers for 0 of 300"):
        fit_space(representing(None, c), c, frame.assign(x1=np.nan), 0)  # type: ignore[arg-type]
