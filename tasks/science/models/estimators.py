"""From a model config to an unfitted scikit-learn pipeline."""

from __future__ import annotations

import importlib
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from tasks.spec.errors import ConfigError
from tasks.spec.training import TrainingConfig

RARE = 20
"""A category seen less often in training shares one column with the other rare ones."""

CLASSIFIERS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "logistic_regression": (LogisticRegression, {"max_iter": 500}),
    "hist_gradient_boosting": (HistGradientBoostingClassifier, {}),
    "random_forest": (RandomForestClassifier, {"n_jobs": 1}),
}
"""Of two classes or more: logistic regression is multinomial where there are more."""
REGRESSORS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "ridge": (Ridge, {}),
    "hist_gradient_boosting": (HistGradientBoostingRegressor, {}),
    "random_forest": (RandomForestRegressor, {"n_jobs": 1}),
}


ABSENT = ""
"""Stands for a missing category: an empty cell is missing, so that no category is called so."""


def build(config: TrainingConfig) -> Pipeline:
    """The unfitted pipeline ``prepare`` (a ColumnTransformer) and ``estimator``.

    Raises:
        ConfigError: a parameter is unknown to the estimator, or a custom factory cannot be called.
    """
    return Pipeline([("prepare", _prepare(config)), ("estimator", _estimator(config))])


def _prepare(config: TrainingConfig) -> ColumnTransformer:
    numbers, encoding = config.numeric_features, config.estimator.encoding
    categories = [name for name in config.category_features if name not in encoding]
    filled = ("fill", SimpleImputer(strategy="constant", fill_value=ABSENT))
    if config.estimator.kind in ("hist_gradient_boosting", "random_forest"):
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        number: Any = (
            "passthrough" if config.estimator.kind == "hist_gradient_boosting" else SimpleImputer(strategy="median")
        )
    else:
        codes = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE)
        number = Pipeline([("fill", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    parts = [("number", number, numbers), ("category", Pipeline([filled, ("code", codes)]), categories)]
    if encoding:  # in the order of the features, whatever the order of the config's keys
        named = [name for name in config.category_features if name in encoding]
        parts.append(("target", Pipeline([filled, ("code", _target_encoder(config))]), named))
    return ColumnTransformer(parts)


def _target_encoder(config: TrainingConfig) -> TargetEncoder:
    """A category as the mean label of its rows, shrunk to the mean of all (Micci-Barreca 2001), cross-fitted in
    training, so that no row's code knows its own label. What training never saw gets the mean of all."""
    kind = {"binary": "binary", "multiclass": "multiclass", "regression": "continuous"}[config.kind]
    folds = (KFold if kind == "continuous" else StratifiedKFold)(5, shuffle=True, random_state=config.seed)
    return TargetEncoder(target_type=kind, cv=folds)


def _estimator(config: TrainingConfig) -> BaseEstimator:
    spec = config.estimator
    if spec.kind == "custom":
        return _custom(str(spec.factory), spec.parameters)
    kind, defaults = (REGRESSORS if config.kind == "regression" else CLASSIFIERS)[spec.kind]
    allowed = sorted(kind().get_params())
    unknown = sorted(set(spec.parameters) - set(allowed))
    if unknown:
        raise ConfigError(
            f"estimator.parameters names {', '.join(unknown)}, unknown to {spec.kind}; allowed: {', '.join(allowed)}."
        )
    weights: Any = spec.class_weight
    if isinstance(weights, dict):  # by label, as the estimator is fitted on them
        codes = (False, True) if config.kind == "binary" else range(len(config.classes))
        weights = {code: weights[name] for code, name in zip(codes, config.class_names, strict=True)}
    chosen = {} if weights is None else {"class_weight": weights}
    estimator: BaseEstimator = kind(**{"random_state": config.seed, **defaults, **spec.parameters, **chosen})
    return estimator


def _custom(path: str, parameters: dict[str, Any]) -> BaseEstimator:
    module, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
        made: BaseEstimator = factory(**parameters)
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"estimator.factory {path!r} cannot be called: {error}. Write package.module:function, importable here."
        ) from None
    return made
