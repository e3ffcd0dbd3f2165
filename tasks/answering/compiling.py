"""From a model file to :class:`Answering`: array code for the pipelines that this repository builds.

What is read is checked (:class:`~tasks.answering.contents.Unsound` where no training writes such a file). What is read
and not known here, such as a factory's own estimator, is left to scikit-learn (:class:`NotCompiled`, with the reason).
Compiling proves nothing: :mod:`tasks.answering.proving` compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.answering.compiled_estimators import estimator
from tasks.answering.contents import Contents, Record, Unsound, shown
from tasks.answering.encoding import Encoding, Table
from tasks.answering.estimators import Estimator
from tasks.answering.known import NotCompiled, expect
from tasks.answering.preparation import Codes, Indicators, Means, Part, Preparation, Quantities, Ranks
from tasks.spec.kind import DeclaredColumn
from tasks.spec.metrics import TargetKind


class Answering:
    """A model as array code: rows in, scores out, one row or many with the same bits."""

    def __init__(self, encoding: Encoding, estimator: Estimator, kind: TargetKind, codes: np.ndarray, k: int) -> None:
        """
        Args:
            codes: of several classes, the place of each of the estimator's classes among the model's ``k``.
        """
        self.encoding, self.estimator = encoding, estimator
        self.kind, self.codes, self._k = kind, codes, k

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Scores of encoded rows.

        Returns:
            (n,); of several classes (n, k), a class that training never saw with 0.

        Raises:
            ValueError: scikit-learn refuses one of the rows, too.
        """
        found = self.estimator.scores(vectors)
        if self.kind != "multiclass":
            return np.ascontiguousarray(found[:, 0])
        scores = np.zeros((len(found), self._k))
        scores[:, self.codes] = found
        return scores

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Scores of rows of valid JSON values, each with every feature."""
        return self.scores(self.encoding.rows(rows))

    def of_table(self, columns: Table) -> np.ndarray:
        """Scores of columns in table form, such as a DataFrame's."""
        return self.scores(self.encoding.table(columns))


def compiled(contents: Contents, features: Sequence[DeclaredColumn], kind: TargetKind, classes: int) -> Answering:
    """Read a pipeline out of its file.

    Args:
        contents: whose trees are checked already.
        features: the columns that the model sees, in the order of its manifest.
        classes: number of classes of a multiclass model, fitted on codes from 0; else 0.

    Raises:
        NotCompiled: something in it is not known here; scikit-learn can answer all the same.
        Unsound: what is known is not as training writes it.
    """
    pipeline = contents.value(contents.schema)
    if not isinstance(pipeline, Record) or pipeline.kind != "sklearn.pipeline.Pipeline":
        raise NotCompiled("the file holds no pipeline of scikit-learn")
    (prepare, fitted) = _steps(pipeline, "prepare", "estimator")
    expect(prepare, "sklearn.compose._column_transformer.ColumnTransformer", transformer_weights=None)
    parts: list[Part] = []
    names: dict[str, list[str]] = {}
    for name, transformer, columns in _fitted_parts(prepare):
        part, known = _part(name, transformer, _places(columns, features), features)
        parts.append(part)
        names.update(known)
    sparse = prepare["sparse_output_"]
    if not isinstance(sparse, bool) or not parts:
        raise Unsound("holds a ColumnTransformer that prepares nothing")
    _refuse_unread(parts, features)
    preparation = Preparation(parts, sparse)
    compiled_estimator, codes = estimator(fitted, preparation, kind, classes)
    return Answering(Encoding(features, names), compiled_estimator, kind, codes, classes)


def _steps(pipeline: Record, *names: str) -> list[Any]:
    expect(pipeline, "sklearn.pipeline.Pipeline")
    steps = pipeline.sequence("steps", len(names))
    if [s[0] if isinstance(s, tuple) and len(s) == 2 else None for s in steps] != list(names):
        raise NotCompiled(f"a pipeline has other steps than {' and '.join(names)}")
    return [step[1] for step in steps]


def _fitted_parts(prepare: Record) -> list[tuple[str, Any, list[str]]]:
    """Name, fitted transformer and columns of each part that has columns."""
    found = []
    for entry in prepare.sequence("transformers_"):
        if not isinstance(entry, tuple) or len(entry) != 3:
            raise Unsound(f"holds a ColumnTransformer with a part {shown(entry)}")
        name, transformer, columns = entry
        if name == "remainder" and transformer == "drop":
            continue
        if not isinstance(columns, list) or not all(isinstance(c, str) for c in columns):
            raise Unsound(f"holds a ColumnTransformer whose part {shown(name)} has columns {shown(columns)}")
        if columns:
            found.append((name, transformer, columns))
    return found


