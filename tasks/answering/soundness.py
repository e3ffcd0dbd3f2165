"""Trees and sparse matrices inside a model file: whether following their indices stays inside and ends.

scikit-learn follows node indices in C without looking at them, and skops checks types and no content: a bad index
ends the process, and a circle never ends. So the nodes of every tree are checked here first, wherever in the file it
stands and whoever will follow it.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from tasks.answering.contents import Contents, Record, Unsound, shown

TREE, PREDICTOR = "sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
NODE = np.dtype(
    {
        "names": [
            "left_child",
            "right_child",
            "feature",
            "threshold",
            "impurity",
            "n_node_samples",
            "weighted_n_node_samples",
            "missing_go_to_left",
        ],
        "formats": ["<i8", "<i8", "<i8", "<f8", "<f8", "<i8", "<f8", "u1"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56],
        "itemsize": 64,
    }
)
"""A node of a decision tree or a forest, as scikit-learn's ``_tree.pyx`` lays it out."""
PREDICTOR_NODE = np.dtype(
    [
        ("value", "<f8"),
        ("count", "<u4"),
        ("feature_idx", "<i8"),
        ("num_threshold", "<f8"),
        ("missing_go_to_left", "u1"),
        ("left", "<u4"),
        ("right", "<u4"),
        ("gain", "<f8"),
        ("depth", "<u4"),
        ("is_leaf", "u1"),
        ("bin_threshold", "u1"),
        ("is_categorical", "u1"),
        ("bitset_idx", "<u4"),
    ]
)
"""A node of histogram gradient boosting, as ``common.pyx`` lays it out."""
BITSET = (8,)
"""A set of 256 category codes as 8 words of 32 bits."""
WHOLE_FEATURES = ("GradientBoosting", "RandomForest", "ExtraTrees")
"""Ensembles whose trees all see every column: their C code hands rows to the trees as they come."""


def refuse_unsound(contents: Contents) -> None:
    """Check every tree and every sparse matrix of the file.

    Raises:
        Unsound: one has bad indices, circles, sizes, thresholds or values.
    """
    count = 0
    for node, around in contents.nodes():
        if node.get("__loader__") == "SparseMatrixNode":
            _refuse_bad_matrix(contents.member(node.get("file")))
        if node["__class__"] not in ("Tree", "TreePredictor"):
            continue
        count += 1
        record = Record(contents, node)
        if record.kind not in (TREE, PREDICTOR):
            raise Unsound(f"has a {shown(record.kind)}, which is no tree that is known")
        owners = [Record(contents, owner) for owner in reversed(around) if owner.get("__loader__") == "ObjectNode"]
        if record.kind == TREE:
            decision_tree(record, owners, f"tree {count}")
        else:
            boosting_tree(record, owners, f"tree {count}")


def _refuse_bad_matrix(content: bytes) -> None:
    """scipy looks at the shapes of what it loads, and at no index."""
    from scipy import sparse  # few models have one

    try:
        matrix = sparse.load_npz(io.BytesIO(content))
        if matrix.format not in ("csr", "csc", "bsr"):  # others are written by no estimator
            raise ValueError(f"its format is {matrix.format}")
        matrix.check_format(full_check=True)
    except Exception as error:  # scipy and numpy raise whatever their readers raise of damaged bytes
        raise Unsound(f"has a sparse matrix that is none ({type(error).__name__}: {str(error)[:80]})") from None


def decision_tree(record: Record, owners: list[Record], what: str) -> None:
    """Check a ``Tree`` of decision trees and forests.

    Args:
        owners: the objects around it, the nearest first.
        what: the tree in a sentence.
    """
    arguments = record.arguments()
    if not isinstance(arguments, tuple) or len(arguments) != 3:
        raise Unsound(f"has a {what} that is made of {shown(arguments)}")
    width, classes, outputs = arguments
    nodes, values, count = record["nodes"], record["values"], record.whole("node_count")
    _whole_number(width, f"{what} features")
    _whole_number(outputs, f"{what} outputs")
    if not isinstance(classes, np.ndarray) or classes.dtype != np.int64 or classes.shape != (outputs,):
        raise Unsound(f"has a {what} whose numbers of classes are {shown(classes)}")
    if (classes < 1).any() or (classes > 2**20).any():
        raise Unsound(f"has a {what} whose numbers of classes are {shown(classes)}")
    _refuse_other_nodes(nodes, NODE, count, what)
    if not isinstance(values, np.ndarray) or values.dtype != np.float64:
        raise Unsound(f"has a {what} whose values are no array of float64")
    if values.shape != (count, outputs, int(classes.max())):
        raise Unsound(f"has a {what} of {count} nodes whose values have shape {values.shape}")
    if not np.isfinite(values).all():
        raise Unsound(f"has a {what} with values that are not finite")
    leaf = nodes["left_child"] == -1
    if (leaf != (nodes["right_child"] == -1)).any():
        raise Unsound(f"has a {what} with a node that has one child")
    _refuse_bad_ways(nodes["left_child"], nodes["right_child"], leaf, what)
    _refuse_bad_splits(nodes["feature"][~leaf], nodes["threshold"][~leaf], width, what)
    for owner, outer in zip(owners, [*owners[1:], None], strict=True):
        if "n_features_in_" in owner and owner.whole("n_features_in_") != width:
            raise Unsound(f"has a {what} of {width} features in a {owner.name} of {owner.whole('n_features_in_')}")
        if outer is None or not outer.name.startswith(WHOLE_FEATURES):
            break


