"""What an estimator may be and how its rows weigh, from a config through the real stages to the served file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.records.pages.verdict import data_sentences
from tasks.science.models.estimators import build
from tasks.serving.release import load_release
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.evidence import Verdict
from tasks.spec.metrics import TargetKind
from tasks.spec.model import load_model
from tasks.stages.common import ModelPaths
from tasks.stages.evaluate import evaluate
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train
from tests.stages.worlds import NAME, document, table, write

TREES = {"kind": "hist_gradient_boosting", "parameters": {"max_iter": 20, "max_leaf_nodes": 5}}


def laid(root: Path, kind: TargetKind, rows: int, change: Any = None, code: Any = None, **changes: Any) -> ModelPaths:
    """The stages that make a model, on the generated table as ``change`` makes it; ``code``: files of the model's."""
    paths = write(root, document(kind) | changes, table(rows) if change is None else change(table(rows)))
    for name, text in (code or {}).items():
        (root / "deployments/models" / NAME / "code").mkdir(exist_ok=True)
        (root / "deployments/models" / NAME / "code" / name).write_text(text)
    for stage in (ingest, prepare, train):
        stage(paths, load_model(root, NAME))
    return paths


@pytest.mark.parametrize(
    ("kind", "estimator", "weights"),
    [
        ("binary", {"kind": "logistic_regression"}, "balanced"),
        pytest.param("binary", TREES, {"over 30": 3.0, "up to 30": 1.0}, marks=pytest.mark.acceptance),
        pytest.param("multiclass", TREES, "balanced", marks=pytest.mark.acceptance),
        (
            "multiclass",
            {"kind": "random_forest", "parameters": {"n_estimators": 10, "min_samples_leaf": 20}},
            {"low": 1.0, "middle": 1.0, "high": 5.0},
        ),
    ],
)
def test_class_weights_move_scores_to_the_heavier_class_and_the_file_is_served(
    tmp_path: Path, kind: TargetKind, estimator: dict[str, Any], weights: Any
) -> None:
    plain = laid(tmp_path / "plain", kind, 1500, estimator=estimator)
    weighted = laid(tmp_path / "weighted", kind, 1500, estimator=estimator | {"class_weight": weights})
    rows, taught = (pd.read_parquet(plain.prepared / f"{side}.parquet") for side in ("holdout", "train"))
    before, after = (load_release(p.model).score(rows) for p in (plain, weighted))
    if kind == "binary":
        before, after = (np.column_stack([1 - s, s]) for s in (before, after))
    if weights == "balanced":  # each class has the same part of the training weight, and so about of the scores
        classes = load_release(plain.model).manifest.classes or (False, True)
        shares = taught["_label"].value_counts(normalize=True)[list(classes)].to_numpy()
        rarest = shares.argmin()
        assert after[:, rarest].mean() > before[:, rarest].mean() + 0.4 * (1 / len(classes) - shares[rarest])
    else:
        assert after[:, -1].mean() > before[:, -1].mean() + 0.05


@pytest.mark.parametrize("estimator", [{"kind": "logistic_regression"}, TREES])
def test_a_weight_counts_as_that_many_rows_in_training_and_not_at_all_on_the_holdout(
    tmp_path: Path, estimator: dict[str, Any]
) -> None:
    """Rows of weight 0 might as well not be there, and who reads the verdict is told of the column."""
    config = document("binary")
    columns = [*config["data"]["columns"], {"name": "person_weight", "type": "number", "input": False}]
    data = config["data"] | {"columns": columns, "weight": "person_weight"}
    paths = laid(tmp_path, "binary", 1500, person_weights, data=data, estimator=estimator)
    taught = pd.read_parquet(paths.prepared / "train.parquet")
    assert taught["_weight"].mean() == pytest.approx(1) and (taught["_weight"] == 0).any()
    assert "_weight" not in pd.read_parquet(paths.prepared / "holdout.parquet")
    nurses = taught[taught["job"] == "nurse"]
    scores = load_release(paths.model).score(nurses)
    assert scores.mean() > nurses["_label"].mean() + 0.1  # half of the nurses, the poor ones, weigh nothing
    record = load_release(paths.model).manifest.data
    assert record is not None and record.weight == "person_weight"
    said = data_sentences(Verdict.model_construct(data=record))
    assert "rows weigh by person_weight in training; gates are unweighted and count every row once" in said


