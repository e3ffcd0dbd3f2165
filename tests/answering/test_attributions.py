"""Attributions against Shapley's own formula over all subsets of columns, and against the shap package."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.answering.attributions import Attributor
from tasks.answering.background import ROWS, background_rows, recorded, steps
from tasks.answering.compiling import Answering
from tasks.answering.proving import opened, prove
from tasks.spec.data import Column
from tasks.spec.metrics import TargetKind
from tests.answering.kinds import ESTIMATORS, Model, made

KINDS: tuple[TargetKind, ...] = ("binary", "multiclass", "regression")


def read(model: Model) -> tuple[Answering, np.ndarray]:
    """A model's array code, and its background rows, encoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        proof = prove(model.content, model.manifest, model.pipeline)
    found = opened(model.content, model.manifest.model_copy(update={"answering": proof})).answering
    assert found is not None, proof.why
    by_name = {c.name: c for c in model.manifest.columns}
    background = recorded([by_name[name] for name in model.manifest.features], model.rows)
    return found, background_rows(found.encoding, background)


@pytest.fixture
def quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def output(answering: Answering, place: int | None, rows: np.ndarray, estimator: str) -> np.ndarray:
    """What is explained of encoded rows: written anew, from what the service answers where that says it."""
    raw = answering.estimator.raw(rows)
    if place is None:
        return raw[:, 0]
    own = raw[:, answering.codes.tolist().index(place)]
    return own if estimator == "random_forest" else own - raw.mean(axis=1)


def shapley(value: Any, columns: int) -> np.ndarray:
    """Shapley 1953: the mean of what a column adds, over all subsets of the others."""
    worth = [value([at for at in range(columns) if subset >> at & 1]) for subset in range(1 << columns)]
    found = np.zeros(columns)
    for subset in range(1 << columns):
        size = subset.bit_count()
        for at in range(columns):
            if not subset >> at & 1:
                weight = math.factorial(size) * math.factorial(columns - size - 1) / math.factorial(columns)
                found[at] += weight * (worth[subset | 1 << at] - worth[subset])
    return found


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_gives_shapley_values_that_add_up(
    tmp_path: Path, quiet: Any, estimator: str, kind: TargetKind
) -> None:
    model = made(tmp_path, estimator, kind, "all", rows=300)
    answering, background = read(model)
    attributor, place = Attributor(answering, background), 1 if kind == "multiclass" else None
    for vector in answering.encoding.table(model.rows)[[0, 7]]:

        def mean(columns: list[int], vector: np.ndarray = vector) -> float:
            rows = background.copy()
            rows[:, columns] = vector[columns]
            return float(output(answering, place, rows, estimator).mean())

        found = attributor(vector, place)
        expected = shapley(mean, len(vector))
        assert found.base == pytest.approx(mean([]), abs=1e-12)
        assert found.output == pytest.approx(output(answering, place, vector[None], estimator)[0], abs=1e-12)
        assert found.columns.sum() == pytest.approx(found.output - found.base, abs=1e-9)
        if estimator == "mlp":
            assert found.standard_error is not None and 0 < found.standard_error < 0.05
            assert np.abs(found.columns - expected).max() < 6 * found.standard_error
        else:
            assert found.standard_error is None and np.abs(found.columns - expected).max() < 1e-9


def test_the_output_is_the_log_odds_of_what_is_answered(tmp_path: Path, quiet: Any) -> None:
    for estimator in ("linear", "hist_gradient_boosting", "mlp"):
        model = made(tmp_path / estimator, estimator, "binary", "all", rows=300)
        answering, background = read(model)
        scores = model.pipeline.predict_proba(model.rows[list(model.manifest.features)].head(5))[:, 1]
        vectors = answering.encoding.table(model.rows.head(5))
        found = [Attributor(answering, background)(vector, None).output for vector in vectors]
        assert found == pytest.approx(np.log(scores / (1 - scores)), abs=1e-9)


