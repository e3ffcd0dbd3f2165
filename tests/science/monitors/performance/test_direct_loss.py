"""Direct loss estimation: what the recalibration holds exactly, and its error against the jackknife's."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.science.monitors.performance.direct_loss import LossModel, Moments, _slopes, estimate_loss, expected_loss

ROWS = 300


def world(seed: int = 0) -> tuple[LossModel, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """A model of losses whose answers know half of what there is to know, weights, and a window's answers and
    scores."""
    rng = np.random.default_rng(seed)
    score, answer = rng.normal(50, 4, ROWS), rng.gamma(4, 0.25, (3, ROWS))
    error = (rng.exponential(1, ROWS) - 1) * answer[0] + 0.1 * (score - 50)
    answers = dict(zip(("size", "square", "error"), answer, strict=True))
    truth = {"size": np.abs(error), "square": error**2, "error": error}
    window = dict(zip(answers, rng.gamma(5, 0.25, (3, 400)), strict=True))
    return (
        LossModel({}, answers, truth, score, np.arange(ROWS)),
        rng.gamma(2, 0.5, ROWS),
        window,
        rng.normal(51, 4, 400),
    )


def test_errors_have_no_lean_with_the_score_left_on_the_weighted_reference() -> None:
    model, weight, _, _ = world()
    left = model.lines(None, weight).by["error"].left
    assert abs(weight @ left) < 1e-8 and abs(weight @ (left * model.score)) < 1e-6


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_the_error_of_the_fit_is_that_of_the_jackknife(metric: str) -> None:
    model, weight, window, score = world()

    def value(places: np.ndarray) -> float:
        lines = model.lines(places, weight[places])
        return expected_loss(metric, Moments.of(lines, window, score), score).value

    everyone = np.arange(ROWS)
    each = np.array([value(np.delete(everyone, i)) for i in everyone])
    jackknife = np.sqrt((ROWS - 1) / ROWS * ((each - each.mean()) ** 2).sum())
    lines = model.lines(None, weight)
    now = Moments.of(lines, window, score)
    told = np.sqrt(lines.variance(now.design, _slopes(metric, expected_loss(metric, now, score), now, score)))
    assert told == pytest.approx(jackknife, rel=0.03)


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_another_unit_of_the_label_changes_nothing_but_the_unit(metric: str) -> None:
    model, weight, window, score = world()
    large = 1e6
    unit = {"size": large, "square": large**2, "error": large}
    moved = LossModel(
        {},
        *({name: part[name] * unit[name] for name in unit} for part in (model.answers, model.truth)),
        model.score * large,
        model.taken,
    )
    factor = 1.0 if metric == "r2" else large
    found = []
    for each, told, scale in ((model, window, 1.0), (moved, {name: window[name] * unit[name] for name in unit}, large)):
        lines = each.lines(None, weight)
        then = Moments.of(lines, each.answers, each.score)
        found.append(
            estimate_loss(metric, lines, Moments.of(lines, told, score * scale), score * scale, then, each.score)
        )
    for name in ("value", "low", "high"):
        assert getattr(found[1], name) == pytest.approx(factor * getattr(found[0], name), rel=1e-6)


def test_answers_and_scores_that_say_nothing_leave_the_mean() -> None:
    model, _, window, score = world()
    constant = LossModel(
        {}, {name: np.ones(ROWS) for name in model.answers}, model.truth, np.full(ROWS, 5.0), model.taken
    )
    lines = constant.lines()
    now = Moments.of(lines, {name: np.ones(len(score)) for name in window}, np.full(len(score), 5.0))
    assert expected_loss("mae", now, score).value == pytest.approx(model.truth["size"].mean())
