"""Where a model puts its rows: one vector a row, close where the model treats rows alike."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline

from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig

DIMENSIONS = 12
"""Principal components that are kept at most; one more column holds what they leave out."""
TREES = 100
"""Trees of an ensemble that are asked at most, evenly spread over it."""
COLUMNS = 2000
"""Leaves, or features, that are kept at most: those that vary most on the reference."""
CHUNK = 2000

Represent = Callable[[pd.DataFrame], tuple[str, Any]]
"""In words what a row's numbers are, and the (n, width) numbers of raw rows: sparse for leaves, dense for all else."""

_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-np.clip(x, -500, 500))),
}


@dataclass(frozen=True)
class Space:
    """The projection fitted on the reference; every later row is projected by the same numbers.

    It is linear (principal components), so a row's position depends on that row alone, today and next year. UMAP and
    t-SNE position a row by its neighbours. The same row would move from window to window, distances between groups
    would mean nothing, and two pictures could not be compared.
    """

    source: str
    """In words: what the numbers of a row were before the projection."""
    width: int
    """Columns of the model's own representation; another width is another model."""
    columns: np.ndarray
    """(p,) the kept ones of these."""
    shift: np.ndarray
    scale: np.ndarray
    """(p,) each: ``asinh((x - shift) / scale)`` for numbers; leaves stay as they are."""
    mean: np.ndarray
    components: np.ndarray
    """(d, p) principal axes, d at most :data:`DIMENSIONS`; none where all rows are one."""
    size: float
    """Root mean square distance of a reference row from the mean, in which everything is measured."""
    usual: float
    """Median distance of a reference row from the plane of the components."""
    explained: float
    """Share of the variance that the components hold."""


def fit_space(represent: Represent, config: ModelConfig, rows: pd.DataFrame, seed: int) -> Space:
    """Fit the projection on reference rows.

    Tree ensembles: a row is the set of leaves it falls into. It is scaled so that the inner product of two rows is the
    share of trees in which they share a leaf (Breiman 2001, proximities). Principal components of that one-hot table
    are its truncated singular value decomposition about the mean (Halko, Martinsson & Tropp 2011). Networks: the last
    hidden layer. Others: the transformed features. ``monitoring.embedding``: what that function returns.

    Numbers with more than two values are brought to unit variance and through asinh. It is linear near the middle and
    logarithmic far out, so a heavy tail does not dominate. Columns of two values keep their variance.

    Args:
        represent: of the model, see :func:`representing`.
        rows: (n, columns) raw inputs of reference rows, n at least 2.

    Raises:
        ConfigError: the named function cannot be used, or no row has finite numbers.
    """
    source, table = represent(rows)
    leaves = sparse.issparse(table)
    if not leaves:
        table = table[np.isfinite(table).all(axis=1)]
    if table.shape[0] < 2:
        raise ConfigError(
            f"the embedding of {config.name} ({source}) has finite numbers for {table.shape[0]} of {len(rows)} "
            "reference rows; at least 2 are needed. Mend the function, or the data."
        )
    spread = _variance(table)
    columns = np.sort(np.argsort(-spread, kind="stable")[:COLUMNS])
    kept = _dense(table[:, columns])
    shift, scale = np.zeros(len(columns)), np.ones(len(columns))
    if not leaves:
        shift = kept.mean(axis=0)
        many = np.array([len(np.unique(c)) > 2 for c in kept.T], dtype=bool)
        scale[many] = np.maximum(kept[:, many].std(axis=0), 1e-12)
        kept = np.arcsinh((kept - shift) / scale)
    mean = kept.mean(axis=0)
    components, explained = _components(kept, seed)
    space = Space(source, table.shape[1], columns, shift, scale, mean, components, 1.0, 0.0, explained)
    placed, off = _place(space, table)
    size = float(np.sqrt((placed**2).sum(axis=1).mean() + (off**2).mean())) or 1.0
    return Space(
        source, table.shape[1], columns, shift, scale, mean, components, size, float(np.median(off)) / size, explained
    )


def embed(represent: Represent, config: ModelConfig, rows: pd.DataFrame, space: Space) -> np.ndarray:
    """Project rows into the space of the reference.

    Returns:
        (n, d + 1) float: principal components, then the distance from their plane beyond the usual one. By that
        distance rows stand out in directions that the reference never varied in. A row without finite numbers is all
        NaN.

    Raises:
        ConfigError: the representation has another width than the space, so the space belongs to another version.
    """
    if not len(rows):
        return np.empty((0, len(space.components) + 1))
    source, table = represent(rows)
    if table.shape[1] != space.width:
        raise ConfigError(
            f"the embedding of {config.name} has {table.shape[1]} columns ({source}), and the reference was fitted "
            f"with {space.width}: it belongs to another version. Fit the groupings of this one."
        )
    placed, off = _place(space, table)
    return np.column_stack([placed / space.size, off / space.size - space.usual])


