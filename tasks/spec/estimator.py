"""What is fitted: ``estimator`` of ``model.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tasks.spec.base import Spec
from tasks.spec.metrics import TargetKind


class Estimator(Spec):
    kind: Literal["logistic_regression", "ridge", "hist_gradient_boosting", "random_forest", "neural_network", "custom"]
    """Which estimator of scikit-learn, or one of your own."""
    factory: str | None = None
    """For custom: dotted path ``package.module:name`` of what takes the parameters and gives an estimator.

    It is a class of estimators of an installed package, or a class or function in the model's own folder, as
    ``deployments.models.<name>.code.<module>``: of those DVC sees every change. Nothing else is imported or called.
    """
    parameters: dict[str, Any] = {}
    """Its parameters, as scikit-learn names them."""
    class_weight: Literal["balanced"] | dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = None
    """How much the rows of a class weigh in training: ``balanced``, in inverse proportion to its rows, or a number for
    each class by its name. Scores move with it and are probabilities no longer; the calibration gate sees that."""
    encoding: dict[str, Literal["target"]] = {}
    """Category features that become the mean label of their category, by scikit-learn's ``TargetEncoder`` with its
    cross-fitting, such as ``{postcode: target}``: for categories of many values. Others are one-hot or ordinal."""

    @model_validator(mode="after")
    def _factory(self) -> Estimator:
        if (self.kind == "custom") != (self.factory is not None):
            raise ValueError("factory goes with kind: custom, and only with it")
        if self.factory and not re.fullmatch(r"[\w.]+:\w+", self.factory):
            raise ValueError(f"factory is {self.factory!r}; write package.module:function")
        if self.kind == "custom" and self.class_weight is not None:
            raise ValueError("class_weight is not for kind: custom; hand it to the factory in parameters")
        if self.kind == "neural_network" and self.class_weight is not None:
            raise ValueError("class_weight is not for kind: neural_network, which weighs no classes; use data.weight")
        return self


class TrustedTypes(Spec):
    """``code/trusted.yaml`` in a model's folder: types beyond the repository's list that its file may hold.

    Only classes of installed packages, by the module that defines them. A change of the file is a change of the model:
    it is trained, examined and, where its materiality asks for it, signed anew.
    """

    types: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")], ...], Field(min_length=1)]
    because: str
    """Why they may be loaded, and who looked at them."""


ESTIMATORS: dict[TargetKind, tuple[str, ...]] = {
    "binary": ("logistic_regression", "hist_gradient_boosting", "random_forest", "neural_network", "custom"),
    "multiclass": ("logistic_regression", "hist_gradient_boosting", "random_forest", "neural_network", "custom"),
    "regression": ("ridge", "hist_gradient_boosting", "random_forest", "neural_network", "custom"),
}