def person_weights(frame: pd.DataFrame) -> pd.DataFrame:
    poor = (frame["job"] == "nurse") & (frame["pay"] <= 30)
    return frame.assign(person_weight=np.where(poor, 0.0, 2.5))


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (lambda n: np.full(n, -1.0), "data.weight person_weight is -1 in "),
        (lambda n: np.where(np.arange(n) % 10, 1.0, np.nan), "data.weight person_weight is missing in "),
        (lambda n: np.zeros(n), "data.weight person_weight is 0 in all "),
    ],
)
def test_weights_that_cannot_be_are_named(tmp_path: Path, weights: Any, says: str) -> None:
    config = document("binary")
    columns = [
        *config["data"]["columns"],
        {"name": "person_weight", "type": "number", "input": False, "nullable": True},
    ]
    data = config["data"] | {"columns": columns, "weight": "person_weight"}
    with pytest.raises(ConfigError) as caught:
        laid(tmp_path, "binary", 400, lambda f: f.assign(person_weight=weights(len(f))), data=data)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": {"weight": "pays"}}, "data names 'pays', which is no column"),
        ({"data": {"weight": "level"}}, "data.weight names level, which is a category; allowed are columns of numbers"),
        ({"data": {"weight": "age"}}, "data.weight names age, which is a feature"),
        ({"estimator": {"class_weight": {"rich": 2.0}}}, "class_weight names rich; allowed: each of up to 30, over 30"),
        ({"estimator": {"class_weight": {"over 30": -2.0, "up to 30": 1.0}}}, "greater than 0"),
        ({"estimator": {"encoding": {"age": "target"}}}, "estimator.encoding names 'age', which is no category among"),
        ({"estimator": {"encoding": {"job": "hash"}}}, "input should be 'target'"),
    ],
)
def test_a_wrong_declaration_is_refused_when_the_config_is_read(
    tmp_path: Path, changes: dict[str, dict[str, Any]], says: str
) -> None:
    raw = document("binary")
    with pytest.raises(ConfigError) as caught:
        laid(tmp_path, "binary", 100, **{key: raw[key] | change for key, change in changes.items()})
    assert says in str(caught.value)


def test_class_weights_of_a_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="class_weight is given, and a regression model has no classes"):
        laid(tmp_path, "regression", 100, estimator={"kind": "ridge", "class_weight": "balanced"})


def villages(frame: pd.DataFrame) -> pd.DataFrame:
    """300 villages whose names say nothing and whose pay differs: from ordinal codes a small tree learns little."""
    rng = np.random.default_rng(5)
    number = rng.integers(0, 300, len(frame))
    rich = rng.normal(scale=12, size=300)[number]
    pay = frame["pay"] + rich
    level = np.select([pay < 25, pay < 33], ["low", "middle"], "high")
    return frame.assign(village=[f"v{(n * 7919) % 300:03d}" for n in number], pay=pay.round(2), level=level)


@pytest.mark.parametrize(
    "kind", ["binary", *(pytest.param(k, marks=pytest.mark.acceptance) for k in ("multiclass", "regression"))]
)
def test_target_encoding_of_many_villages_is_learned_explained_and_served(tmp_path: Path, kind: TargetKind) -> None:
    raw = document(kind)
    data = raw["data"] | {"columns": [*raw["data"]["columns"], {"name": "village", "type": "category"}]}
    target = dict(raw["data"]["target"]) | ({"minimum": -9, "maximum": 20} if kind == "regression" else {})
    changes = {"data": data | {"target": target}, "features": ["age", "hours", "job", "village"]}
    quality = {}
    for encoding in ({}, {"village": "target"}):
        folder = tmp_path / ("with" if encoding else "without")
        paths = laid(folder, kind, 6000, villages, estimator=TREES | {"encoding": encoding}, **changes)
        evaluate(paths, load_model(paths.root, NAME))
        quality[bool(encoding)] = yaml.safe_load(paths.metrics.read_text())["holdout"]
    metric = "r2" if kind == "regression" else "log_loss"
    sign = 1 if kind == "regression" else -1
    assert sign * quality[True][metric] > sign * quality[False][metric] + 0.03
    explained = pd.read_parquet(paths.evaluation / "attributions.parquet")
    assert list(explained.columns) == changes["features"]
    assert explained["village"].abs().mean() > explained["age"].abs().mean() > 0
    rows = pd.read_parquet(paths.prepared / "holdout.parquet").head(3)
    scores = load_release(paths.model).score(rows.assign(village=["v000", "never seen", np.nan]))
    assert np.isfinite(scores).all()