def test_linear_models_give_coefficient_times_distance_from_the_mean(tmp_path: Path, quiet: Any) -> None:
    """One-hot columns, marks of gaps and means of labels belong to the column that they were made of."""
    model = made(tmp_path, "linear", "binary", "all", rows=300)
    answering, background = read(model)
    by_name = {c.name: c for c in model.manifest.columns}
    features = list(model.manifest.features)
    kept = recorded([by_name[name] for name in features], model.rows)
    vector = answering.encoding.table(model.rows.head(1))[0]
    found = dict(zip(features, Attributor(answering, background)(vector, None).columns, strict=True))
    prepare, estimator = (step for _, step in model.pipeline.steps)
    names = list(prepare.get_feature_names_out())
    own = prepare.transform(model.rows[features].head(1))
    own = own.toarray()[0] if hasattr(own, "toarray") else own[0]
    for job in ("clerk", "driver", "nurse"):
        assert f"category__job_{job}" in names
    share = {job: kept["job"].values.count(job) / ROWS for job in ("clerk", "driver", "nurse")}
    at = [names.index(f"category__job_{job}") for job in share]
    others = [i for i, name in enumerate(names) if name.startswith("category__job_") and i not in at]
    expected = sum(estimator.coef_[0, i] * (own[i] - share[job]) for i, job in zip(at, share, strict=True))
    rest = 1 - sum(share.values())
    expected += sum(estimator.coef_[0, i] * own[i] for i in others) - (estimator.coef_[0, others].max() * rest)
    assert len(others) == 1 or rest == 0
    assert found["job"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("estimator", ["hist_gradient_boosting", "random_forest"])
@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_trees_agree_with_the_shap_package(tmp_path: Path, quiet: Any, estimator: str, kind: TargetKind) -> None:
    """Its own interventional explainer reads numbers as float32 and knows no gaps, so it is asked beside thresholds."""
    import shap

    model = made(tmp_path, estimator, kind, "numbers", rows=400)
    answering, background = read(model)
    features = list(model.manifest.features)
    full = np.round(np.where(np.isnan(background), np.nanmean(background, axis=0), background)) + 1 / 16
    attributor = Attributor(answering, full)
    vectors = np.round(answering.encoding.table(model.rows.dropna(subset=features).head(20))) + 1 / 16
    explains = shap.TreeExplainer(model.pipeline.steps[-1][1], data=full, feature_perturbation="interventional")
    theirs = np.asarray(explains.shap_values(vectors, check_additivity=False))
    theirs = theirs[..., 1] if theirs.ndim == 3 else theirs
    ours = np.stack([attributor(vector, None).columns for vector in vectors])
    assert np.abs(ours - theirs).max() < 1e-6
    assert np.abs(theirs).max() > 0.01


def test_a_deep_forest_over_more_columns_than_a_word_has_bits(quiet: Any) -> None:
    """Sets of columns take two words here; a column that no tree asks about gets nothing."""
    from sklearn.ensemble import RandomForestRegressor

    from tasks.answering.estimators import Forest
    from tasks.answering.preparation import Preparation, Quantities
    from tasks.answering.tree_shapley import TreeShapley
    from tasks.answering.trees import Split, Trees

    rng = np.random.default_rng(3)
    table = rng.normal(size=(600, 90)).astype(np.float32).astype(np.float64)
    label = table[:, 70] * table[:, 3] + table[:, 89] + rng.normal(size=600) / 4
    fitted = RandomForestRegressor(4, random_state=0).fit(table, label)
    splits = [
        Split(t.children_left, t.children_right, t.feature, t.threshold, t.missing_go_to_left, t.value[:, 0])
        for t in (tree.tree_ for tree in fitted.estimators_)
    ]
    trees = Trees(splits)
    explains = TreeShapley(trees, table[:64], np.arange(90), 90)
    values = trees.values[:, 0] / 4
    asked = {int(f) for s in splits for f in s.feature if f >= 0}
    forest = Forest(Preparation([Quantities(np.arange(90))], False), trees)
    for row in table[100:104]:
        found = explains(row, values)
        assert found.sum() + explains.base(values) == pytest.approx(forest.of_prepared(row[None])[0, 0], abs=1e-9)
        assert explains.base(values) == pytest.approx(fitted.predict(table[:64]).mean(), abs=1e-9)
        assert not found[[at for at in range(90) if at not in asked]].any() and found[89] != 0


def column(**keys: Any) -> Column:
    return Column.model_validate({"name": "hours", "type": "number", "changes": "free", **keys}, strict=False)


def test_steps_are_coarse_within_bounds_and_of_nobody_alone() -> None:
    rng = np.random.default_rng(0)
    hours = np.sort(rng.normal(38.123, 6.321, 5000))
    found = steps(column(minimum=30, maximum=45), hours)
    assert found == (30, 31, 32, 33, 34, 35, 36, 37, 37.5, 38, 39, 40, 41, 42, 43, 44, 45)
    mostly = np.sort(np.concatenate([np.zeros(4900), rng.lognormal(8, 1, 100)]))
    assert steps(column(), mostly)[0] == 0 and len(steps(column(), mostly)) > 10  # steps where few rows are
    assert not {v for v in steps(column(), mostly) if v in set(mostly.tolist())} - {0.0}
    few = np.sort(np.concatenate([np.full(100, 1.0), np.full(30, 2.0), np.full(3, 7.0)]))
    assert steps(column(type="integer"), few) == (1.0, 2.0)  # three rows are too few
    days = np.sort(rng.integers(10_000, 20_000, 1000).astype(float))
    assert all(v == int(v) for v in steps(column(type="date"), days))
    assert steps(column(), np.empty(0)) == ()
