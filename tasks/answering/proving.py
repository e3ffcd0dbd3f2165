"""Whether array code and scikit-learn's pipeline give the same bits: asked where a model is trained, and at each load.

The reference is the pipeline, loaded from the file, asked about one row (:mod:`tasks.answering.asking`). Training
compares what :class:`~tasks.spec.manifest.AnsweringProof` counts. The service does not import scikit-learn for it: it
makes the known rows again and compares the digest of their scores with the one in the manifest. A processor or a
library that computes otherwise is noticed by that, and then scikit-learn answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from tasks.answering.asking import one_by_one, whole
from tasks.answering.compiling import Answering, compiled
from tasks.answering.contents import Contents
from tasks.answering.estimators import Boosting, Forest
from tasks.answering.known import NotCompiled
from tasks.answering.rows import drawn, every_value
from tasks.answering.soundness import refuse_unsound
from tasks.answering.trees import Trees
from tasks.spec.manifest import AnsweringProof, Manifest

KNOWN_ROWS, KNOWN_SEED = 128, 1
"""Rows of which the manifest keeps a digest of the scores; each is asked alone in training."""
WHOLE_ROWS = 8
"""Rows of each kind that the whole pipeline is asked about, from the table on; one takes nine milliseconds."""


@dataclass(frozen=True)
class Opened:
    """What of a model file answers: array code, or nothing and the reason why scikit-learn must."""

    answering: Answering | None
    why: str = ""


@dataclass(frozen=True)
class Recorded:
    """Rows of the model's own data, the pipeline's score of each asked alone, and the rows as clients send them."""

    table: Any
    """(n, features) in table form, a DataFrame."""
    scores: np.ndarray
    requests: Sequence[Mapping[str, Any]]
    """Valid JSON values, with every feature."""


def opened(content: bytes, manifest: Manifest) -> Opened:
    """Check a model file, and compile it where its manifest says that this was proven and the known rows agree.

    Raises:
        Unsound: the file holds what no training writes; the message continues a sentence that begins with its name.
    """
    contents = Contents(content)
    refuse_unsound(contents)
    proof = manifest.answering
    if proof is None:
        return Opened(None, "its manifest says of no comparison with array code")
    if not proof.compiled:
        return Opened(None, proof.why)
    try:
        answering = _compiled(contents, manifest)
    except NotCompiled as reason:
        return Opened(None, f"this version of Assay does not compile it: {reason}")
    if {digest(scores) for scores in known_scores(answering)} != {proof.known}:
        return Opened(
            None,
            f"{KNOWN_ROWS} known rows are not answered here with the bits of training; another processor or another "
            "numpy computes here",
        )
    return Opened(answering)


def prove(content: bytes, manifest: Manifest, pipeline: Any, recorded: Recorded | None = None) -> AnsweringProof:
    """Compile a model file and compare it with the pipeline that was loaded from the same file.

    Args:
        manifest: without a proof.
        recorded: rows of the model's own data; None where there are none.

    Raises:
        Unsound: see :func:`opened`.
    """
    contents = Contents(content)
    refuse_unsound(contents)
    try:
        return _compared(_compiled(contents, manifest), manifest, pipeline, recorded)
    except NotCompiled as reason:
        return AnsweringProof(compiled=False, why=str(reason))
    except ValueError as error:
        return AnsweringProof(compiled=False, why=f"a drawn row cannot be scored: {error}")


def _compared(answering: Answering, manifest: Manifest, pipeline: Any, recorded: Recorded | None) -> AnsweringProof:
    known = drawn(answering, KNOWN_ROWS, KNOWN_SEED)
    table = frame(answering, known)
    reference = one_by_one(manifest.kind, pipeline, table, len(manifest.classes))
    wrong = {
        "known rows": max(differing(scores, reference) for scores in known_scores(answering)),
        "known rows asked of the whole pipeline": _whole_differs(manifest, pipeline, answering, table),
        "prepared rows": _preparation_differs(answering, pipeline),
        "columns of names": _names_differ(answering, pipeline),
    }
    if recorded is not None:
        wrong["recorded rows"] = differing(answering.of_rows(recorded.requests), recorded.scores)
        wrong["recorded rows asked of the whole pipeline"] = _whole_differs(
            manifest, pipeline, answering, recorded.table
        )
    edges, wrong["edges of thresholds"] = edge_differences(answering, pipeline.steps[-1][1])
    found = [f"{count} of the {what}" for what, count in wrong.items() if count]
    return AnsweringProof(
        compiled=not found,
        why=f"compiled, it differs from scikit-learn in {' and '.join(found)}" if found else "",
        known=digest(reference),
        generated=KNOWN_ROWS,
        recorded=0 if recorded is None else len(recorded.scores),
        edges=edges,
    )


def known_scores(answering: Answering) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the known rows, asked all at once and each alone."""
    vectors = answering.encoding.table(drawn(answering, KNOWN_ROWS, KNOWN_SEED))
    alone = [answering.scores(vectors[at : at + 1]) for at in range(len(vectors))]
    return answering.scores(vectors), np.concatenate(alone)


