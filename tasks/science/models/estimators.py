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
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

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
    numbers, categories = config.numeric_features, config.category_features
    filled = ("fill", SimpleImputer(strategy="constant", fill_value=ABSENT))
    if config.estimator.kind in ("hist_gradient_boosting", "random_forest"):
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        number: Any = (
            "passthrough" if config.estimator.kind == "hist_gradient_boosting" else SimpleImputer(strategy="median")
        )
    else:
        codes = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=RARE)
        number = Pipeline([("fill", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    return ColumnTransformer(
        [("number", number, numbers), ("category", Pipeline([filled, ("code", codes)]), categories)]
    )


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
    estimator: BaseEstimator = kind(**{"random_state": config.seed, **defaults, **spec.parameters})
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