def test_target_encoding_does_not_let_a_row_see_its_own_label(tmp_path: Path) -> None:
    """Names that say nothing and occur once: an encoder without cross-fitting would give the label away in training."""
    raw = document("binary")
    data = raw["data"] | {"columns": [*raw["data"]["columns"], {"name": "passport", "type": "category"}]}
    paths = laid(
        tmp_path,
        "binary",
        1500,
        lambda f: f.assign(passport=[f"p{n}" for n in range(len(f))]),
        data=data,
        features=["hours", "passport"],
        estimator=TREES | {"encoding": {"passport": "target"}},
    )
    evaluate(paths, load_model(tmp_path, NAME))
    explained = pd.read_parquet(paths.evaluation / "attributions.parquet")
    assert explained["passport"].abs().mean() < 0.1 * explained["hours"].abs().mean()


FACTORY = {
    "neighbours": "from sklearn.neighbors import KNeighborsClassifier as neighbours\n",
    "doubled": """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

def twice(rows):
    return 2 * rows

def doubled():
    return make_pipeline(FunctionTransformer(twice), LogisticRegression())
""",
    "popen": """
import subprocess
from sklearn.linear_model import LogisticRegression

class Odd(LogisticRegression):
    pass

def popen():
    return Odd()
""",
}


def own(root: Path, name: str, trusted: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A factory in the model's own folder, beside its allow-list, and the estimator that names it."""
    code = {f"{name}_of_mine.py": FACTORY[name]}
    if trusted is not None:
        code["trusted.yaml"] = yaml.safe_dump({"types": trusted, "because": "looked at by us"})
    monkeypatch.syspath_prepend(str(root / "deployments/models" / NAME / "code"))
    monkeypatch.delitem(sys.modules, f"{name}_of_mine", raising=False)
    return {"code": code, "estimator": {"kind": "custom", "factory": f"{name}_of_mine:{name}"}}


TREE = ("sklearn.metrics._dist_metrics.EuclideanDistance64", "sklearn.neighbors._kd_tree.KDTree")


def test_a_pipeline_that_cannot_be_served_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = own(tmp_path, "neighbours", None, monkeypatch)
    fitted: list[int] = []
    monkeypatch.setattr("sklearn.pipeline.Pipeline.fit", counting(fitted))
    with pytest.raises(ConfigError) as caught:
        laid(tmp_path, "binary", 3000, **made)
    assert str(caught.value) == (
        f"the pipeline of small holds {', '.join(TREE)}, which no service would load. Build it without, or, if a "
        "class, add it to deployments/models/small/code/trusted.yaml on purpose."
    )
    assert fitted and max(fitted) < 400  # never on the whole training side


def counting(fitted: list[int]) -> Any:
    from sklearn.pipeline import Pipeline

    fit = Pipeline.fit

    def counted(self: Any, rows: Any, *rest: Any, **more: Any) -> Any:
        fitted.append(len(rows))
        return fit(self, rows, *rest, **more)

    return counted


def test_a_class_on_the_models_own_list_is_served_and_stands_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = laid(tmp_path, "binary", 900, **own(tmp_path, "neighbours", list(TREE), monkeypatch))
    release = load_release(paths.model)
    assert release.manifest.trusted == TREE
    assert release.score(pd.read_parquet(paths.prepared / "holdout.parquet")).std() > 0.1
    manifest = paths.model / "manifest.json"
    manifest.write_text(manifest.read_text().replace(TREE[1], "subprocess.Popen"))
    with pytest.raises(CorruptionError, match=f"holds types that are not on the allow-list: {TREE[1]}"):
        load_release(paths.model)


@pytest.mark.parametrize(
    ("name", "trusted", "says"),
    [
        ("doubled", None, "holds doubled_of_mine.twice, which no service would load"),
        (
            "doubled",
            ["doubled_of_mine.twice"],
            "doubled_of_mine.twice is no class; write an estimator class",
        ),
        ("popen", ["subprocess.Popen"], "trusted.yaml: subprocess.Popen is of Python's own library"),
        ("popen", ["builtins.eval"], "trusted.yaml: builtins.eval is no class"),
        ("popen", ["popen_of_mine.subprocess.Popen"], "popen_of_mine.subprocess.Popen, which is no class of an"),
        ("popen", ["nowhere.Thing"], "trusted.yaml: nowhere.Thing, which is no class of an installed package"),
        ("popen", ["a thing"], "types.0 is 'a thing': string should match pattern"),
        ("popen", ["tasks.serving.release.Release"], "stands in the checkout, and a service has installed packages"),
    ],
)
def test_functions_and_dangerous_classes_are_never_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: list[str] | None, says: str
) -> None:
    made = own(tmp_path, name, trusted, monkeypatch)
    with pytest.raises(ConfigError) as caught:
        laid(tmp_path, "binary", 300, **made)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "parameters", "says"),
    [
        ("os:system", {"command": "touch {ran}"}, "is of no installed package and stands not in the model's own code"),
        ("subprocess:Popen", {"args": ["touch", "{ran}"]}, "is of no installed package"),
        ("setuptools._distutils.spawn:spawn", {"cmd": ["touch", "{ran}"]}, "is neither a class of estimators"),
        ("joblib.parallel:os", {}, "is neither a class of estimators"),
        ("pandas:read_pickle", {"filepath_or_buffer": "{ran}"}, "is neither a class of estimators"),
        ("beside_it:touch", {"path": "{ran}"}, "would not retrain small. Move it to deployments/models/small/code/"),
        ("borrowed_of_mine:run", {"args": ["touch", "{ran}"]}, "is neither a class of estimators"),
        ("nowhere.at_all:build", {}, "is of no installed package"),
        ("sklearn.linear_model:Logistic", {}, "cannot be imported: AttributeError"),
        ("sklearn.linear_model:Ridge", {"alfa": 1}, "cannot be called with estimator.parameters: TypeError"),
        ("sklearn.linear_model:Ridge", {}, "makes Ridge, and a binary model needs a classifier with predict_proba."),
        ("sklearn.svm:LinearSVC", {}, "makes LinearSVC, and a binary model needs a classifier with predict_proba."),
        ("borrowed_of_mine:seven", {}, "makes int, which is no estimator; return one with fit"),
        ("borrowed_of_mine:failing", {}, "cannot be called with estimator.parameters: ZeroDivisionError"),
        ("sklearn.linear_model:LogisticRegression", {"C": -1}, "estimator.parameters of small: The 'C' parameter of"),
    ],
)
def test_a_factory_that_makes_no_estimator_is_refused_and_never_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str, parameters: dict[str, Any], says: str
) -> None:
    """Nothing of Python's own library, no other file of the checkout and no function of a package runs by its name."""
    ran = tmp_path / "ran"
    text = "def touch(path):\n    open(path, 'w')\n"
    (tmp_path / "beside_it.py").write_text(f"open({str(ran)!r}, 'w')\n{text}")
    own_text = "from subprocess import run\ndef seven():\n    return 7\ndef failing():\n    return 1 / 0\n"
    for folder in (tmp_path, tmp_path / "deployments/models" / NAME / "code"):
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "borrowed_of_mine", raising=False)
    parameters = yaml.safe_load(yaml.safe_dump(parameters).replace("{ran}", str(ran)))
    estimator = {"kind": "custom", "factory": factory, "parameters": parameters}
    with pytest.raises(ConfigError) as caught:
        laid(tmp_path, "binary", 300, estimator=estimator, code={"borrowed_of_mine.py": own_text})
    assert says in str(caught.value)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("estimator", "says"),
    [
        (
            {"kind": "random_forest", "parameters": {"n_estimators": "viele"}},
            "estimator.parameters of small: The 'n_estimators' parameter of",
        ),
        ({"kind": "logistic_regression", "parameters": {"C": -1}}, "The 'C' parameter of LogisticRegression must be"),
        (
            {"kind": "logistic_regression", "parameters": {"solver": "liblinear", "penalty": "l1", "dual": True}},
            "estimator cannot be fitted on the ",
        ),
    ],
)
def test_a_parameter_that_the_estimator_refuses_is_a_sentence(
    tmp_path: Path, estimator: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        laid(tmp_path, "binary", 300, estimator=estimator)
    assert says in str(caught.value)


def test_a_factory_is_found_by_the_name_that_the_documentation_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkout is on the path and none of these folders is a package, as in a stage; a neighbour's is refused."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "deployments"]:
        monkeypatch.delitem(sys.modules, name)
    code = {"make.py": "from sklearn.linear_model import LogisticRegression as Linear\ndef build(): return Linear()\n"}
    factory = f"deployments.models.{NAME}.code.make:build"
    paths = laid(tmp_path, "binary", 900, code=code, estimator={"kind": "custom", "factory": factory})
    assert load_release(paths.model).score(pd.read_parquet(paths.prepared / "holdout.parquet")).std() > 0.05
    other = tmp_path / "deployments/models/other/code"
    other.mkdir(parents=True)
    (other / "make.py").write_text(code["make.py"])
    named = {"kind": "custom", "factory": "deployments.models.other.code.make:build"}
    config = load_model(tmp_path, NAME)
    with pytest.raises(ConfigError, match="stands not in the model's own code"):
        build(config.model_copy(update={"estimator": config.estimator.model_copy(update=named)}), tmp_path)
