"""Model files that no training writes: real ones with a few numbers or words changed, and what is said of each."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.answering.editing import File

Change = Callable[[File], Any]


def node(**values: Any) -> Change:
    """Set fields of the root of the first decision tree."""
    return lambda file: file.array(file.fields("Tree")["nodes"], lambda nodes: _set(nodes, 0, values))


def boosted(at: int = 0, **values: Any) -> Change:
    """Set fields of a node of the first tree of a boosting."""
    return lambda file: file.array(file.fields("TreePredictor")["nodes"], lambda nodes: _set(nodes, at, values))


def _set(nodes: np.ndarray, at: int, values: dict[str, Any]) -> None:
    for name, value in values.items():
        nodes[name][at] = value


def member(kind: str, field: str, change: Callable[[np.ndarray], Any], *path: Any) -> Change:
    """Change an array that is an attribute of an object, or an item of one."""

    def made(file: File) -> None:
        found = file.fields(kind, fitted=field)[field]
        for step in path:
            found = found["content"][step]
        file.array(found, change)

    return made


def word(kind: str, field: str, value: Any) -> Change:
    return lambda file: file.word(file.fields(kind, fitted=field)[field], value)


def first(value: float) -> Callable[[np.ndarray], None]:
    def put(array: np.ndarray) -> None:
        array.reshape(-1)[0] = value

    return put


def features_of_tree(file: File) -> None:
    file.word(file.objects("Tree")[0]["__reduce__"]["args"]["content"][0], 500)


def classes_of_tree(file: File) -> None:
    file.array(file.objects("Tree")[0]["__reduce__"]["args"]["content"][1], first(2**60))


def one_tree_more(file: File) -> None:
    iteration = file.fields("HistGradientBoostingClassifier")["_predictors"]["content"][0]
    iteration["content"].append(iteration["content"][0])


def category(at: int, like: int | None = None, value: Any = None) -> Change:
    def made(file: File) -> None:
        names = file.fields("OneHotEncoder", fitted="categories_")["categories_"]["content"][0]["content"]
        file.word(names[at], json.loads(names[like]["content"]) if like is not None else value)

    return made


def pickled(file: File) -> None:
    """An array of objects: numpy would unpickle it where it is allowed."""
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    file.members[file.fields("LogisticRegression")["coef_"]["file"]] = stream.getvalue()


def huge(file: File) -> None:
    """A header that asks for 8 exabytes, over no numbers."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,), }\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    file.members[file.fields("LogisticRegression")["coef_"]["file"]] = content


def missing_member(file: File) -> None:
    del file.members[file.fields("LogisticRegression")["coef_"]["file"]]


def twins(file: File) -> None:
    """Two nodes of one id: whoever keeps the first one looks at another array than was checked."""
    one, two = (file.fields("Tree", at)["nodes"] for at in (0, 1))
    two["__id__"] = one["__id__"]


def another_tree(file: File) -> None:
    file.objects("Tree")[0]["__module__"] = "elsewhere"


def deep(file: File) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("schema.json", "[" * 100_000 + "]" * 100_000)
    return content.getvalue()