def _components(table: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """(d, p) principal axes and the share of the variance in them; none where nothing varies."""
    total = float(table.var(axis=0, ddof=1).sum())
    d = min(DIMENSIONS, table.shape[0] - 1, table.shape[1])
    if total <= 1e-18 or d < 1:
        return np.empty((0, table.shape[1])), 1.0
    solver = "arpack" if min(table.shape) > 4 * DIMENSIONS else "full"
    found = PCA(d, svd_solver=solver, random_state=seed).fit(table)
    real = found.explained_variance_ > 1e-9 * total
    return np.asarray(found.components_[real], dtype=float), min(
        1.0, float(found.explained_variance_[real].sum()) / total
    )


def _place(space: Space, table: Any) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) components and (n,) distance from their plane, before scaling."""
    parts = [_place_dense(space, table[i : i + CHUNK]) for i in range(0, table.shape[0], CHUNK)]
    return np.concatenate([p for p, _ in parts]), np.concatenate([o for _, o in parts])


def _place_dense(space: Space, table: Any) -> tuple[np.ndarray, np.ndarray]:
    leaves = sparse.issparse(table)
    kept = _dense(table[:, space.columns])
    outside = np.zeros(len(kept))
    if leaves:  # every row has the squared norm 1; what is not in the kept leaves is off the plane
        outside = np.maximum(1 - (kept**2).sum(axis=1), 0.0)
    else:
        kept = np.where(np.isfinite(table).all(axis=1)[:, None], kept, np.nan)
        kept = np.arcsinh((kept - space.shift) / space.scale)
    centred = kept - space.mean
    placed = centred @ space.components.T
    return placed, np.sqrt(np.maximum((centred**2).sum(axis=1) - (placed**2).sum(axis=1) + outside, 0.0))


def _dense(table: Any) -> np.ndarray:
    return np.asarray(table.toarray() if sparse.issparse(table) else table, dtype=float)


def _variance(table: Any) -> np.ndarray:
    if not sparse.issparse(table):
        return np.asarray(table.var(axis=0))
    mean = np.asarray(table.mean(axis=0)).ravel()
    return np.asarray(np.asarray(table.multiply(table).mean(axis=0)).ravel() - mean**2)


def representing(pipeline: Pipeline, config: ModelConfig) -> Represent:
    """What a fitted pipeline, in memory or loaded from its file, makes of raw rows."""
    return lambda rows: _representation(pipeline, config, rows)


def _representation(pipeline: Pipeline, config: ModelConfig, rows: pd.DataFrame) -> tuple[str, Any]:
    if config.monitoring.embedding is not None:
        return f"the function {config.monitoring.embedding}", _named(
            config.monitoring.embedding, pipeline, rows[[c.name for c in config.inputs if c.name in rows]]
        )
    prepared = pipeline[:-1].transform(rows[list(config.features)])
    estimator = pipeline.steps[-1][1]
    while hasattr(estimator, "regressor_"):  # a transformed target wraps the model that was fitted
        estimator = estimator.regressor_
    found = leaf_codes(estimator, _dense(prepared))
    if found is not None:
        codes, width = found
        n, trees = codes.shape
        value = np.full(n * trees, 1 / np.sqrt(trees))
        return f"the leaves of {trees} trees", sparse.csr_matrix(
            (value, codes.ravel(), np.arange(n + 1) * trees), shape=(n, width)
        )
    if hasattr(estimator, "coefs_") and hasattr(estimator, "activation") and len(estimator.coefs_) > 1:
        return "the last hidden layer", hidden_layer(estimator, _dense(prepared))
    return "the transformed features", _dense(prepared)


def _named(path: str, pipeline: Pipeline, rows: pd.DataFrame) -> np.ndarray:
    """What the user's function gives, once it has the right shape."""
    module, _, name = path.partition(":")
    fix = "Write package.module:function that takes the fitted pipeline and raw rows and gives (rows, d) numbers."
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"monitoring.embedding {path!r} cannot be imported: {error}. {fix}") from None
    try:
        found = np.asarray(function(pipeline, rows.copy()), dtype=float)
    except Exception as error:  # the user's code may raise anything
        raise ConfigError(
            f"monitoring.embedding {path!r} failed on {len(rows)} rows ({type(error).__name__}: {error}). {fix}"
        ) from None
    if found.ndim != 2 or len(found) != len(rows) or not found.shape[1]:
        raise ConfigError(
            f"monitoring.embedding {path!r} gives the shape {found.shape} for {len(rows)} rows; allowed is "
            f"({len(rows)}, d) with d at least 1. {fix}"
        )
    return found


