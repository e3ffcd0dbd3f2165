"""What is fitted: ``estimator`` of ``model.yaml``."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import model_validator

from tasks.spec.base import Spec
from tasks.spec.metrics import TargetKind


class Estimator(Spec):
    kind: Literal["logistic_regression", "ridge", "hist_gradient_boosting", "random_forest", "custom"]
    """Which estimator of scikit-learn, or one of your own."""
    factory: str | None = None
    """For custom: dotted path ``package.module:function``; it takes the parameters and returns an estimator.

    The module is one of an installed package, or stands in the model's own folder, as
    ``deployments.models.<name>.code.<module>``: of those DVC sees every change.
    """
    parameters: dict[str, Any] = {}
    """Its parameters, as scikit-learn names them."""

    @model_validator(mode="after")
    def _factory(self) -> Estimator:
        if (self.kind == "custom") != (self.factory is not None):
            raise ValueError("factory goes with kind: custom, and only with it")
        if self.factory and not re.fullmatch(r"[\w.]+:\w+", self.factory):
            raise ValueError(f"factory is {self.factory!r}; write package.module:function")
        return self


ESTIMATORS: dict[TargetKind, tuple[str, ...]] = {
    "binary": ("logistic_regression", "hist_gradient_boosting", "random_forest", "custom"),
    "multiclass": ("logistic_regression", "hist_gradient_boosting", "random_forest", "custom"),
    "regression": ("ridge", "hist_gradient_boosting", "random_forest", "custom"),
}
