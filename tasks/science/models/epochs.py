"""A multi-layer perceptron trained epoch by epoch, and stopped by the loss of rows that it does not learn from.

scikit-learn's own early stopping draws those rows from all, whosever they are, and keeps no loss of theirs. Here its
``partial_fit`` makes one epoch at a time, so that the caller says which rows are held out, and every loss is on record.
What comes out is a plain ``MLPClassifier`` or ``MLPRegressor``.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import log_loss, mean_squared_error

INTERRUPTED, CLIPPED = "Training interrupted by user", "Got `batch_size` less than 1 or larger"
OF_TRAINING = ("_optimizer", "_random_state", "_best_coefs", "_best_intercepts", "_no_improvement_count")
"""What scikit-learn keeps to go on with training; a served file needs none of it, and would be three times as large."""


class Diverged(ArithmeticError):
    """Weights or a loss became infinite or NaN; the text is the epoch."""


@dataclass(frozen=True)
class Rows:
    """Prepared rows (n, features), dense or sparse, their labels (n,), and weights (n,) over 0 where the model has
    them: a step whose rows weigh nothing would divide by that."""

    x: Any
    label: np.ndarray
    weight: np.ndarray | None = None


@dataclass
class Losses:
    """By epoch, and which of them is kept, counted from 1."""

    training: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    kept: int = 0
    stopped: Literal["patience", "epochs"] = "epochs"


def fit_by_epochs(network: Any, learned: Rows, held_out: Rows) -> Losses:
    """Fit an unfitted network, and leave it with the weights of the epoch of least validation loss.

    Epochs, patience and tolerance are the network's ``max_iter``, ``n_iter_no_change`` and ``tol``. Of epochs of equal
    loss the first is kept. An epoch is an improvement if its loss is below the least so far by more than the tolerance.
    After ``n_iter_no_change`` epochs in a row that are none, training stops. So does Prechelt (1998, "Early stopping,
    but when?") by his third class of criteria, there in strips of epochs.

    A number is learned in units of its own standard deviation, which the last layer then takes in. So learning rate,
    regularisation and tolerance mean the same whatever its unit.

    Args:
        network: an ``MLPClassifier`` or ``MLPRegressor`` with a seed as ``random_state``.
        learned: what it learns from.
        held_out: what stops it.

    Returns:
        After each epoch the log-loss of both kinds of rows, or of a number the mean squared error, in its own unit
        squared. Rows count by weight where there are weights. The regularisation is no part of it.

    Raises:
        Diverged: the weights, or a loss, became infinite or NaN.
    """
    seed, unit, middle = network.random_state, 1.0, 0.0
    if not is_classifier(network):
        middle = float(np.average(learned.label, weights=learned.weight))
        unit = float(np.sqrt(np.average((learned.label - middle) ** 2, weights=learned.weight))) or 1.0
        learned, held_out = (Rows(r.x, (r.label - middle) / unit, r.weight) for r in (learned, held_out))
    network.random_state = np.random.RandomState(seed)  # else partial_fit draws the same order in every epoch
    try:
        losses = _trained(network, learned, held_out)
    finally:
        network.random_state = seed
    if not is_classifier(network):
        network.coefs_[-1] = network.coefs_[-1] * unit
        network.intercepts_[-1] = network.intercepts_[-1] * unit + middle
    losses.training, losses.validation = ([x * unit**2 for x in side] for side in (losses.training, losses.validation))
    network.n_iter_, network.loss_ = len(losses.training), losses.training[losses.kept - 1]
    for name in OF_TRAINING:
        vars(network).pop(name, None)
    return losses


def _trained(network: Any, learned: Rows, held_out: Rows) -> Losses:
    classes = {"classes": np.unique(learned.label)} if is_classifier(network) else {}
    losses, least, waited = Losses(), np.inf, 0
    weights: tuple[Any, Any] = ([], [])
    for epoch in range(1, network.max_iter + 1):
        with _loud():
            try:
                network.partial_fit(learned.x, learned.label, sample_weight=learned.weight, **classes)
            except ValueError as error:
                if "non-finite" not in str(error):
                    raise
                raise Diverged(epoch) from None
            found = [_loss(network, rows) for rows in (learned, held_out)]
        if not np.isfinite(found).all():
            raise Diverged(epoch)
        losses.training.append(found[0])
        losses.validation.append(found[1])
        waited = 0 if found[1] < least - network.tol else waited + 1
        if found[1] < least:
            least, losses.kept = found[1], epoch
            weights = copy.deepcopy((network.coefs_, network.intercepts_))
        if waited >= network.n_iter_no_change:
            losses.stopped = "patience"
            break
    network.coefs_, network.intercepts_ = weights
    return losses


def _loss(network: Any, rows: Rows) -> float:
    """The loss of rows as the network is now; NaN where it gives no finite score."""
    score = network.predict_proba(rows.x) if is_classifier(network) else network.predict(rows.x)
    if not np.isfinite(score).all():
        return np.nan
    if is_classifier(network):
        return float(log_loss(rows.label, score, sample_weight=rows.weight, labels=network.classes_))
    return float(mean_squared_error(rows.label, score, sample_weight=rows.weight))


@contextmanager
def _loud() -> Iterator[None]:
    """scikit-learn takes an interrupt for the end of an epoch and only warns; here it stays one."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # what overflows is asked about by its result
        warnings.filterwarnings("ignore", message=CLIPPED)
        warnings.filterwarnings("error", message=INTERRUPTED, category=UserWarning)
        try:
            yield
        except UserWarning as warning:
            if INTERRUPTED not in str(warning):
                raise
            raise KeyboardInterrupt from None
