"""Array code gives the bits of scikit-learn's pipeline asked about one row, whatever rows come with it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.answering import proving
from tasks.answering.asking import one_by_one, whole
from tasks.answering.compiling import Answering
from tasks.answering.proving import Recorded, differing, opened, prove
from tasks.science.data.tables import as_requests
from tasks.serving.release import Release, load_release, table
from tasks.serving.schema import RowSchema
from tasks.spec.metrics import TargetKind
from tests.answering.kinds import ESTIMATORS, MIXES, Model, made
from tests.conftest import ROOT

KINDS: tuple[TargetKind, ...] = ("binary", "multiclass", "regression")
CASES = [
    pytest.param(estimator, kind, mix, marks=[] if mix == "all" or kind == "multiclass" else pytest.mark.acceptance)
    for estimator in ESTIMATORS
    for kind in KINDS
    for mix in MIXES
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """scikit-learn warns of a column that was empty in training, and of short fits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def compiled(model: Model) -> Answering:
    proof = prove(model.content, model.manifest, model.pipeline, recorded(model))
    assert (proof.compiled, proof.why) == (True, "")
    found = opened(model.content, model.manifest.model_copy(update={"answering": proof}))
    assert found.answering is not None, found.why
    return found.answering


def recorded(model: Model) -> Recorded:
    rows = model.rows.assign(pay=0.0, level="")
    asked = rows[list(model.config.features)]
    scores = one_by_one(model.config.kind, model.pipeline, asked, len(model.manifest.classes))
    return Recorded(asked, scores, as_requests(model.config, rows))


def singly(model: Model, rows: pd.DataFrame) -> np.ndarray:
    """The reference by its definition: the whole pipeline, one row at a time."""
    asked, classes = rows[list(model.manifest.features)], len(model.manifest.classes)
    return np.concatenate(
        [whole(model.manifest.kind, model.pipeline, asked.iloc[at : at + 1], classes) for at in range(len(asked))]
    )


@pytest.mark.parametrize(("estimator", "kind", "mix"), CASES)
def test_every_kind_answers_with_the_bits_of_the_pipeline(
    tmp_path: Path, estimator: str, kind: TargetKind, mix: str
) -> None:
    model = made(tmp_path, estimator, kind, mix)
    answering = compiled(model)
    reference = singly(model, model.rows.head(25))
    batch = answering.of_table(model.rows)
    assert differing(batch[:25], reference) == 0
    alone = [answering.of_table(model.rows.iloc[at : at + 1]) for at in range(len(model.rows))]
    assert differing(np.concatenate(alone), batch) == 0
    requests = as_requests(model.config, model.rows.assign(pay=0.0, level=""))
    assert differing(answering.of_rows(requests), batch) == 0


@pytest.mark.parametrize(
    ("estimator", "kind", "mix", "classes", "parameters"),
    [
        ("linear", "multiclass", "all", 11, {}),
        ("hist_gradient_boosting", "multiclass", "all", 11, {"max_iter": 4}),
        ("random_forest", "multiclass", "names", 11, {"n_estimators": 4}),
        ("mlp", "multiclass", "numbers", 11, {}),
        ("linear", "regression", "all", 3, {"fit_intercept": False}),
        ("linear", "binary", "numbers", 3, {"fit_intercept": False}),
        ("hist_gradient_boosting", "regression", "all", 3, {"loss": "quantile", "quantile": 0.8}),
        ("random_forest", "binary", "numbers", 3, {"max_depth": None, "min_samples_leaf": 1}),
        ("mlp", "binary", "numbers", 3, {"activation": "tanh"}),
        ("mlp", "regression", "names", 3, {"activation": "logistic"}),
    ],
)
def test_parameters_that_change_the_arithmetic(
    tmp_path: Path, estimator: str, kind: TargetKind, mix: str, classes: int, parameters: dict[str, Any]
) -> None:
    """Eleven classes are summed pairwise by numpy, ten and fewer one by one."""
    model = made(tmp_path, estimator, kind, mix, classes, **parameters)
    assert differing(compiled(model).of_table(model.rows.head(30)), singly(model, model.rows.head(30))) == 0


def values(model: Model) -> st.SearchStrategy[dict[str, Any]]:
    """Rows that the service's schema takes: any number it allows, names that were never seen, gaps."""
    of: dict[str, st.SearchStrategy[Any]] = {
        "age": st.floats(0, 120) | st.none(),
        "hours": st.integers(0, 80),
        "never": st.floats(-3.4e38, 3.4e38) | st.none(),
        "since": st.dates().map(lambda day: day.isoformat()) | st.none(),
        "seen": st.datetimes().map(lambda at: at.isoformat() + "Z"),
        "job": st.sampled_from(["clerk", "driver", "nurse", "rare"]) | st.text(min_size=1, max_size=5) | st.none(),
        "sex": st.sampled_from(["f", "m"]),
        "owner": st.booleans() | st.none(),
        "town": st.text(min_size=1, max_size=3) | st.sampled_from(["town 1", "town 59"]) | st.none(),
    }
    return st.fixed_dictionaries(of)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_any_row_that_a_client_may_send(tmp_path_factory: pytest.TempPathFactory, estimator: str) -> None:
    model = made(tmp_path_factory.mktemp("model"), estimator, "binary", "all")
    answering, schema = compiled(model), RowSchema(model.manifest)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(values(model), min_size=1, max_size=4))
    def asked(rows: list[dict[str, Any]]) -> None:
        good, _ = schema.check(rows)
        if good:
            assert differing(answering.of_rows(good), singly(model, table(good, model.manifest))) == 0

    asked()