def leaf_codes(estimator: Any, prepared: np.ndarray) -> tuple[np.ndarray, int] | None:
    """The leaf of each row in each tree.

    Args:
        estimator: a fitted tree ensemble, or anything else.
        prepared: (n, p) what the pipeline gives it.

    Returns:
        (n, t) codes, distinct over the trees, and the number of codes; None where the estimator has no trees.
    """
    if hasattr(estimator, "_predictors"):  # HistGradientBoosting has no public apply
        trees = [tree for iteration in estimator._predictors for tree in iteration]
        return _histogram_leaves(estimator, [trees[i] for i in _spread(len(trees))], prepared)
    if not hasattr(estimator, "apply") or not (hasattr(estimator, "estimators_") or hasattr(estimator, "tree_")):
        return None
    leaves = np.asarray(estimator.apply(prepared), dtype=np.int64).reshape(len(prepared), -1)
    parts = np.ravel(estimator.estimators_) if hasattr(estimator, "estimators_") else [estimator]
    chosen = _spread(len(parts))
    starts = np.concatenate([[0], np.cumsum([parts[i].tree_.node_count for i in chosen])])
    return leaves[:, chosen] + starts[:-1], int(starts[-1])


def _spread(trees: int) -> np.ndarray:
    return np.unique(np.linspace(0, trees - 1, min(trees, TREES)).round().astype(int))


def _histogram_leaves(estimator: Any, trees: list[Any], prepared: np.ndarray) -> tuple[np.ndarray, int]:
    """The walk of scikit-learn's ``_predict_one_from_raw_data``, all rows and trees at once, a step a level."""
    x = estimator._preprocess_X(prepared, reset=False)
    known, position = estimator._bin_mapper.make_known_categories_bitsets()
    starts = np.concatenate([[0], np.cumsum([len(tree.nodes) for tree in trees])])
    splits = np.concatenate([[0], np.cumsum([len(tree.raw_left_cat_bitsets) for tree in trees])])
    nodes = np.concatenate([tree.nodes for tree in trees])
    of_tree = np.repeat(np.arange(len(trees)), [len(tree.nodes) for tree in trees])
    left, right = (nodes[side].astype(np.int64) + starts[of_tree] for side in ("left", "right"))
    bits = np.concatenate([np.asarray(tree.raw_left_cat_bitsets, dtype=np.uint32).reshape(-1, 8) for tree in trees])
    leaf, feature, threshold = (
        nodes["is_leaf"].astype(bool),
        nodes["feature_idx"].astype(np.int64),
        nodes["num_threshold"],
    )
    missing, category = nodes["missing_go_to_left"].astype(bool), nodes["is_categorical"].astype(bool)
    bitset = nodes["bitset_idx"].astype(np.int64) + splits[of_tree]
    place = np.tile(starts[:-1], (len(x), 1))
    row = np.repeat(np.arange(len(x)), len(trees)).reshape(place.shape)
    for _ in range(len(nodes)):  # a file that was made to loop comes to an end
        moving = ~leaf[place]
        if not moving.any():
            break
        at, value = place[moving], x[row[moving], feature[place[moving]]]
        lost = np.isnan(value)
        goes = value <= threshold[at]
        if category.any():
            asked = np.flatnonzero(category[at] & ~lost)
            seen = _in_bits(known, position[feature[at[asked]]], value[asked])
            inside = _in_bits(bits, bitset[at[asked]], value[asked])
            goes[asked] = inside
            lost[asked] = ~inside & ~seen  # an unknown category is treated as missing
        place[moving] = np.where(np.where(lost, missing[at], goes), left[at], right[at])
    return place, int(starts[-1])


def _in_bits(bits: np.ndarray, at: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Whether each value is set in its row of eight 32-bit words; what lies outside 0 to 255 is not."""
    fits = (value >= 0) & (value <= 255)
    code = np.where(fits, value, 0).astype(np.int64)
    return np.asarray(fits & ((bits[at, code // 32] >> (code % 32).astype(np.uint32)) & 1).astype(bool))


def hidden_layer(estimator: Any, prepared: np.ndarray) -> np.ndarray:
    """(n, units) activations of the last hidden layer of a multilayer perceptron."""
    activate = _ACTIVATIONS[estimator.activation]
    for weights, bias in zip(estimator.coefs_[:-1], estimator.intercepts_[:-1], strict=True):
        prepared = activate(prepared @ weights + bias)
    return prepared