FOREST: dict[str, tuple[Change, str]] = {
    "a child far away": (node(left_child=10**9), "has a tree 1 with a child outside its"),
    "a negative child": (node(right_child=-7), "has a tree 1 with a child outside its"),
    "one child": (node(right_child=-1), "with a node that has one child"),
    "a circle": (
        lambda file: file.array(
            file.fields("Tree")["nodes"],
            lambda nodes: _set(nodes, int(np.flatnonzero(nodes["left_child"] > 0)[-1]), {"left_child": 0}),
        ),
        "in which a way leads back to an earlier node",
    ),
    "its own child": (
        lambda file: file.array(
            file.fields("Tree")["nodes"], lambda nodes: _set(nodes, 1, {"left_child": 1, "right_child": 1})
        ),
        "in which a way leads back to an earlier node",
    ),
    "two parents": (node(left_child=2, right_child=2), "with nodes that have no parent, or two"),
    "a feature far away": (node(feature=10**6), "asks for a feature outside its"),
    "a negative feature": (node(feature=-1), "asks for a feature outside its"),
    "no threshold": (node(threshold=np.nan), "with a threshold that is not a number"),
    "a value that is none": (member("Tree", "values", first(np.nan)), "with values that are not finite"),
    "values of another shape": (member("Tree", "values", lambda a: a[:, :, :1]), "whose values have shape"),
    "too few values": (member("Tree", "values", lambda a: a[:1]), "whose values have shape"),
    "values of another type": (
        member("Tree", "values", lambda a: a.astype(np.float32)),
        "whose values are no array of float64",
    ),
    "nodes that are numbers": (
        member("Tree", "nodes", lambda a: np.zeros(len(a))),
        "not the nodes of this scikit-learn",
    ),
    "more nodes than there are": (word("Tree", "node_count", 10**6), "nodes that says it has 1000000"),
    "nodes cut off": (member("Tree", "nodes", lambda a: a[:1]), "of 1 nodes that says it has"),
    "a wider tree": (features_of_tree, "of 500 features in a"),
    "more classes than memory": (classes_of_tree, "whose numbers of classes are"),
    "fewer trees": (word("RandomForestClassifier", "n_estimators", 3), "of 12 trees that says it has 3"),
    "a tree of elsewhere": (another_tree, "which is no tree that is known"),
    "two nodes of one id": (twins, "has two different nodes of one id"),
}
BOOSTING: dict[str, tuple[Change, str]] = {
    "a child far away": (boosted(left=4_000_000_000), "has a tree 1 with a child outside its"),
    "a circle": (boosted(left=0), "in which a way leads back to an earlier node"),
    "a feature far away": (boosted(feature_idx=2**40), "asks for a feature outside its"),
    "no threshold": (boosted(num_threshold=np.nan), "with a threshold that is not a number"),
    "an infinite value": (boosted(at=-1, value=np.inf), "with values that are not finite"),
    "a set of categories that is not there": (boosted(is_categorical=1, bitset_idx=9), "beyond its 0"),
    "a leaf in the middle": (boosted(is_leaf=1), "with nodes that have no parent, or two"),
    "no nodes": (member("TreePredictor", "nodes", lambda a: a[:0]), "of 0 nodes"),
    "another number of trees": (one_tree_more, "with an iteration of other than 1 trees"),
    "fewer features": (word("HistGradientBoostingClassifier", "n_features_in_", 1), "asks for a feature outside its 1"),
    "a baseline of another shape": (
        member("HistGradientBoostingClassifier", "_baseline_prediction", lambda a: np.zeros(3)),
        "_baseline_prediction of shape (3,), which should be (1, 1)",
    ),
}
LINEAR: dict[str, tuple[Change, str]] = {
    "too few coefficients": (
        member("LogisticRegression", "coef_", lambda a: a[:, :2]),
        "has LogisticRegression.coef_ of shape (1, 2)",
    ),
    "a coefficient that is none": (
        member("LogisticRegression", "coef_", first(np.nan)),
        "with numbers that are not finite",
    ),
    "whole coefficients": (
        member("LogisticRegression", "coef_", lambda a: a.astype(np.int8)),
        "has an array of int8 as LogisticRegression.coef_",
    ),
    "pickled coefficients": (pickled, "bytes that should be (1,) of object"),
    "a header without numbers": (huge, "of 0 bytes that should be (1152921504606846976,) of float64"),
    "a member that is not there": (missing_member, "that is no array (KeyError)"),
    "a place far away": (
        member("OneHotEncoder", "_default_to_infrequent_mappings", first(10**6), 0),
        "holds a OneHotEncoder with a place outside its",
    ),
    "a rare category far away": (
        member("OneHotEncoder", "_infrequent_indices", first(-3), 0),
        "with a place outside its",
    ),
    "a category twice": (category(1, like=2), "that knows no category of job, or one twice"),
    "a category that is a number": (category(1, value=7), "whose categories of job are no texts"),
    "a mark far away": (member("MissingIndicator", "features_", first(99)), "for a column outside its"),
    "a scale of nothing": (member("StandardScaler", "scale_", first(0.0)), "that divides by nothing"),
    "a mean that is none": (
        member("StandardScaler", "mean_", first(np.inf)),
        "StandardScaler.mean_ with numbers that are not finite",
    ),
    "a mean label that is none": (
        member("TargetEncoder", "encodings_", first(np.nan), 0),
        "with a number that is not finite",
    ),
    "too few mean labels": (
        member("TargetEncoder", "encodings_", lambda a: a[:3], 0),
        "without a number for each of its categories",
    ),
    "no archive": (lambda file: b"PK" + b"\0" * 400, "is no skops archive"),
    "a schema without a floor": (deep, "is no skops archive (RecursionError"),
}
NETWORK: dict[str, tuple[Change, str]] = {
    "layers that do not fit": (
        member("MLPClassifier", "coefs_", lambda a: a[:, :3], 0),
        "has MLPClassifier.intercepts_[0] of shape (9,)",
    ),
    "a weight that is none": (member("MLPClassifier", "coefs_", first(np.nan), 1), "with numbers that are not finite"),
    "another number of layers": (word("MLPClassifier", "n_layers_", 9), "of 3 layers that says it has another number"),
}
HOSTILE = {"random_forest": FOREST, "hist_gradient_boosting": BOOSTING, "linear": LINEAR, "mlp": NETWORK}
