"""The types a model file may hold. The list lives here, in the repository; a file's own claims are not read."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable

TRUSTED = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)

OURS = ("deployments", "flows", "tasks")


def refuse_untrustworthy(names: Iterable[str]) -> None:
    """Check what a model adds to the list: classes alone, since a function may do anything with its arguments.

    Raises:
        ValueError: a name is no class, is one of Python's own library, such as ``subprocess.Popen``, or is one of a
            checkout, of which a service has another version or none.
    """
    for name in names:
        module, _, called = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), called)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{name}, which is no class of an installed package: {error}") from None
        if not isinstance(found, type) or issubclass(found, type):
            raise ValueError(f"{name} is no class; write an estimator class that does the same, in a package")
        defined = f"{found.__module__}.{found.__qualname__}"
        if defined != name:
            raise ValueError(f"{name} is defined as {defined}; name it so")
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names and not name.startswith("collections."):
            raise ValueError(f"{name} is of Python's own library, whose classes can do anything; leave it out")
        if top in OURS:
            raise ValueError(
                f"{name} stands in the checkout, and a service has installed packages alone; put it into a package "
                "that requirements.lock names"
            )