def boosting_tree(record: Record, owners: list[Record], what: str) -> None:
    """Check a ``TreePredictor`` of histogram gradient boosting; arguments as of :func:`decision_tree`."""
    nodes = record["nodes"]
    _refuse_other_nodes(nodes, PREDICTOR_NODE, None, what)
    owner = owners[0] if owners else None
    if owner is None or "_predictors" not in owner:
        raise Unsound(f"has a {what} that stands in no gradient boosting")
    width = owner.whole("n_features_in_")
    leaf = nodes["is_leaf"] != 0
    _refuse_bad_ways(nodes["left"].astype(np.int64), nodes["right"].astype(np.int64), leaf, what)
    _refuse_bad_splits(nodes["feature_idx"][~leaf], nodes["num_threshold"][~leaf], width, what)
    if not np.isfinite(nodes["value"]).all():
        raise Unsound(f"has a {what} with values that are not finite")
    _refuse_bad_sets(record, owner, nodes[~leaf & (nodes["is_categorical"] != 0)], width, what)


def _refuse_bad_sets(record: Record, owner: Record, nodes: np.ndarray, width: int, what: str) -> None:
    """Splits by sets of categories point into an array of sets, and at features that are known as categories."""
    sets = record["raw_left_cat_bitsets"]
    if not isinstance(sets, np.ndarray) or sets.dtype != np.uint32 or sets.shape[1:] != BITSET or sets.ndim != 2:
        raise Unsound(f"has a {what} whose sets of categories are no array of 8 words each")
    if not len(nodes):
        return
    if (nodes["bitset_idx"] >= len(sets)).any():
        raise Unsound(f"has a {what} that splits by a set of categories beyond its {len(sets)}")
    known = owner["_bin_mapper"]["is_categorical_"] if isinstance(owner["_bin_mapper"], Record) else None
    if not isinstance(known, np.ndarray) or known.shape != (width,) or not known[nodes["feature_idx"]].all():
        raise Unsound(f"has a {what} that splits a number by categories")


def _refuse_other_nodes(nodes: Any, dtype: np.dtype, count: int | None, what: str) -> None:
    if not isinstance(nodes, np.ndarray) or nodes.dtype != dtype or nodes.ndim != 1:
        found = f"{nodes.dtype} of shape {nodes.shape}" if isinstance(nodes, np.ndarray) else shown(nodes)
        raise Unsound(f"has a {what} whose nodes are {found[:200]}, not the nodes of this scikit-learn")
    if not 1 <= len(nodes) < 2**31 or count not in (None, len(nodes)):
        raise Unsound(f"has a {what} of {len(nodes)} nodes that says it has {count}")


def _refuse_bad_ways(left: np.ndarray, right: np.ndarray, leaf: np.ndarray, what: str) -> None:
    """Each node but the first is the child of exactly one node before it: so every way ends, and inside."""
    parents = np.flatnonzero(~leaf)
    children = np.concatenate([left[parents], right[parents]])
    if ((children < 0) | (children >= len(leaf))).any():
        raise Unsound(f"has a {what} with a child outside its {len(leaf)} nodes")
    if (children <= np.concatenate([parents, parents])).any():
        raise Unsound(f"has a {what} in which a way leads back to an earlier node")
    if len(children) != len(leaf) - 1 or (np.bincount(children, minlength=len(leaf))[1:] != 1).any():
        raise Unsound(f"has a {what} with nodes that have no parent, or two")


def _refuse_bad_splits(feature: np.ndarray, threshold: np.ndarray, width: int, what: str) -> None:
    if ((feature < 0) | (feature >= width)).any():
        raise Unsound(f"has a {what} that asks for a feature outside its {width}")
    if np.isnan(threshold).any():  # infinite ones are written for splits between what is missing and what is not
        raise Unsound(f"has a {what} with a threshold that is not a number")


def _whole_number(value: Any, what: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 2**31:
        raise Unsound(f"has {what} {shown(value)}, which should be a whole number from 1")
