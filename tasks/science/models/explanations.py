"""How much each raw column moves each prediction."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

UNIMPORTANT = 0.01

PERMUTATIONS = 8
TREES = (
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "RandomForestClassifier",
    "RandomForestRegressor",
)


def attributions(pipeline: Pipeline, rows: pd.DataFrame, background: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Shapley values per raw feature.

    Linear models: exact under feature independence, ``coef * (x - mean)`` (Štrumbelj & Kononenko 2014), summed over the
    columns that encode one feature. They are in log-odds, of a regression in its unit. Tree ensembles: shap's
    TreeExplainer, path-dependent (Lundberg et al. 2020), in the model's margin. Others: sampled permutations of raw
    features against background rows (Štrumbelj & Kononenko 2014), in units of the score.

    Of several classes: the mean over the classes of the absolute Shapley values, each class's margin less the mean
    margin, since a softmax does not see what all margins share. A feature that matters to any class is then seen,
    whichever class is predicted; such attributions have a size and no sign.

    Args:
        pipeline: fitted, with the steps ``prepare`` and ``estimator``.
        rows: (m, features) raw rows to explain.
        background: (b, features) raw rows that stand for the population.
        seed: of the sampling, where there is any.

    Returns:
        (m, features) attributions on the index of ``rows``, signed but for several classes.
    """
    return Explainer(pipeline, background)(rows, seed)


class Explainer:
    """:func:`attributions` of one model against one background, for many calls.

    What does not depend on the rows is prepared once, at the first call. Threads may share an explainer.
    """

    def __init__(self, pipeline: Pipeline, background: pd.DataFrame) -> None:
        self.pipeline, self.background = pipeline, background
        self.prepare, self.estimator = pipeline.named_steps["prepare"], pipeline.named_steps["estimator"]
        self._kept: Any = None
        self._alone = Lock()

    def __call__(self, rows: pd.DataFrame, seed: int) -> pd.DataFrame:
        """(m, features) attributions of raw rows, as :func:`attributions` says."""
        if hasattr(self.estimator, "coef_"):
            with self._alone:
                if self._kept is None:
                    self._kept = _owners(self.prepare), _dense(self.prepare.transform(self.background)).mean(axis=0)
            owners, middle = self._kept
            moved = _dense(self.prepare.transform(rows)) - middle
            by_margin = [moved * coefficients for coefficients in np.atleast_2d(self.estimator.coef_)]
        elif type(self.estimator).__name__ in TREES:
            matrix = _dense(self.prepare.transform(rows))
            with self._alone:  # TreeExplainer writes to itself while it explains
                if self._kept is None:
                    import shap  # 1.6 s: only where trees are explained

                    self._kept = _owners(self.prepare), shap.TreeExplainer(self.estimator)
                owners, trees = self._kept
                found = np.asarray(trees.shap_values(matrix, check_additivity=False))
            by_margin = (
                [found]
                if found.ndim == 2
                else [found[..., 1]]
                if found.shape[2] == 2
                else list(np.moveaxis(found, 2, 0))
            )
        else:
            return _sampled(self.pipeline, rows, self.background, seed)
        return _over_classes([_per_feature(values, owners, rows) for values in by_margin])


def _over_classes(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table as it is; of several, one a class, the mean size of what sets a class apart from the mean of all."""
    if len(tables) == 1:
        return tables[0]
    values = np.stack([t.to_numpy(float) for t in tables])
    return pd.DataFrame(
        np.abs(values - values.mean(axis=0)).mean(axis=0), index=tables[0].index, columns=tables[0].columns
    )


def importance(explained: pd.DataFrame) -> dict[str, float]:
    """Share of the mean absolute attribution per feature; the shares sum to 1 (all 0 where nothing is attributed)."""
    size = explained.abs().mean()
    total = float(size.sum())
    return {str(name): float(value) / total if total > 0 else 0.0 for name, value in size.items()}


def _dense(matrix: object) -> np.ndarray:
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=float)


def _owners(prepare: ColumnTransformer) -> list[str]:
    """The raw feature behind each transformed column, from the fitted parts themselves, not from their names."""
    owners: list[str] = []
    for _, part, columns in prepare.transformers_:
        names = [str(c) for c in columns]
        encoder = part.named_steps.get("code") if isinstance(part, Pipeline) else None
        if encoder is not None and hasattr(encoder, "drop_idx_"):  # one-hot: as many columns as (grouped) categories
            for name, categories, rare in zip(names, encoder.categories_, encoder.infrequent_categories_, strict=True):
                owners += [name] * (len(categories) if rare is None else len(categories) - len(rare) + 1)
            continue
        if encoder is not None and hasattr(
            encoder, "target_mean_"
        ):  # target encoding: one column, or one for each of several classes
            each = len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1
            owners += [name for name in names for _ in range(each)]
            continue
        owners += names
        imputer = part.named_steps.get("fill") if isinstance(part, Pipeline) else part
        indicator = getattr(imputer, "indicator_", None)
        if indicator is not None:
            owners += [names[i] for i in indicator.features_]
    return owners


def _per_feature(values: np.ndarray, owners: list[str], rows: pd.DataFrame) -> pd.DataFrame:
    if len(owners) != values.shape[1]:
        raise ValueError(
            f"{values.shape[1]} transformed columns and {len(owners)} owners; the preparation has an unknown part"
        )
    table = pd.DataFrame(values.T, columns=rows.index).groupby(np.asarray(owners, dtype=object)).sum().T
    return table.reindex(columns=list(rows.columns), fill_value=0.0)


def _sampled(pipeline: Pipeline, rows: pd.DataFrame, background: pd.DataFrame, seed: int) -> pd.DataFrame:
    rng, names = np.random.default_rng(seed), list(rows.columns)
    total = np.zeros((_outputs(pipeline, rows).shape[1], len(rows), len(names)))
    for _ in range(PERMUTATIONS):
        state = background.iloc[rng.integers(len(background), size=len(rows))].set_axis(rows.index)
        before = _outputs(pipeline, state)
        for name in rng.permutation(rows.columns.to_numpy()):
            state = state.assign(**{name: rows[name]})
            after = _outputs(pipeline, state)
            total[:, :, names.index(name)] += (after - before).T
            before = after
    return _over_classes([pd.DataFrame(part / PERMUTATIONS, index=rows.index, columns=rows.columns) for part in total])


def _outputs(pipeline: Pipeline, rows: pd.DataFrame) -> np.ndarray:
    """(m, outputs): the positive class's probability, those of all of several classes, or the number."""
    if not hasattr(pipeline, "predict_proba"):
        return np.asarray(pipeline.predict(rows), dtype=float)[:, None]
    found = np.asarray(pipeline.predict_proba(rows), dtype=float)
    return found[:, 1:] if found.shape[1] == 2 else found