def digest(scores: np.ndarray) -> str:
    """sha256 of the bits of scores, little-endian."""
    return "sha256:" + hashlib.sha256(np.ascontiguousarray(scores, dtype="<f8").tobytes()).hexdigest()


def differing(one: np.ndarray, other: np.ndarray) -> int:
    """Rows whose bits differ; all where the shapes do."""
    if one.shape != other.shape:
        return max(len(one), len(other), 1)
    bits = np.ascontiguousarray(one).view(np.int64) != np.ascontiguousarray(other).view(np.int64)
    return int(bits.reshape(len(one), -1).any(axis=1).sum())


def frame(answering: Answering, columns: Mapping[str, Sequence[Any]]) -> Any:
    """Columns in table form as the DataFrame that a pipeline takes."""
    import pandas as pd  # only where a pipeline is asked

    kinds = {c.name: c.kind.dtype for c in answering.encoding.columns}
    return pd.DataFrame({name: pd.Series(values, dtype=kinds[name]) for name, values in columns.items()})


def _compiled(contents: Contents, manifest: Manifest) -> Answering:
    columns = {column.name: column for column in manifest.columns}
    features = [columns[name] for name in manifest.features]
    return compiled(contents, features, manifest.kind, len(manifest.classes))


def _whole_differs(manifest: Manifest, pipeline: Any, answering: Answering, rows: Any) -> int:
    alone = [rows.iloc[at : at + 1] for at in range(min(WHOLE_ROWS, len(rows)))]
    return sum(
        differing(answering.of_table(row), whole(manifest.kind, pipeline, row, len(manifest.classes))) for row in alone
    )


def _preparation_differs(answering: Answering, pipeline: Any) -> int:
    """Every name, every gap and numbers of every column, prepared by both; a sparse row knows no negative zero."""
    columns = every_value(answering)
    theirs = pipeline.steps[0][1].transform(frame(answering, columns))
    ours = answering.estimator.preparation.matrix(answering.encoding.table(columns))
    if hasattr(theirs, "toarray"):
        return differing(ours + 0.0, theirs.toarray() + 0.0)
    return differing(ours, np.asarray(theirs, dtype=np.float64))


def _names_differ(answering: Answering, pipeline: Any) -> int:
    """Columns whose names, in the order of their codes, are others than those of scikit-learn's encoders."""
    theirs = {
        column: list(names)
        for _, part, columns in pipeline.steps[0][1].transformers_
        if hasattr(part, "steps") and hasattr(part.steps[-1][1], "categories_")
        for column, names in zip(columns, part.steps[-1][1].categories_, strict=True)
    }
    ours = {column: list(codes) for column, codes in answering.encoding.codes.items()}
    return sum(ours.get(column) != theirs.get(column) for column in ours.keys() | theirs.keys())


