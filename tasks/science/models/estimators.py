"""From a model config to an unfitted scikit-learn pipeline."""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator, is_classifier
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
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from tasks.spec.errors import ConfigError
from tasks.spec.estimator import Network
from tasks.spec.models import model_folder
from tasks.spec.training import TrainingConfig

RARE = 20
"""A category seen less often in training shares one column with the other rare ones."""

CLASSIFIERS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "logistic_regression": (LogisticRegression, {"max_iter": 500}),
    "hist_gradient_boosting": (HistGradientBoostingClassifier, {}),
    "random_forest": (RandomForestClassifier, {"n_jobs": 1}),
    "mlp": (MLPClassifier, {}),
}
"""Of two classes or more: logistic regression is multinomial where there are more."""
REGRESSORS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "ridge": (Ridge, {}),
    "hist_gradient_boosting": (HistGradientBoostingRegressor, {}),
    "random_forest": (RandomForestRegressor, {"n_jobs": 1}),
    "mlp": (MLPRegressor, {}),
}


ABSENT = ""
"""Stands for a missing category: an empty cell is missing, so that no category is called so."""


def build(config: TrainingConfig, root: Path = Path()) -> Pipeline:
    """The unfitted pipeline ``prepare`` (a ColumnTransformer) and ``estimator``.

    Args:
        root: of the checkout, in which the model's own code stands.

    Raises:
        ConfigError: a parameter is unknown to the estimator, or a custom factory may not or cannot be called.
    """
    return Pipeline([("prepare", _prepare(config)), ("estimator", _estimator(config, root))])


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


def _estimator(config: TrainingConfig, root: Path) -> BaseEstimator:
    spec = config.estimator
    if spec.kind == "custom":
        return _custom(config, model_folder(root, config.name) / "code")
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
    given = _of_network(spec.layout) if spec.kind == "mlp" else spec.parameters
    estimator: BaseEstimator = kind(**{"random_state": config.seed, **defaults, **given, **chosen})
    return estimator


def _of_network(layout: Network) -> dict[str, Any]:
    """As scikit-learn names it; :mod:`tasks.science.models.epochs` stops it early, on rows that the model says."""
    return {
        "hidden_layer_sizes": layout.layers,
        "activation": layout.activation,
        "solver": layout.solver,
        "learning_rate_init": layout.learning_rate,
        "alpha": layout.alpha,
        "batch_size": layout.batch_size,
        "max_iter": layout.epochs,
        "n_iter_no_change": layout.patience,
        "tol": layout.tolerance,
        "validation_fraction": layout.validation,
    }


def _custom(config: TrainingConfig, own: Path) -> BaseEstimator:
    """Call the factory, once it is known to be one: a name in a config runs nothing else, and imports nothing else."""
    path = f"estimator.factory {config.estimator.factory!r}"
    module, _, name = str(config.estimator.factory).partition(":")
    if not _importable(module, own):
        raise ConfigError(
            f"{path} is of no installed package and stands not in the model's own code, so a change of it would not "
            f"retrain {config.name}. Move it to deployments/models/{config.name}/code/, or install it as a package "
            "that requirements.lock names."
        )
    try:
        factory = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module raises whatever it likes while it is imported
        raise ConfigError(f"{path} cannot be imported: {type(error).__name__}: {error}. Mend the name.") from None
    if not _makes_estimators(factory, own):
        raise ConfigError(
            f"{path} is neither a class of estimators with fit, get_params and set_params, nor a function that is "
            f"written in deployments/models/{config.name}/code/. Write such a function there; it returns an estimator."
        )
    try:
        made: BaseEstimator = factory(**config.estimator.parameters)
    except Exception as error:  # of the model's own code
        raise ConfigError(
            f"{path} cannot be called with estimator.parameters: {type(error).__name__}: {error}. Mend one of them."
        ) from None
    if wrong := _misfit(config, made):
        raise ConfigError(f"{path} makes {type(made).__name__}, {wrong}.")
    return made


def _importable(module: str, own: Path) -> bool:
    """Whether a module, and each package around it, is allowed; nothing is imported to find that out."""
    parts = module.split(".")
    places: list[str] | None = None
    if parts[0] in sys.stdlib_module_names or parts[0] == "__main__":
        return False
    importlib.invalidate_caches()
    origin = None
    for part in parts:  # by its own name: a folder without __init__.py would ask for the package around it
        found = PathFinder.find_spec(part, places)
        if found is None:
            return False
        places, origin = list(found.submodule_search_locations or ()), found.origin if found.has_location else None
        if origin is not None and not (_below(origin, own) or _installed(origin)):
            return False
    return origin is not None


def _makes_estimators(factory: Any, own: Path) -> bool:
    """Whether it is a class of estimators, or a function whose text stands in the model's own code.

    A package's own functions are not called from a config: some run commands or unpickle files.
    """
    if inspect.isclass(factory):
        home = getattr(sys.modules.get(factory.__module__), "__file__", None)
        known = home is not None and (_below(home, own) or _installed(home))
        return known and all(callable(getattr(factory, name, None)) for name in ("fit", "get_params", "set_params"))
    return inspect.isfunction(factory) and _below(factory.__code__.co_filename, own)


def _below(file: str, folder: Path) -> bool:
    return Path(file).resolve().is_relative_to(folder.resolve())


def _installed(file: str) -> bool:
    """Whether a file is one of a package in the environment, outside Python's standard library."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    folders.update(entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages"))
    return any(_below(file, Path(folder)) for folder in folders)


def _misfit(config: TrainingConfig, made: Any) -> str:
    """Why what a factory made cannot be this model's estimator; empty where it can."""
    if inspect.isclass(made) or not all(hasattr(made, name) for name in ("fit", "get_params", "set_params")):
        return "which is no estimator; return one with fit, get_params and set_params"
    if config.kind == "regression":
        asked = "and a regression model needs an estimator that predicts numbers"
        return "" if hasattr(made, "predict") and not is_classifier(made) else asked
    asked = f"and a {config.kind} model needs a classifier with predict_proba"
    return "" if hasattr(made, "predict_proba") else asked
