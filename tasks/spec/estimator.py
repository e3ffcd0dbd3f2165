"""What is fitted: ``estimator`` of ``model.yaml``, and what a fit by epochs came to."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from tasks.spec.base import Finite, Spec
from tasks.spec.metrics import TargetKind

Units = Annotated[int, Field(ge=1, le=2048)]
FORMER, FORMER_KEYS = "neural_network", {
    "hidden_layer_sizes": "layers",
    "learning_rate_init": "learning_rate",
    "max_iter": "epochs",
    "n_iter_no_change": "patience",
    "tol": "tolerance",
    "validation_fraction": "validation",
    **{name: name for name in ("activation", "solver", "alpha", "batch_size")},
}  # fmt: skip
"""How ``mlp`` was called until 2026-11-30, and what scikit-learn's parameters that it took are now."""


class Network(Spec):
    """Layers of ``kind: mlp``, scikit-learn's multi-layer perceptron, and how it is trained.

    It goes epoch by epoch, until the loss of rows that are held out of the training rows stops falling. The epoch whose
    loss was least is kept.
    """

    layers: Annotated[tuple[Units, ...], Field(min_length=1, max_length=12)] = (32,)
    """Units of each hidden layer, from the inputs on."""
    activation: Literal["relu", "tanh", "logistic", "identity"] = "relu"
    """Of the hidden layers."""
    solver: Literal["adam", "sgd"] = "adam"
    """Adam, or stochastic gradient descent with Nesterov's momentum of 0.9."""
    learning_rate: float = Field(0.001, gt=0, le=10)
    """How far a step goes, at first."""
    alpha: float = Field(0.0001, ge=0, le=1000)
    """Regularisation: weight of the squared weights in the loss that is minimised, by L2."""
    batch_size: int = Field(200, ge=1, le=1_000_000)
    """Rows of one step; more than there are means all of them."""
    epochs: int = Field(200, ge=1, le=10_000)
    """Passes over the rows at most."""
    patience: int = Field(10, ge=1, le=10_000)
    """Epochs in a row without an improvement after which training stops."""
    tolerance: float = Field(0.0001, ge=0, le=1)
    """By how much the validation loss has to fall to count as an improvement: in log-loss, or of numbers as a share of
    their variance."""
    validation: float = Field(0.1, ge=0.01, le=0.5)
    """Share of the training rows that are held out to validate: whole entities where ``data.entity`` is declared.

    Else it is the latest periods where ``data.period`` is declared and they leave half of the rows. Else rows are drawn
    at random by the seed, by class."""

    @field_validator("solver", mode="before")
    @classmethod
    def _by_epochs(cls, value: Any) -> Any:
        if value == "lbfgs":
            raise ValueError("lbfgs takes all rows at once and knows no epochs, so nothing could stop it early; "
                             "allowed: adam, sgd")  # fmt: skip
        return value


class Epochs(Spec):
    """``loss.json`` beside a model file that was trained by epochs: what became of the loss, and which epoch it is."""

    loss: Literal["log_loss", "squared_error"]
    """What was measured after each epoch, without the regularisation, on both kinds of rows alike."""
    training: tuple[Finite, ...]
    """By epoch, of the rows that were learned from."""
    validation: tuple[Finite, ...]
    """By epoch, of the rows that were held out."""
    kept: int = Field(ge=1)
    """The epoch whose weights the model file holds, counted from 1."""
    stopped: Literal["patience", "epochs"]
    """Whether the validation loss had stopped falling, or the epochs were over."""
    by: Literal["entity", "period", "random"]
    """How rows were held out."""
    why: str = ""
    """Why not by period, where one is declared and could not be used."""
    learned: int
    """Rows that were learned from."""
    held_out: int
    """Rows that the validation loss is of."""


class Estimator(Spec):
    kind: Literal["logistic_regression", "ridge", "hist_gradient_boosting", "random_forest", "mlp", "custom"]
    """Which estimator of scikit-learn, or one of your own."""
    network: Network | None = None
    """For mlp: its layers and how they are trained; without it, all of that by default."""
    factory: str | None = None
    """For custom: dotted path ``package.module:name`` of what takes the parameters and gives an estimator.

    It is a class of estimators of an installed package, or a class or function in the model's own folder, as
    ``deployments.models.<name>.code.<module>``: of those DVC sees every change. Nothing else is imported or called.
    """
    parameters: dict[str, Any] = {}
    """Its parameters, as scikit-learn names them; of mlp none, since ``network`` says all."""
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
        if self.kind == "mlp" and self.class_weight is not None:
            raise ValueError("class_weight is not for kind: mlp, which weighs no classes; use data.weight")
        if self.kind == "mlp" and self.parameters:
            raise ValueError(
                f"parameters names {', '.join(self.parameters)}, and kind: mlp has none; its layers and how they are "
                f"trained stand under network: {', '.join(Network.model_fields)}"
            )
        if self.kind != "mlp" and self.network is not None:
            raise ValueError("network goes with kind: mlp, and only with it")
        return self

    @property
    def layout(self) -> Network:
        """Of an mlp, what ``network`` says or leaves to defaults."""
        return self.network or Network()


def renamed(document: dict[str, Any]) -> dict[str, Any]:
    """An ``estimator`` of a registered version that says ``neural_network``, as an mlp.

    Parameters that only that kind took, such as the solver lbfgs, are left out. Such a version is read, served and
    compared; it is made again by the code of its own commit alone.
    """
    said, network = document.get("parameters"), dict[str, Any]()
    for key, value in said.items() if isinstance(said, dict) else ():
        value = [value] if key == "hidden_layer_sizes" and isinstance(value, int) else value
        try:
            Network.model_validate({FORMER_KEYS[key]: tuple(value) if isinstance(value, list) else value})
        except (KeyError, ValidationError):
            continue
        network[FORMER_KEYS[key]] = value
    kept = {key: value for key, value in document.items() if key != "parameters"}
    return kept | {"kind": "mlp", "network": network}


class TrustedTypes(Spec):
    """``code/trusted.yaml`` in a model's folder: types beyond the repository's list that its file may hold.

    Only classes of installed packages, by the module that defines them. A change of the file is a change of the model:
    it is trained, examined and, where its materiality asks for it, signed anew.
    """

    types: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")], ...], Field(min_length=1)]
    because: str
    """Why they may be loaded, and who looked at them."""


ESTIMATORS: dict[TargetKind, tuple[str, ...]] = {
    "binary": ("logistic_regression", "hist_gradient_boosting", "random_forest", "mlp", "custom"),
    "multiclass": ("logistic_regression", "hist_gradient_boosting", "random_forest", "mlp", "custom"),
    "regression": ("ridge", "hist_gradient_boosting", "random_forest", "mlp", "custom"),
}