def _places(columns: list[str], features: Sequence[DeclaredColumn]) -> np.ndarray:
    order = {column.name: at for at, column in enumerate(features)}
    strange = [name for name in columns if name not in order]
    if strange:
        raise Unsound(f"prepares a column {shown(strange[0])} that its manifest does not name as a feature")
    return np.array([order[name] for name in columns], dtype=np.int64)


def _refuse_unread(parts: list[Part], features: Sequence[DeclaredColumn]) -> None:
    """A name needs codes to be read at all, and no column has two lists of them."""
    read = np.concatenate([part.read for part in parts])
    if len(np.unique(read)) != len(read):
        raise NotCompiled("a column is prepared twice")
    left = [c.name for at, c in enumerate(features) if at not in set(read.tolist())]
    if left:
        raise NotCompiled(f"the feature {left[0]} is not prepared")


def _part(
    name: str, transformer: Any, columns: np.ndarray, features: Sequence[DeclaredColumn]
) -> tuple[Part, dict[str, list[str]]]:
    """One part, and the names that each of its columns knows."""
    quantities = all(features[at].kind.numeric for at in columns)
    if not quantities and any(features[at].kind.numeric for at in columns):
        raise Unsound(f"prepares numbers and names alike in its part {shown(name)}")
    if not isinstance(transformer, Record):
        raise NotCompiled(f"the part {name} is no transformer that is known here")
    if quantities:
        return _quantities(transformer, columns), {}
    fill, code = _steps(transformer, "fill", "code")
    expect(fill, IMPUTER, strategy="constant", fill_value="", add_indicator=False, keep_empty_features=False)
    _refuse_other_gaps(fill)
    known = _categories(code, [features[at].name for at in columns])
    return CODES[_known_code(code)](code, columns, [len(k) for k in known.values()]), known


IMPUTER = "sklearn.impute._base.SimpleImputer"


def _quantities(transformer: Record, columns: np.ndarray) -> Quantities:
    if transformer.kind == "sklearn.preprocessing._function_transformer.FunctionTransformer":
        expect(transformer, transformer.kind, func=None)
        return Quantities(columns)
    if transformer.kind == IMPUTER:
        return Quantities(columns, *_fills(transformer, len(columns)))
    fill, scale = _steps(transformer, "fill", "scale")
    found = Quantities(columns, *_fills(fill, len(columns)))
    expect(scale, "sklearn.preprocessing._data.StandardScaler", with_mean=True, with_std=True)
    width = (found.width,)
    mean, spread = scale.numbers("mean_", width), scale.numbers("scale_", width)
    if (spread <= 0).any():
        raise Unsound("holds a StandardScaler that divides by nothing")
    return Quantities(columns, found.fills, found.kept, found.marked, mean, spread)


