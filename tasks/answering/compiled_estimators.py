"""Estimators out of their records: which attributes of scikit-learn's objects array code needs, each checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tasks.answering.contents import Record, Unsound, numbers, shown
from tasks.answering.estimators import ACTIVATIONS, Boosting, Estimator, Forest, Linear, Link, Network
from tasks.answering.known import NotCompiled, expect
from tasks.answering.preparation import Preparation
from tasks.answering.soundness import TREE
from tasks.answering.trees import Split, Trees
from tasks.spec.metrics import TargetKind

LOGISTIC, RIDGE = "sklearn.linear_model._logistic.LogisticRegression", "sklearn.linear_model._ridge.Ridge"
BOOSTING = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoosting"
FOREST, TREES_OF = "sklearn.ensemble._forest.RandomForest", "sklearn.tree._classes.DecisionTree"
NETWORK = "sklearn.neural_network._multilayer_perceptron.MLP"
LOSSES: dict[str, Link] = {
    "HalfSquaredError": "identity",
    "AbsoluteError": "identity",
    "PinballLoss": "identity",
    "HalfPoissonLoss": "exp",
    "HalfGammaLoss": "exp",
    "HalfBinomialLoss": "expit",
    "HalfMultinomialLoss": "softmax",
}
"""The inverse link of each loss of gradient boosting."""
OUTPUTS: dict[str, Link] = {"identity": "identity", "logistic": "expit", "softmax": "softmax"}


def estimator(record: Any, prepared: Preparation, kind: TargetKind, classes: int) -> tuple[Estimator, np.ndarray]:
    """The fitted estimator, and of several classes the place of each that it knows.

    Raises:
        NotCompiled: it is not one of those that are known here.
        Unsound: its arrays are not as training writes them.
    """
    if not isinstance(record, Record):
        raise NotCompiled("the pipeline ends in no estimator that is known here")
    if "n_features_in_" in record and record.whole("n_features_in_") != prepared.width:
        raise Unsound(
            f"holds a {record.name} of {record.whole('n_features_in_')} features behind a preparation of "
            f"{prepared.width}"
        )
    side = "Regressor" if kind == "regression" else "Classifier"
    known: dict[str, Callable[[Record, Preparation, int], Estimator]] = {
        (RIDGE if side == "Regressor" else LOGISTIC): _linear,
        BOOSTING + side: _boosting,
        FOREST + side: _forest,
        NETWORK + side: _network,
    }
    if record.kind not in known:
        raise NotCompiled(f"{record.kind} is the model's own choice, and array code is written for Assay's estimators")
    codes = _codes(record, kind, classes)
    return known[record.kind](record, prepared, len(codes)), codes


def _codes(record: Record, kind: TargetKind, classes: int) -> np.ndarray:
    """The classes as codes: the places of scores; of a number one place."""
    if kind == "regression":
        return np.zeros(1, dtype=np.int64)
    found = record["classes_"]
    if kind == "binary":
        if not isinstance(found, np.ndarray) or found.dtype != np.bool_ or found.tolist() != [False, True]:
            raise Unsound(f"holds a {record.name} whose classes are not false and true")
        return np.arange(2)
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu" or found.ndim != 1:
        raise Unsound(f"holds a {record.name} whose classes are no codes")
    if len(found) < 3:
        raise NotCompiled(f"{record.name} learned fewer than three classes")
    if (np.diff(found.astype(np.int64)) <= 0).any() or found[0] < 0 or found[-1] >= classes:
        raise Unsound(f"holds a {record.name} with classes that its manifest does not name")
    return found.astype(np.int64)


def _outputs(classes: int) -> int:
    """Raw scores of a row: one for a number and for two classes."""
    return classes if classes > 2 else 1


def _linear(record: Record, prepared: Preparation, classes: int) -> Linear:
    expect(record, record.kind)
    outputs = _outputs(classes)
    if record.kind == RIDGE:
        return Linear(prepared, record.numbers("coef_", (prepared.width,)), _intercept(record, 1), "identity")
    coefficients = record.numbers("coef_", (outputs, prepared.width))
    return Linear(prepared, coefficients.T, _intercept(record, outputs), "softmax" if outputs > 1 else "expit")


def _intercept(record: Record, outputs: int) -> np.ndarray:
    """(outputs,); a number alone where none was fitted."""
    value = record["intercept_"]
    if isinstance(value, float | int) and not isinstance(value, bool):
        value = np.float64(value)
    found = np.atleast_1d(value) if isinstance(value, np.generic | np.ndarray) else value
    if not isinstance(found, np.ndarray) or found.dtype != np.float64 or found.shape not in ((outputs,), (1,)):
        raise Unsound(f"holds a {record.name} whose intercept is {shown(value)}")
    if not np.isfinite(found).all():
        raise Unsound(f"holds a {record.name} whose intercept is not finite")
    return found


def _boosting(record: Record, prepared: Preparation, classes: int) -> Boosting:
    if record["_preprocessor"] is not None or record["is_categorical_"] is not None:
        raise NotCompiled(f"{record.name} splits by sets of categories")
    outputs = _outputs(classes)
    if record.whole("n_trees_per_iteration_") != outputs:
        raise Unsound(f"holds a {record.name} of {shown(record['n_trees_per_iteration_'])} trees an iteration")
    loss = record["_loss"]
    name = loss.name if isinstance(loss, Record) else shown(loss)
    if name not in LOSSES or (LOSSES[name] in ("expit", "softmax")) != (classes > 1):
        raise NotCompiled(f"{record.name} has the loss {name}")
    baseline = record.numbers("_baseline_prediction", (1, outputs)).reshape(-1)
    splits = []
    for iteration in record.sequence("_predictors"):
        if not isinstance(iteration, list) or len(iteration) != outputs:
            raise Unsound(f"holds a {record.name} with an iteration of other than {outputs} trees")
        splits += [_predictor(tree) for tree in iteration]
    if not splits:
        raise Unsound(f"holds a {record.name} without trees")
    return Boosting(prepared, Trees(splits), baseline, LOSSES[name])


def _predictor(tree: Any) -> Split:
    if not isinstance(tree, Record) or tree.name != "TreePredictor":  # whose nodes were checked by that name
        raise Unsound("holds a gradient boosting of other things than trees")
    nodes = tree["nodes"]
    leaf = nodes["is_leaf"] != 0
    if (nodes["is_categorical"][~leaf] != 0).any():
        raise NotCompiled("a tree splits by sets of categories")
    return Split(
        np.where(leaf, -1, nodes["left"].astype(np.int64)),
        np.where(leaf, -1, nodes["right"].astype(np.int64)),
        nodes["feature_idx"],
        nodes["num_threshold"],
        nodes["missing_go_to_left"],
        nodes["value"][:, None],
    )


def _forest(record: Record, prepared: Preparation, classes: int) -> Forest:
    if prepared.sparse:
        raise NotCompiled(f"{record.name} reads sparse rows")
    if record["n_jobs"] not in (None, 1):
        raise NotCompiled(f"{record.name} sums its trees in the order in which {record['n_jobs']} threads end")
    trees = record.sequence("estimators_")
    if not trees or record.whole("n_estimators") != len(trees):
        raise Unsound(f"holds a {record.name} of {len(trees)} trees that says it has {shown(record['n_estimators'])}")
    outputs = classes if classes > 1 else 1
    return Forest(prepared, Trees([_decision_tree(tree, record.kind, prepared.width, outputs) for tree in trees]))


def _decision_tree(tree: Any, forest: str, width: int, outputs: int) -> Split:
    expect(tree, forest.replace(FOREST, TREES_OF))
    inner = tree["tree_"]
    expect(inner, TREE)
    nodes, values = inner["nodes"], inner["values"]  # checked in themselves before
    if values.shape[1:] != (1, outputs) or inner.arguments()[0] != width:
        raise Unsound(f"holds a forest with a tree of other than {outputs} values a leaf and {width} features")
    return Split(
        nodes["left_child"],
        nodes["right_child"],
        nodes["feature"],
        nodes["threshold"],
        nodes["missing_go_to_left"],
        values[:, 0],
    )


def _network(record: Record, prepared: Preparation, classes: int) -> Network:
    outputs = _outputs(classes)
    activation, out = record["activation"], record["out_activation_"]
    if activation not in ACTIVATIONS or out not in OUTPUTS:
        raise NotCompiled(f"{record.name} has the activations {shown(activation)} and {shown(out)}")
    link = OUTPUTS[out]
    if link != ("identity" if classes == 1 else "softmax" if classes > 2 else "expit"):
        raise NotCompiled(f"{record.name} has the output {out} of {classes} classes")
    layers = record.sequence("coefs_")
    biases = record.sequence("intercepts_", len(layers))
    if not layers or record.whole("n_layers_") != len(layers) + 1:
        raise Unsound(f"holds a {record.name} of {len(layers)} layers that says it has another number")
    return Network(prepared, *_layers(record, prepared.width, layers, biases, outputs), activation, link)


def _layers(
    record: Record, width: int, layers: list[Any], biases: list[Any], outputs: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Weights and intercepts whose shapes fit each other from the prepared row to the raw scores."""
    checked: list[tuple[np.ndarray, np.ndarray]] = []
    for at, (weights, bias) in enumerate(zip(layers, biases, strict=True)):
        after = outputs if at == len(layers) - 1 else None
        found = numbers(weights, f"{record.name}.coefs_[{at}]", (width, after))
        width = found.shape[1]
        checked.append((found, numbers(bias, f"{record.name}.intercepts_[{at}]", (width,))))
    return tuple(w for w, _ in checked), tuple(b for _, b in checked)
