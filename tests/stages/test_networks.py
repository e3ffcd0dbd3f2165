"""A network from its config through the real stages: who is held out, what is on record, what is refused, and how."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.neural_network import MLPClassifier, MLPRegressor

from tasks.answering.outline import Layer, layer_changes, layers
from tasks.records.pages.networks import losses_said
from tasks.records.pages.side_by_side import _networks
from tasks.records.pages.verdict import verdict_page
from tasks.science.data.held_out import held_out
from tasks.science.data.tables import label_array
from tasks.science.models.embeddings import hidden_layer
from tasks.serving.release import load_release
from tasks.spec.base import REGISTERED, problems_of
from tasks.spec.errors import ConfigError
from tasks.spec.estimator import Network
from tasks.spec.metrics import TargetKind
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.training import TrainingConfig
from tasks.stages.common import ModelPaths
from tasks.stages.evaluate import evaluate
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train
from tests.conftest import ROOT
from tests.records.pages.test_pages import RICH
from tests.stages.worlds import NAME, document, table, write

SMALL = {"layers": [6, 4], "epochs": 6, "patience": 3, "learning_rate": 0.02, "batch_size": 50}
MLP = {"kind": "mlp", "network": SMALL}
PERIODS = {"name": "month", "type": "integer", "input": False}
PERSONS = {"name": "person", "type": "category", "input": False}


def laid(root: Path, kind: TargetKind = "binary", frame: pd.DataFrame | None = None, **changes: Any) -> ModelPaths:
    """Prepared rows of the generated table; ``changes`` of ``data`` are laid over the whole of it."""
    whole = document(kind)
    data = whole["data"] | changes.pop("data", {})
    data["columns"] = [*data["columns"], *changes.pop("columns", [])]
    paths = write(root, whole | {"estimator": MLP, "data": data} | changes, table(600) if frame is None else frame)
    for stage in (ingest, prepare):
        stage(paths, load_model(root, NAME))
    return paths


def parted(paths: ModelPaths) -> tuple[pd.DataFrame, pd.DataFrame, str, str]:
    """Rows that are learned from and held out, how, and why not by period."""
    config = load_model(paths.root, NAME)
    rows = pd.read_parquet(paths.prepared / "train.parquet")
    found = held_out(config, rows, label_array(config, rows["_label"]))
    return rows[~found.mask], rows[found.mask], found.by, found.why


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_every_epoch_is_on_record_and_the_file_holds_the_kept_one(tmp_path: Path, kind: TargetKind) -> None:
    paths = laid(tmp_path, kind)
    config = load_model(tmp_path, NAME)
    train(paths, config)
    bits = {p.name: p.read_bytes() for p in paths.model.iterdir()}
    train(paths, config)
    assert {p.name: p.read_bytes() for p in paths.model.iterdir()} == bits, "training again gives other bits"
    record = json.loads(bits["loss.json"])
    losses = pd.read_csv(paths.plots / "loss.csv")
    assert losses["epoch"].tolist() == list(range(1, len(record["training"]) + 1))
    for side in ("training", "validation"):
        assert losses[side].tolist() == record[side]
    assert record["validation"].index(min(record["validation"])) + 1 == record["kept"]
    release = load_release(paths.model)
    learned, held, by, _ = parted(paths)
    assert (record["by"], record["learned"], record["held_out"]) == (by, len(learned), len(held)) and by == "random"
    for side, rows in (("training", learned), ("validation", held)):
        label, score = label_array(config, rows["_label"]), release.score(rows)
        loss = mean_squared_error(label, score) if kind == "regression" else log_loss(label, score, labels=range(
            max(len(config.classes), 2)))  # fmt: skip
        assert record[side][record["kept"] - 1] == pytest.approx(loss, rel=1e-9)
    network = release.pipeline.named_steps["estimator"]
    assert type(network) is (MLPRegressor if kind == "regression" else MLPClassifier)
    assert not [name for name in vars(network) if "optimizer" in name or "best_coefs" in name]
    proof = json.loads(bits["manifest.json"])["answering"]
    assert proof["compiled"] and proof["recorded"] == 200
    assert hidden_layer(network, np.zeros((3, network.n_features_in_))).shape == (3, 4)
    evaluate(paths, config)
    evaluation = json.loads((paths.evaluation / "evaluation.json").read_text())
    assert evaluation["network"]["epochs"] == record
    assert [layer["units"] for layer in evaluation["network"]["layers"]] == [
        network.n_features_in_, 6, 4, 3 if kind == "multiclass" else 1,
    ]  # fmt: skip
    assert sum(layer["weights"] for layer in evaluation["network"]["layers"]) == sum(
        a.size for a in [*network.coefs_, *network.intercepts_]
    )
    page = verdict_page(RICH, "Small", evaluation)
    assert "<h2>The network</h2>" in page and "log loss by epoch" in page or kind == "regression"
    assert f"Epoch {record['kept']} of {len(losses)} is kept" in page


def test_what_is_fitted_at_one_go_has_a_head_alone_and_no_record(tmp_path: Path) -> None:
    paths = laid(tmp_path)
    train(paths, load_model(tmp_path, NAME))
    path = tmp_path / "deployments/models" / NAME / "model.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"estimator": {"kind": "logistic_regression"}}))
    for stage in (train, evaluate):
        stage(paths, load_model(tmp_path, NAME))
    assert (paths.plots / "loss.csv").read_text() == "epoch,training,validation\n"
    assert sorted(p.name for p in paths.model.iterdir()) == ["manifest.json", "model.skops", "requests.json"]
    assert json.loads((paths.evaluation / "evaluation.json").read_text())["network"] is None
    assert layers(paths.model / "model.skops") == [] and layers(paths.model / "manifest.json") == []


def test_nobody_is_on_both_sides(tmp_path: Path) -> None:
    frame = table(800)
    frame["person"] = [f"p{at}" for at in np.random.default_rng(3).integers(0, 150, 800)]
    frame.loc[::40, "person"] = None
    persons = PERSONS | {"nullable": True}
    paths = laid(tmp_path, frame=frame, columns=[persons], data={"entity": "person"})
    learned, held, by, why = parted(paths)
    assert (by, why) == ("entity", "") and not set(learned["_entity"].dropna()) & set(held["_entity"].dropna())
    assert 0.05 < len(held) / (len(held) + len(learned)) < 0.15 and held["_entity"].nunique() > 3
    alone = learned["_entity"].isna().sum()
    assert alone > 1, "rows of nobody went together"
    train(paths, load_model(tmp_path, NAME))
    assert json.loads((paths.model / "loss.json").read_text())["by"] == "entity"


def test_what_is_held_out_is_later(tmp_path: Path) -> None:
    frame = table(800).assign(month=np.arange(800) // 25)
    paths = laid(tmp_path, frame=frame, columns=[PERIODS], data={"period": "month"})
    learned, held, by, _ = parted(paths)
    assert by == "period" and learned["month"].max() < held["month"].min()
    counts = pd.concat([learned, held])["month"].value_counts().sort_index(ascending=False).cumsum()
    assert len(held) == counts[counts >= 0.1 * (len(learned) + len(held))].iloc[0], "more periods than needed"
    config = load_model(tmp_path, NAME)
    rows = pd.read_parquet(paths.prepared / "train.parquet")
    late = pd.concat([rows, rows.head(60).assign(_row=-1, month=np.nan)], ignore_index=True)
    found = held_out(config, late, label_array(config, late["_label"]))
    assert found.mask.nonzero()[0].tolist() == list(range(len(rows), len(late))), "what was collected is the latest"


@pytest.mark.parametrize(
    ("months", "why"),
    [([94], "the training rows are of one month only"), ([1, 2], "the latest periods of month would take 8")],
)
def test_a_period_that_leaves_too_little_is_said_and_not_used(tmp_path: Path, months: list[int], why: str) -> None:
    frame = table(600).assign(
        month=np.random.default_rng(0).choice(months, 600, p=[[1.0], [0.2, 0.8]][len(months) - 1])
    )
    paths = laid(tmp_path, frame=frame, columns=[PERIODS], data={"period": "month"})
    learned, held, by, said = parted(paths)
    assert by == "random" and said.startswith(why)
    shares = [part["_label"].mean() for part in (learned, held)]
    assert abs(shares[0] - shares[1]) < 0.02, "drawn by class"
    train(paths, load_model(tmp_path, NAME))
    assert f"not by period, since {why}" in losses_said(json.loads((paths.model / "loss.json").read_text()))


def test_rows_of_no_weight_might_as_well_not_be_there(tmp_path: Path) -> None:
    frame = table(700)
    weights = np.random.default_rng(1).choice([0.0, 0.0, 1.0, 3.0], 700)
    column = {"name": "weight", "type": "number", "input": False}
    data = {"weight": "weight"}
    files = []
    for name, part in (("all", frame.assign(weight=weights)), ("odd", frame.assign(weight=weights))):
        paths = laid(tmp_path / name, frame=part, columns=[column], data=data)
        rows = pd.read_parquet(paths.prepared / "train.parquet")
        if name == "odd":  # whatever they hold
            nothing = rows["_weight"] == 0
            rows.loc[nothing, "hours"] = 79
            rows.loc[nothing, "_label"] = True
            rows.to_parquet(paths.prepared / "train.parquet", index=False)
        train(paths, load_model(paths.root, NAME))
        files.append((paths.model / "model.skops").read_bytes())
        record = json.loads((paths.model / "loss.json").read_text())
        assert record["learned"] + record["held_out"] == (rows["_weight"] > 0).sum()
    assert files[0] == files[1]


def network(**changes: Any) -> dict[str, Any]:
    return {"estimator": {"kind": "mlp", "network": SMALL | changes}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"estimator": {"kind": "neural_network"}}, "estimator.kind is 'neural_network', which is called mlp now. "
         "Write kind: mlp, and say its layers and how it is trained under estimator.network."),
        (network(solver="lbfgs"), "estimator.network.solver: lbfgs takes all rows at once and knows no epochs, so "
         "nothing could stop it early; allowed: adam, sgd"),
        (network(learning_rate=1e6), "estimator.network.learning_rate is 1000000.0: input should be less than or equal "
         "to 10"),
        (network(layers=[]), "estimator.network.layers is []: list at least 1"),
        (network(layers=[8, 0]), "estimator.network.layers.1 is 0: input should be greater than or equal to 1"),
        (network(layer=[8]), "estimator.network.layer is not a known key; did you mean 'layers'? allowed: activation, "
         "alpha, batch_size, epochs, layers, learning_rate, patience, solver, tolerance, validation"),
        ({"estimator": {"kind": "mlp", "parameters": {"alpha": 1}}}, "estimator: parameters names alpha, and kind: mlp "
         "has none; its layers and how they are trained stand under network: layers, activation, solver"),
        ({"estimator": {"kind": "ridge", "network": {}}}, "estimator: network goes with kind: mlp, and only with it"),
        ({"estimator": MLP | {"class_weight": "balanced"}}, "class_weight is not for kind: mlp, which weighs no "
         "classes; use data.weight"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_a_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write(tmp_path, document("binary") | changes, table(10))
    with pytest.raises(ConfigError) as refused:
        load_model(tmp_path, NAME)
    assert said in str(refused.value)


def test_a_registered_neural_network_is_read_as_an_mlp() -> None:
    parameters = {"hidden_layer_sizes": [20, 10], "max_iter": 40, "early_stopping": True, "solver": "lbfgs", "alpha": 1}
    old = document("binary") | {"estimator": {"kind": "neural_network", "parameters": parameters}}
    for schema in (ModelConfig, TrainingConfig):
        given = old if schema is ModelConfig else {key: old[key] for key in TrainingConfig.model_fields if key in old}
        found, problems = problems_of(given, schema, REGISTERED)
        assert found is not None and not problems
        assert found.estimator.kind == "mlp" and found.estimator.layout == Network(layers=(20, 10), epochs=40, alpha=1)


def test_a_loss_that_is_no_number_is_one_sentence(tmp_path: Path) -> None:
    paths = laid(tmp_path, "regression", **network(solver="sgd", learning_rate=10, activation="identity"))
    done = staged(paths)
    assert done.returncode == 2
    assert done.stderr.strip().startswith(
        "error: estimator.network.learning_rate of small is 10, and in epoch "
    ) and done.stderr.strip().endswith("the loss became infinite or NaN. Lower it.")
    assert not (paths.model / "model.skops").exists()


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (table(300).assign(person="one"), "the 300 training rows of small are of one person, and kind: mlp holds out "
         "whole entities to know when to stop. Bring rows of more, or choose another estimator.kind."),
        (table(300).assign(person=lambda t: np.where(t["pay"] > 30, "one", "two")), "estimator.network.validation of "
         "small holds out whole entities, and so every row of class"),
    ],
)  # fmt: skip
def test_entities_that_leave_nothing_to_learn_are_named(tmp_path: Path, frame: pd.DataFrame, said: str) -> None:
    paths = laid(tmp_path, frame=table(600).assign(person=[f"p{at}" for at in range(600)]), columns=[PERSONS],
                 data={"entity": "person"})  # fmt: skip
    config = load_model(tmp_path, NAME)
    rows = frame.assign(_label=frame["pay"] > 30, _entity=frame["person"], _row=range(300))
    with pytest.raises(ConfigError) as refused:
        held_out(config, rows, label_array(config, rows["_label"]))
    assert str(refused.value).startswith(said) and paths.name == NAME


def staged(paths: ModelPaths) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tasks.stages.train", "--model", NAME]
    return subprocess.run(words, cwd=paths.root, env=_environment(), capture_output=True, text=True, check=False)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_an_interrupt_ends_training_and_leaves_no_model(tmp_path: Path) -> None:
    paths = laid(tmp_path, **network(epochs=10_000, patience=10_000, layers=[64, 64]))
    words = [sys.executable, "-m", "tasks.stages.train", "--model", NAME]
    # a shell's background job ignores the interrupt, so the process is given its usual answer to it
    started = subprocess.Popen(words, cwd=paths.root, env=_environment(), stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    while started.poll() is None and _cpu(started.pid) < 7:
        time.sleep(0.2)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode != 0 and "KeyboardInterrupt" in said and not paths.model.exists()
    assert "in fit_by_epochs" in said, said


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def of(units: list[int], activation: str = "relu", inputs: int = 5) -> list[Layer]:
    """A network with one output, by the widths of its hidden layers."""
    sizes = [inputs, *units, 1]
    names = [*(f"layer {at}" for at in range(1, len(sizes) - 1)), "outputs"]
    return [Layer("inputs", inputs)] + [
        Layer(name, after, "logistic" if name == "outputs" else activation, (before + 1) * after)
        for name, before, after in zip(names, sizes, sizes[1:], strict=False)
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (of([32]), of([64]), ["layer 1: 32 to 64 units", "weights in all: 225 to 449"]),
        (of([32]), of([64, 32]), ["layer 1 added: 64 units, relu", "weights in all: 225 to 2,497"]),
        (of([64, 32]), of([64]), ["layer 2 removed: 32 units, relu", "weights in all: 2,497 to 449"]),
        (of([8, 4]), of([8, 6, 3]), ["layer 2: 4 to 6 units", "layer 3 added: 3 units, relu",
                                     "weights in all: 89 to 127"]),
        (of([8]), of([8], "tanh"), ["layer 1: relu to tanh"]),
        (of([8]), of([8], inputs=7), ["inputs: 5 to 7 units", "weights in all: 57 to 73"]),
        (of([8]), of([8]), []),
        ([], of([8]), []),
    ],
)  # fmt: skip
def test_networks_are_compared_layer_by_layer(old: list[Layer], new: list[Layer], said: list[str]) -> None:
    assert layer_changes(old, new) == said


def test_losses_of_both_are_in_one_plot() -> None:
    run = {
        "loss": "log_loss", "training": [0.6, 0.5], "validation": [0.7, 0.6], "kept": 2, "stopped": "epochs",
        "by": "random", "why": "", "learned": 90, "held_out": 10,
    }  # fmt: skip
    one = [{"name": "inputs", "units": 3, "activation": "", "weights": 0}]
    layered = [*one, {"name": "outputs", "units": 1, "activation": "logistic", "weights": 4}]
    found = _networks({"epochs": (run, run | {"kept": 1}), "layers": (layered, layered)}, ("v1.0.0", "v2.0.0"))
    assert [title for title, _, _ in found] == ["Loss by epoch", "Layers of v1.0.0", "Layers of v2.0.0"]
    assert str(found[0][1]).count("<polyline") == 4 and found[0][2] == [
        "v1.0.0: epoch 2 of 2 is kept, log loss 0.6 on validation and 0.5 on training rows",
        "v2.0.0: epoch 1 of 2 is kept, log loss 0.7 on validation and 0.6 on training rows; the last had 0.6 on "
        "validation and 0.5 on training rows",
    ]
    only = _networks({"epochs": (None, run), "layers": ([], layered)}, ("v1.0.0", "v2.0.0"))
    assert [title for title, _, _ in only] == ["Loss by epoch", "Layers of v2.0.0"]