def edge_differences(answering: Answering, estimator: Any) -> tuple[int, int]:
    """Follow every tree to every threshold: below it, at it, above it, and without a value.

    A row that leads to the node is made for each. Trees are asked in a batch: how one row goes down a tree depends on
    no other row.

    Returns:
        Rows asked; and rows that end at another value than scikit-learn's, with the splits of either that the other
        does not have.
    """
    if not isinstance(answering.estimator, Boosting | Forest):
        return 0, 0
    trees, width = answering.estimator.trees, answering.estimator.preparation.width
    single = isinstance(answering.estimator, Forest)
    asked = wrong = 0
    for at, (splits, values) in enumerate(_trees_of(estimator)):
        ours = np.concatenate([np.empty(0, np.int64), *(level for level, _ in trees.levels(at))])
        wrong += len(splits ^ _pairs(trees.feature[ours], trees.threshold[ours]))
        rows = edge_rows(trees, at, width, single)
        if len(rows):
            asked += len(rows)
            wrong += differing(trees.values.take(trees.followed(rows, np.array([at]))[:, 0], axis=0), values(rows))
    return asked, wrong


def edge_rows(trees: Trees, root: int, width: int, single: bool) -> np.ndarray:
    """For every inner node of one tree four prepared rows (n, width) that lead to it, its feature at the edges.

    Args:
        single: whether features are read as float32, whose neighbours are further apart.
    """
    rows, found = np.zeros((1, width)), [np.empty((0, width))]
    for level, places in trees.levels(root):
        rows = rows[places]
        at, feature = np.arange(len(level)), trees.feature[level]
        below, low, high = _neighbours(trees.threshold[level], single)
        for value in (below, low, high, np.full(len(level), np.nan)):
            edge = rows.copy()
            edge[at, feature] = value
            found.append(edge)
        left, right = rows.copy(), rows
        left[at, feature] = np.minimum(rows[at, feature], low)
        right[at, feature] = np.maximum(rows[at, feature], high)
        rows = np.concatenate([left, right])
    return np.concatenate(found)


def _neighbours(threshold: np.ndarray, single: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two largest numbers that are not above a threshold, and the smallest that is."""
    if not single:
        return np.nextafter(threshold, -np.inf), threshold, np.nextafter(threshold, np.inf)
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
        low = np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
        below, above = np.nextafter(low, np.float32(-np.inf)), np.nextafter(low, np.float32(np.inf))
    return below.astype(np.float64), low.astype(np.float64), above.astype(np.float64)


def _trees_of(estimator: Any) -> Iterator[tuple[set[tuple[int, float]], Callable[[np.ndarray], np.ndarray]]]:
    """scikit-learn's own trees: feature and threshold of each split, and what gives leaf values (n, k) of rows."""
    if hasattr(estimator, "estimators_"):
        for forest_tree in estimator.estimators_:
            inner = forest_tree.tree_
            split = inner.children_left != -1
            yield _pairs(inner.feature[split], inner.threshold[split]), partial(_forest_values, inner)
        return
    sets, places = estimator._bin_mapper.make_known_categories_bitsets()
    for predictor in chain.from_iterable(estimator._predictors):
        nodes = predictor.nodes[predictor.nodes["is_leaf"] == 0]
        values = partial(_boosting_values, predictor, sets, places)
        yield _pairs(nodes["feature_idx"], nodes["num_threshold"]), values


def _pairs(feature: np.ndarray, threshold: np.ndarray) -> set[tuple[int, float]]:
    return set(zip(feature.tolist(), threshold.tolist(), strict=True))


def _forest_values(tree: Any, rows: np.ndarray) -> np.ndarray:
    return np.asarray(tree.predict(rows.astype(np.float32))).reshape(len(rows), -1)


def _boosting_values(predictor: Any, sets: Any, places: Any, rows: np.ndarray) -> np.ndarray:
    return np.asarray(predictor.predict(rows, sets, places, 1)).reshape(len(rows), 1)