def _fills(fill: Record, width: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """What fills the gaps, which columns are left, and which gaps are marked."""
    expect(fill, IMPUTER, strategy="median", keep_empty_features=False)
    _refuse_other_gaps(fill)
    fills = fill.numbers("statistics_", (width,), finite=False)
    if np.isinf(fills).any():
        raise Unsound("holds a SimpleImputer that fills gaps with an infinite number")
    kept = np.flatnonzero(~np.isnan(fills))
    if fill["add_indicator"] is not True:
        return fills, None if len(kept) == width else kept, None
    marks = fill["indicator_"]
    expect(marks, "sklearn.impute._base.MissingIndicator", features="missing-only", error_on_new=False)
    marked = marks["features_"]
    if not isinstance(marked, np.ndarray) or marked.dtype != np.int64 or marked.ndim != 1:
        raise Unsound("holds a MissingIndicator whose features are no whole numbers")
    if ((marked < 0) | (marked >= width)).any():
        raise Unsound(f"holds a MissingIndicator for a column outside its {width}")
    return fills, None if len(kept) == width else kept, marked


def _refuse_other_gaps(fill: Record) -> None:
    gap = fill["missing_values"]
    if not (isinstance(gap, float) and np.isnan(gap)):
        raise NotCompiled(f"an imputer takes {shown(gap)} for missing")


def _categories(code: Any, columns: list[str]) -> dict[str, list[str]]:
    """The names of each column in the order of their codes."""
    if not isinstance(code, Record):
        raise NotCompiled("names are prepared by no encoder that is known here")
    found = {}
    for column, names in zip(columns, code.sequence("categories_", len(columns)), strict=True):
        if not isinstance(names, np.ndarray) or names.ndim != 1 or not all(isinstance(n, str) for n in names.tolist()):
            raise Unsound(f"holds a {code.name} whose categories of {column} are no texts")
        known = names.tolist()
        if not known or len(set(known)) != len(known):
            raise Unsound(f"holds a {code.name} that knows no category of {column}, or one twice")
        found[column] = known
    return found


def _known_code(code: Record) -> str:
    if code.kind not in CODES:
        raise NotCompiled(f"names are prepared by {code.kind}")
    return code.kind


def _ranks(code: Record, columns: np.ndarray, sizes: list[int]) -> Ranks:
    expect(code, ORDINAL, handle_unknown="use_encoded_value", unknown_value=-1)
    if code["min_frequency"] is not None or code["max_categories"] is not None:
        raise NotCompiled("an OrdinalEncoder groups rare categories")
    if code["_missing_indices"] not in ({}, None):
        raise NotCompiled("an OrdinalEncoder has missing categories")
    return Ranks(columns)


def _codes(columns: np.ndarray, sizes: list[int]) -> Codes:
    starts = np.concatenate([[0], np.cumsum([size + 1 for size in sizes])[:-1]]).astype(np.int64)
    return Codes(columns, starts, starts + np.array(sizes, dtype=np.int64))


def _means(code: Record, columns: np.ndarray, sizes: list[int]) -> Means:
    expect(code, TARGET)
    several = code["target_type_"] == "multiclass"
    classes = len(code["classes_"]) if several and isinstance(code["classes_"], np.ndarray) else 1
    overall = code["target_mean_"]
    overall = np.atleast_1d(np.float64(overall) if isinstance(overall, int | float) else overall)
    if not isinstance(overall, np.ndarray) or overall.dtype != np.float64 or overall.shape != (classes,):
        raise Unsound("holds a TargetEncoder whose mean of all is no number for each class")
    if not np.isfinite(overall).all():
        raise Unsound("holds a TargetEncoder whose mean of all is not finite")
    encodings, rows = code.sequence("encodings_", len(sizes) * classes), []
    for at, size in enumerate(sizes):
        given = encodings[at * classes : (at + 1) * classes]
        for encoding in given:
            _refuse_encoding(encoding, size)
        rows.append(np.concatenate([np.stack(given, axis=1), overall[None]]))
    return Means(_codes(columns, sizes), np.concatenate(rows))


def _refuse_encoding(encoding: Any, size: int) -> None:
    if not isinstance(encoding, np.ndarray) or encoding.dtype != np.float64 or encoding.shape != (size,):
        raise Unsound("holds a TargetEncoder without a number for each of its categories")
    if not np.isfinite(encoding).all():
        raise Unsound("holds a TargetEncoder with a number that is not finite")


def _indicators(code: Record, columns: np.ndarray, sizes: list[int]) -> Indicators:
    """One column a category; rare ones share the last of theirs, and so do unseen ones where there are rare ones."""
    expect(code, ONE_HOT, drop=None, handle_unknown="infrequent_if_exist")
    if code["_drop_idx_after_grouping"] is not None or code["_infrequent_enabled"] is not True:
        raise NotCompiled("a OneHotEncoder drops categories, or groups no rare ones")
    widths = code.sequence("_n_features_outs", len(sizes))
    groups = code.sequence("_infrequent_indices", len(sizes))
    mappings = code.sequence("_default_to_infrequent_mappings", len(sizes))
    column, before = [], 0
    for size, width, group, mapping in zip(sizes, widths, groups, mappings, strict=True):
        if not isinstance(width, int) or not 1 <= width <= size:
            raise Unsound(f"holds a OneHotEncoder that makes {shown(width)} columns of {size} categories")
        own = np.arange(size) if mapping is None else mapping
        _refuse_indices(own, size, width)
        _refuse_indices(group, np.size(group), size)
        unseen = -1 if group is None else before + int(own[int(group[0])])
        column.append(np.concatenate([own + before, [unseen]]))
        before += width
    return Indicators(_codes(columns, sizes), np.concatenate(column).astype(np.int64), before)


def _refuse_indices(found: Any, size: int | None, below: int) -> None:
    if found is None:
        return
    if not isinstance(found, np.ndarray) or found.dtype != np.int64 or found.shape != (size,) or not size:
        raise Unsound("holds a OneHotEncoder whose groups of rare categories are no lists of whole numbers")
    if ((found < 0) | (found >= below)).any():
        raise Unsound(f"holds a OneHotEncoder with a place outside its {below}")


ORDINAL, TARGET, ONE_HOT = (
    "sklearn.preprocessing._encoders.OrdinalEncoder",
    "sklearn.preprocessing._target_encoder.TargetEncoder",
    "sklearn.preprocessing._encoders.OneHotEncoder",
)
CODES: dict[str, Callable[[Record, np.ndarray, list[int]], Part]] = {
    ORDINAL: _ranks,
    TARGET: _means,
    ONE_HOT: _indicators,
}
"""How each encoder of names is read."""
