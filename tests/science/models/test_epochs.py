"""Training by epochs against scikit-learn's own fits: the same weights, bit for bit, at the epoch that rules say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils import shuffle

from tasks.science.models.epochs import OF_TRAINING, Diverged, Rows, fit_by_epochs

PLAIN: dict[str, Any] = {"hidden_layer_sizes": (6, 4), "learning_rate_init": 0.02, "batch_size": 50, "random_state": 3}


def rows(count: int, seed: int, classes: int = 2) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    drive = x[:, 0] - x[:, 1] ** 2 + rng.normal(size=count)
    if classes == 1:
        return Rows(x, drive)
    return Rows(x, np.searchsorted(np.linspace(-2, 1, classes + 1)[1:-1], drive))


def stopped(losses: list[float], patience: int, tolerance: float) -> tuple[int, int]:
    """The rule said in another way: epochs that are run, and the one that is kept, both counted from 1."""
    for run in range(1, len(losses) + 1):
        better = [at for at in range(run) if losses[at] < min(losses[:at], default=math.inf) - tolerance]
        if run - 1 - max(better) >= patience:
            break
    return run, losses.index(min(losses[:run])) + 1


def fitted_anew(kind: Any, epochs: int, learned: Rows, **more: Any) -> Any:
    """scikit-learn's own ``fit`` of so many epochs, which knows nothing of ``partial_fit``; rows in their order, since
    it shuffles in each epoch what it shuffled in the one before."""
    with pytest.warns(UserWarning, match="Maximum iterations"):
        network = kind(max_iter=epochs, tol=0.0, n_iter_no_change=10**6, shuffle=False, **PLAIN | more)
        return network.fit(learned.x, learned.label, sample_weight=learned.weight)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_kept_epoch_has_the_bits_of_a_fit_of_so_many_epochs(classes: int, weighted: bool, solver: str) -> None:
    learned, held = rows(220, 0, classes), rows(80, 1, classes)
    if weighted:
        draw = np.random.default_rng(2)
        learned, held = (Rows(r.x, r.label, draw.uniform(0.2, 3, len(r.label))) for r in (learned, held))
    network = MLPClassifier(max_iter=25, n_iter_no_change=3, tol=0.002, solver=solver, shuffle=False, **PLAIN)
    found = fit_by_epochs(network, learned, held)
    fits = [fitted_anew(MLPClassifier, epochs, learned, solver=solver) for epochs in range(1, 26)]
    curves = [
        [log_loss(r.label, fit.predict_proba(r.x), sample_weight=r.weight, labels=fit.classes_) for fit in fits]
        for r in (learned, held)
    ]
    run, kept = stopped(curves[1], 3, 0.002)
    assert (found.kept, len(found.validation), found.stopped) == (kept, run, "patience" if run < 25 else "epochs")
    assert (found.training, found.validation) == (curves[0][:run], curves[1][:run])
    for one, other in zip(network.coefs_ + network.intercepts_, fits[kept - 1].coefs_ + fits[kept - 1].intercepts_,
                          strict=True):  # fmt: skip
        assert (one == other).all()
    assert network.random_state == 3 and not set(OF_TRAINING) & set(vars(network)) and network.n_iter_ == run


def drawn(x: np.ndarray, order: np.random.RandomState) -> None:
    """What a network draws for its weights, before anything else."""
    sizes = (x.shape[1], *PLAIN["hidden_layer_sizes"], 1)
    for before, after in zip(sizes, sizes[1:], strict=False):
        order.uniform(size=(before, after))
        order.uniform(size=after)


def test_each_epoch_has_an_order_of_its_own() -> None:
    """With a seed instead of a generator, ``partial_fit`` would draw the same one again and again."""
    learned, held = rows(120, 0), rows(60, 1)
    ours = MLPClassifier(max_iter=4, n_iter_no_change=9, tol=0.0, **PLAIN)
    found = fit_by_epochs(ours, learned, held)
    assert found.kept == 4
    theirs, order = MLPClassifier(shuffle=False, **PLAIN), np.random.RandomState(PLAIN["random_state"])
    drawn(learned.x, order)
    for _ in range(4):
        places = shuffle(np.arange(120), random_state=order)
        theirs.partial_fit(learned.x[places], learned.label[places], classes=[0, 1])
    assert all((one == other).all() for one, other in zip(ours.coefs_, theirs.coefs_, strict=True))


def test_a_number_is_stopped_where_scikit_learn_stops_on_the_same_rows() -> None:
    """Its R² of the validation rows rises just where the squared error falls."""
    both, patience = rows(300, 5, classes=1), 4
    learns, stops = train_test_split(np.arange(300), random_state=_after_weights(both.x), test_size=0.1)
    unit = (both.label - both.label[learns].mean()) / both.label[learns].std()
    theirs = MLPRegressor(
        early_stopping=True, n_iter_no_change=patience - 1, tol=0.0, max_iter=60, shuffle=False, **PLAIN
    )
    theirs.fit(both.x, unit)
    ours = MLPRegressor(n_iter_no_change=patience, tol=0.0, max_iter=60, shuffle=False, **PLAIN)
    found = fit_by_epochs(ours, *(Rows(both.x[at], unit[at]) for at in (learns, stops)))
    assert found.stopped == "patience" and len(found.validation) == theirs.n_iter_ > patience
    assert 1 - np.array(found.validation) / unit[stops].var() == pytest.approx(theirs.validation_scores_, abs=1e-9)
    assert ours.predict(both.x) == pytest.approx(theirs.predict(both.x), abs=1e-9)


def _after_weights(x: np.ndarray) -> np.random.RandomState:
    order = np.random.RandomState(PLAIN["random_state"])
    drawn(x, order)
    return order


@pytest.mark.parametrize(("unit", "middle"), [(1.0, 0.0), (25_000.0, 60_000.0), (1e-6, 3.0)])
def test_a_number_is_learned_alike_in_any_unit(unit: float, middle: float) -> None:
    learned, held, asked = (rows(200, seed, classes=1) for seed in (0, 1, 2))
    plain, scaled = (MLPRegressor(max_iter=20, n_iter_no_change=5, tol=1e-4, **PLAIN) for _ in range(2))
    first = fit_by_epochs(plain, learned, held)
    second = fit_by_epochs(scaled, *(Rows(r.x, r.label * unit + middle) for r in (learned, held)))
    assert first.kept == second.kept
    assert scaled.predict(asked.x) == pytest.approx(plain.predict(asked.x) * unit + middle, rel=1e-6)
    assert second.validation == pytest.approx([loss * unit**2 for loss in first.validation], rel=1e-4)
    error = ((plain.predict(held.x) - held.label) ** 2).mean()
    assert first.validation[first.kept - 1] == pytest.approx(error, rel=1e-9)


def test_of_equal_losses_the_first_is_kept_and_none_of_them_is_an_improvement() -> None:
    """A network that is no more moved: a step so small that no weight changes."""
    network = MLPClassifier(max_iter=30, n_iter_no_change=4, tol=0.0, **PLAIN | {"learning_rate_init": 1e-300})
    found = fit_by_epochs(network, rows(60, 0), rows(30, 1))
    assert (found.kept, len(found.validation), len(set(found.validation)), found.stopped) == (1, 5, 1, "patience")


def test_one_epoch_and_a_batch_larger_than_the_rows() -> None:
    learned, held = rows(40, 0), rows(20, 1)
    whole, more = (MLPClassifier(max_iter=1, n_iter_no_change=9, **PLAIN | {"batch_size": size}) for size in (40, 999))
    assert fit_by_epochs(whole, learned, held) == fit_by_epochs(more, learned, held)
    assert (whole.coefs_[0] == more.coefs_[0]).all() and whole.n_iter_ == 1


@pytest.mark.parametrize("kind", ["weights", "scores"])
def test_a_loss_that_is_no_number_names_its_epoch(kind: str) -> None:
    learned, held = rows(100, 0, classes=1), rows(50, 1, classes=1)
    network = MLPRegressor(solver="sgd", max_iter=50, n_iter_no_change=60, **PLAIN | {"learning_rate_init": 1e6})
    if kind == "scores":  # the rows that are learned from hold no such number
        network.learning_rate_init = 0.01
        held = Rows(np.where(np.arange(50)[:, None] == 3, 1e308, held.x), held.label)
    with pytest.raises(Diverged, match=r"^\d+$"):
        fit_by_epochs(network, learned, held)
    assert network.random_state == 3


def test_an_interrupt_within_an_epoch_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn itself only warns, and training would go on."""
    network, calls = MLPClassifier(max_iter=20, n_iter_no_change=30, **PLAIN), [0]
    step = MLPClassifier._backprop

    def pressed(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 7:
            raise KeyboardInterrupt
        return step(*arguments, **named)

    monkeypatch.setattr(MLPClassifier, "_backprop", pressed)
    with pytest.raises(KeyboardInterrupt):
        fit_by_epochs(network, rows(100, 0), rows(50, 1))
    assert calls == [7]