def test_a_threshold_is_met_from_both_sides(tmp_path: Path) -> None:
    """Each edge of each threshold is asked through the whole pipeline, not the tree alone."""
    model = made(tmp_path, "random_forest", "binary", "numbers", n_estimators=3)
    answering = compiled(model)
    estimator: Any = answering.estimator
    found = np.unique(estimator.trees.threshold[~estimator.trees.leaf & (estimator.trees.feature == 0)])
    assert len(found) > 20
    edges = [
        edge
        for threshold in found.tolist()
        for edge in (
            math.nextafter(threshold, -math.inf),
            threshold,
            math.nextafter(threshold, math.inf),
            float(np.nextafter(np.float32(threshold), np.float32(-np.inf))),
            float(np.nextafter(np.float32(threshold), np.float32(np.inf))),
        )
    ]
    rows = pd.concat([model.rows] * (len(edges) // len(model.rows) + 1)).head(len(edges)).assign(age=edges)
    assert differing(answering.of_table(rows), singly(model, rows)) == 0


def test_scores_of_a_batch_are_what_scikit_learn_does_not_promise(tmp_path: Path) -> None:
    """The reason for all of this: scikit-learn's batch has other bits, and the general path asks row by row."""
    model = made(tmp_path, "mlp", "regression", "numbers")
    asked = model.rows[list(model.manifest.features)]
    assert differing(model.pipeline.predict(asked), singly(model, asked)) > 0
    general = Release(model.manifest, model.pipeline)
    assert differing(general.score(model.rows), singly(model, asked)) == 0


def last_bit(answering: Answering) -> None:
    estimator: Any = answering.estimator
    object.__setattr__(estimator, "intercept", np.nextafter(estimator.intercept, 9))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (last_bit, " of the known rows"),
        (lambda answering: answering.encoding.codes["job"].pop("nurse"), "1 of the columns of names"),
    ],
)
def test_one_other_bit_and_the_pipeline_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, said: str
) -> None:
    """Array code that is made to be wrong by a bit is noticed by training, and again where it is loaded."""
    model = made(tmp_path, "linear", "regression", "all")
    proof, right = prove(model.content, model.manifest, model.pipeline), proving._compiled

    def wrong(*arguments: Any) -> Answering:
        found = right(*arguments)
        change(found)
        return found

    monkeypatch.setattr(proving, "_compiled", wrong)
    refused = prove(model.content, model.manifest, model.pipeline, recorded(model))
    assert not refused.compiled and refused.why.startswith("compiled, it differs from scikit-learn in ")
    assert said in refused.why
    loaded = opened(model.content, model.manifest.model_copy(update={"answering": proof}))
    assert loaded.answering is None and "known rows are not answered here with the bits of training" in loaded.why


def test_what_is_compiled_answers_without_scikit_learn(tmp_path: Path) -> None:
    """Neither it nor skops is imported by a process that loads a release and answers."""
    model = made(tmp_path, "random_forest", "regression", "all")
    proof = prove(model.content, model.manifest, model.pipeline)
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "model.skops").write_bytes(model.content)
    (folder / "manifest.json").write_text(model.manifest.model_copy(update={"answering": proof}).model_dump_json())
    request = as_requests(model.config, model.rows.head(1).assign(pay=0.0, level=""))
    program = (
        "import sys, json, pathlib; from tasks.serving.release import load_release\n"
        "release = load_release(pathlib.Path(sys.argv[1]))\n"
        "print(release.answer(json.loads(sys.argv[2])).tolist(), {'sklearn', 'skops', 'numba'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program, str(folder), json.dumps(request)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert told == f"{singly(model, model.rows.head(1)).tolist()} set()\n"


def test_a_version_from_before_is_compared_where_it_is_loaded(tmp_path: Path) -> None:
    model = made(tmp_path, "linear", "multiclass", "numbers")
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "model.skops").write_bytes(model.content)
    (folder / "manifest.json").write_text(model.manifest.model_dump_json())
    release = load_release(folder)
    assert release.answering is not None and release.general == ""
    assert differing(release.score(model.rows.head(20)), singly(model, model.rows.head(20))) == 0


def test_what_is_not_compiled_says_why(tmp_path: Path) -> None:
    threads = made(tmp_path / "a", "random_forest", "binary", "numbers", n_jobs=2)
    assert prove(threads.content, threads.manifest, threads.pipeline).why == (
        "RandomForestClassifier sums its trees in the order in which 2 threads end"
    )
    old = opened(threads.content, threads.manifest)
    assert old.answering is None and old.why == "its manifest says of no comparison with array code"
