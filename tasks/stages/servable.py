"""Whether a pipeline can be served, asked before the whole training as well as after it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from tasks.serving.trusted import TRUSTED, refuse_untrustworthy
from tasks.spec.base import load_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.estimator import TrustedTypes
from tasks.spec.models import model_folder
from tasks.stages.common import ModelPaths

TRIED_ROWS, EACH_CLASS = 300, 30


def trusted_types(paths: ModelPaths) -> tuple[str, ...]:
    """The classes that the model's own ``code/trusted.yaml`` adds to the repository's list; none without the file.

    Raises:
        ConfigError: the file is wrong, or names what may not be trusted.
    """
    path = model_folder(paths.root, paths.name) / "code/trusted.yaml"
    if not path.exists():
        return ()
    types = load_yaml(path, TrustedTypes).types
    try:
        refuse_untrustworthy(types)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}.") from None
    return types


def refuse_unservable(paths: ModelPaths, pipeline: Any, trusted: tuple[str, ...]) -> None:
    """Check what the model file would hold.

    Raises:
        ConfigError: it cannot be written, or holds a type that no list allows; the message names type and fix.
    """
    from skops import io as skops

    name = f"deployments/models/{paths.name}"
    try:
        content = skops.dumps(pipeline)
    except Exception as error:  # skops raises whatever the object's own reduction raises
        raise ConfigError(
            f"the pipeline of {paths.name} cannot be written to a file ({type(error).__name__}: {error}), so nobody "
            f"could load it. Mend the factory of {name}/model.yaml."
        ) from None
    strange = sorted(set(skops.get_untrusted_types(data=content)) - {*TRUSTED, *trusted})
    if strange:
        raise ConfigError(
            f"the pipeline of {paths.name} holds {', '.join(strange)}, which no service would load. Build it without, "
            f"or, if a class, add it to {name}/code/trusted.yaml on purpose."
        )


def try_out(paths: ModelPaths, pipeline: Any, rows: pd.DataFrame, label: np.ndarray, trusted: tuple[str, ...]) -> None:
    """Refuse a pipeline that could not be served: as it is built, and fitted on a few rows, since fitting adds types.

    Args:
        pipeline: unfitted; it stays so.
        rows: (n, features), of which a few of each class are taken.

    Raises:
        ConfigError: see :func:`refuse_unservable`; or a parameter is of no value that its estimator knows.
    """
    refuse_unservable(paths, pipeline, trusted)
    order = np.random.default_rng(0).permutation(len(rows))
    whole = label.dtype.kind == "f"  # numbers have no classes
    first = [] if whole else [order[label[order] == code][:EACH_CLASS] for code in np.unique(label)]
    chosen = np.unique(np.concatenate([*first, order[:TRIED_ROWS]]))
    tried = clone(pipeline)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tried.fit(rows.iloc[chosen], label[chosen])
    except InvalidParameterError as error:  # more rows do not change that
        raise ConfigError(f"estimator.parameters of {paths.name}: {error}") from None
    except Exception:  # so few rows may be too few for it; the whole training says what is wrong
        return
    refuse_unservable(paths, tried, trusted)
