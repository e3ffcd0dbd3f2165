"""Performance without labels: do the intervals hold what labels show, and does the estimator abstain when it must?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest

from tasks.science.monitors.performance.calibration import chosen_calibration, fit_calibration
from tasks.science.monitors.performance.confidence_based import ConfidenceBasedEstimator
from tasks.science.monitors.performance.direct_loss import Moments, estimate_loss, fit_losses
from tasks.science.monitors.performance.estimators import choose_estimator
from tasks.science.monitors.performance.expected_metrics import expected
from tasks.science.monitors.performance.groups import MEASURES, estimated_disparity, fitted_group
from tasks.science.monitors.performance.multiclass import estimate_classes, expected_classes, fit_classes
from tasks.science.monitors.performance.realized import errors_of
from tasks.science.monitors.performance.support import overlap_of
from tasks.science.stats.disparity import disparity
from tasks.spec.metrics import METRIC_NAMES
from tasks.spec.model import ModelConfig, load_model
from tests.conftest import ROOT
from tests.statistics.studies import Count, Study

SEED, REFERENCE, THRESHOLD = 20261125, 5000, 0.3
SOUND_RUNS, BROKEN_RUNS = 150, 100
"""Runs of a world in which the score is to be believed, and of one in which it is not."""
Pair = Iterator[tuple[str, bool]]


def counted(runs: int, n: int, nominal: float, each: Callable[[np.random.Generator], Pair], seed: int) -> list[Count]:
    """How often each case held, over ``runs`` draws."""
    rng, held, seen = np.random.default_rng(seed), Counter[str](), Counter[str]()
    for _ in range(runs):
        for case, inside in each(rng):
            held[case] += inside
            seen[case] += 1
    return [Count(case, n, held[case], seen[case], nominal) for case in seen]


def binary(n: int, form: str, rng: np.random.Generator) -> Pair:
    """Log-odds rise by 1; the model is overconfident: by a factor on the log-odds, or in a form that no logistic fit
    mends."""
    odds, later = rng.normal(-2, 1.2, REFERENCE), rng.normal(-1, 1.2, n)
    label, shown = rng.random(REFERENCE) < expit(odds), (rng.random(n) < expit(later)).astype(float)

    def served(o: np.ndarray) -> np.ndarray:
        return np.asarray(expit(1.4 * o) if form == "logistic" else expit(o) ** 2)

    score, now = served(odds), served(later)
    calibration = fit_calibration(score, label) if form == "logistic" else chosen_calibration(score, label, None, 0)
    window = ConfidenceBasedEstimator(calibration, score, THRESHOLD).window(now, int(rng.integers(2**31)))
    for metric in METRIC_NAMES["binary"]:
        found = window.estimate(metric)
        yield metric, found.low - 1e-12 <= expected(metric, shown, now, THRESHOLD).value <= found.high + 1e-12


def multiclass(n: int, rng: np.random.Generator) -> Pair:
    """Three inputs rise by half a standard deviation; the model is overconfident and leans to its first class."""
    (score, code), (now, later) = _classes(REFERENCE, 0.0, rng), _classes(n, 0.5, rng)
    calibration = fit_classes(score, code)
    for metric in METRIC_NAMES["multiclass"]:
        found = estimate_classes(metric, calibration, score, now)
        yield metric, found.low <= expected_classes(metric, np.eye(3)[later], now).value <= found.high


def _classes(n: int, rise: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(rise, 1, (n, 3))
    z = np.column_stack([x[:, 0] + 0.5, x[:, 1], -0.5 * x[:, 2] - 0.5])
    p, q = np.exp(z), np.exp(1.4 * z + np.array([0.2, 0, 0]))
    code = ((p / p.sum(axis=1, keepdims=True)).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return q / q.sum(axis=1, keepdims=True), np.minimum(code, 2)


def _numbers(n: int, b: float, skewness: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encoded rows, scores and labels; errors grow with the first input and lean with the second, and are normal or
    from a gamma distribution."""
    x = rng.beta(2, b, (n, 2))
    score = 2 * x[:, 0] + x[:, 1]
    noise = (rng.gamma(4 / skewness**2, skewness / 2, n) - 2 / skewness) if skewness else rng.normal(size=n)
    return np.column_stack([x, score]), score, score + noise * (0.3 + 0.7 * x[:, 0]) + 0.2 * (x[:, 1] - 0.5)


def regression(sizes: tuple[int, ...], skewness: float, references: int, seed: int) -> list[Count]:
    """Inputs move up by half a standard deviation; the reference is weighted by the density ratio to 4,000 rows.

    Every reference is a new one, with a fit and weights of its own, and has one window of each size: so a coverage is
    that of the whole procedure, and its runs are independent.
    """
    rng, held = np.random.default_rng(seed), Counter[tuple[int, str]]()
    for run in range(references):
        x, score, label = _numbers(REFERENCE, 3, skewness, rng)
        model = fit_losses(x, score, label, np.arange(REFERENCE), run)
        taken = np.arange(4000)
        names = ["first", "second", "score"]
        lines = model.lines(taken, overlap_of(names, x[taken], _numbers(4000, 2, skewness, rng)[0], taken, run).weight)
        then = Moments.of(lines, model.answers, model.score)
        for n in sizes:
            rows, now, shown = _numbers(n, 2, skewness, rng)
            moments = Moments.of(lines, model.says(rows), now)
            for metric in METRIC_NAMES["regression"]:
                found = estimate_loss(metric, lines, moments, now, then, score)
                held[n, metric] += found.low <= errors_of(metric, shown, now).value <= found.high
    return [
        Count(f"{metric}, skewness {skewness:g}" if skewness else metric, n, held[n, metric], references, 0.95)
        for n in sizes
        for metric in METRIC_NAMES["regression"]
    ]


def fairness(n: int, rng: np.random.Generator) -> Pair:
    """Three groups of unequal size, in which the same score means different things; log-odds rise by 0.5."""
    groups, shown = [], []
    for name, share, lean in (("a", 0.6, 0.0), ("b", 0.3, -0.5), ("c", 0.1, 0.4)):
        before, after = rng.normal(-1, 1.2, int(REFERENCE * share)), rng.normal(-0.5, 1.2, int(n * share))
        found = fitted_group(name, expit(before), rng.random(len(before)) < expit(before + lean), expit(after))
        assert not isinstance(found, str)
        groups.append(found)
        shown.append((rng.random(len(after)) < expit(after + lean)).astype(float))
    for measure in MEASURES[1:]:
        found = estimated_disparity(groups, (measure,), "difference", THRESHOLD, int(rng.integers(2**31)))
        rates = np.array(
            [[expected(measure, y, g.window, THRESHOLD).value for y, g in zip(shown, groups, strict=True)]]
        )
        yield measure, bool(found.low - 1e-12 <= float(disparity(rates, "difference")) <= found.high + 1e-12)


def small_world() -> ModelConfig:
    config = load_model(ROOT, "care")
    return config.model_copy(update={"features": ("site", "xage", "income", "mhi", "ghindx")})


def people(n: int, rise: float, rng: np.random.Generator) -> pd.DataFrame:
    """Rows whose inputs hang together, a calibrated score, and labels that follow it."""
    base = rng.normal(rise, 1, n)
    frame = pd.DataFrame(
        {
            "site": rng.choice(list("abcdef"), n),
            "xage": 40 + 10 * base,
            "income": np.exp(base + rng.normal(0, 0.5, n)),
            "mhi": rng.normal(0, 1, n),
            "ghindx": base + rng.normal(0, 0.5, n),
        }
    )
    return scored(frame, rng)


def scored(frame: pd.DataFrame, rng: np.random.Generator, truth: pd.DataFrame | None = None) -> pd.DataFrame:
    """The model's score on the frame, and labels as its rows are in truth."""

    def score(rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(expit(0.8 * (rows["xage"] - 45) / 10 + 0.6 * rows["ghindx"] + 0.3 * rows["mhi"] - 0.5))

    return frame.assign(
        _score=score(frame), _label=(rng.random(len(frame)) < score(frame if truth is None else truth)).astype(float)
    )


def _unlabelled(window: pd.DataFrame) -> pd.DataFrame:
    return window.assign(_label=np.nan)


def _damaged(n: int, rng: np.random.Generator, **columns: Any) -> pd.DataFrame:
    window = people(n, 0.0, rng)
    return _unlabelled(scored(window.assign(**columns), rng, window))


def _drifted(n: int, rng: np.random.Generator, share: float) -> pd.DataFrame:
    """Labels hardly follow the inputs any more; a share of them is known."""
    window = people(n, 0.0, rng)
    drifted = expit(0.3 * np.log(window["_score"] / (1 - window["_score"])) + 0.3)
    return window.assign(_label=np.where(rng.random(n) < share, (rng.random(n) < drifted).astype(float), np.nan))


WORLDS: dict[str, tuple[Callable[[int, np.random.Generator], pd.DataFrame], bool]] = {
    "nothing changed, no labels": (lambda n, rng: _unlabelled(people(n, 0.0, rng)), False),
    "nothing changed, all labelled": (lambda n, rng: people(n, 0.0, rng), False),
    "inputs up by half a standard deviation": (lambda n, rng: _unlabelled(people(n, 0.5, rng)), False),
    "inputs up by half a standard deviation, all labelled": (lambda n, rng: people(n, 0.5, rng), False),
    "a column stuck at its mean, within its range": (lambda n, rng: _damaged(n, rng, xage=40.0), True),
    "a column in another unit": (lambda n, rng: _damaged(n, rng, xage=lambda f: f["xage"] * 12), True),
    "a column missing": (lambda n, rng: _damaged(n, rng, ghindx=np.nan), True),
    "an unseen category in every row": (lambda n, rng: _damaged(n, rng, site="new"), True),
    "concept drift, a third labelled": (lambda n, rng: _drifted(n, rng, 1 / 3), True),
}


def abstention(case: str, n: int, runs: int, seed: int) -> list[Count]:
    """How often the score is not believed; the column in which a broken world broke must then be named."""
    rng, make = np.random.default_rng(seed), WORLDS[case][0]
    abstained, config = 0, small_world()
    for _ in range(runs):
        choice = choose_estimator(config, people(3000, 0.0, rng), make(n, rng), {}, int(rng.integers(2**31)))
        abstained += not choice.score_believed
    return [Count(case, n, abstained, runs, 0.9 if WORLDS[case][1] else 0.05)]


def _study(title: str, says: str, jobs: list[Callable[[int], list[Count]]]) -> Study:
    def rows() -> list[dict[str, Any]]:
        return [
            {
                "case": c.case,
                "rows": c.rows,
                "should be": f"about {c.nominal:.0%}",
                "was": f"{c.rate:.1%}",
                "standard error": f"{c.error:.1%}",
                "runs": c.runs,
            }
            for i, job in enumerate(jobs)
            for c in job(SEED + i)
        ]

    return Study(title, says, rows)


def _abstentions() -> list[dict[str, Any]]:
    """With the limits of Clopper & Pearson (1934): a rate of 0 or 1 has no standard error to speak of."""
    found = []
    for i, (case, (_, broken)) in enumerate(WORLDS.items()):
        (c,) = abstention(case, 1000, BROKEN_RUNS if broken else SOUND_RUNS, SEED + i)
        within = binomtest(c.happened, c.runs).proportion_ci()
        found.append(
            {
                "case": case,
                "rows": c.rows,
                "should be": "at least 90 %" if broken else "at most 5 %",
                "was": f"{c.rate:.1%}",
                "95 % limits": f"{within.low:.1%} to {within.high:.1%}",
                "runs": c.runs,
            }
        )
    return found


def _cover(each: Callable[..., Pair], runs: dict[int, int], *more: Any) -> list[Callable[[int], list[Count]]]:
    return [partial(counted, count, n, 0.95, partial(each, n, *more)) for n, count in runs.items()]


STUDIES = (
    _study(
        "Binary metrics: labels fall into the interval",
        "An overconfident model (log-odds 1.4 times too far out), a reference of 5,000 labelled rows, a window "
        "whose log-odds rose by 1 (covariate shift), P(label | inputs) as before, threshold 0.3.",
        _cover(binary, {200: 500, 1000: 1000, 10_000: 500}, "logistic"),
    ),
    _study(
        "Binary metrics, a score that no logistic fit mends",
        "The score is the square of the true probability; logistic, beta or isotonic recalibration is chosen by "
        "cross-validation on the reference. Otherwise as above.",
        _cover(binary, {1000: 1000, 10_000: 500}, "square"),
    ),
    _study(
        "Multiclass metrics: labels fall into the interval",
        "Three classes, an overconfident and leaning model, 5,000 reference rows, three inputs up by half a "
        "standard deviation.",
        _cover(multiclass, {200: 1000, 1000: 500, 10_000: 300}),
    ),
    _study(
        "Regression metrics: labels fall into the interval",
        "Direct loss estimation, errors that grow with one input, 5,000 reference rows weighted by the estimated "
        "density ratio, inputs up by half a standard deviation. "
        "Each run has a reference, a fit and weights of its own.",
        [partial(regression, (200, 1000, 10_000), 0.0, 400)],
    ),
    _study(
        "Regression metrics, skewed errors",
        "The same with errors from a gamma distribution, where error and squared error hang together. The more "
        "skewed they are, the fewer reference rows decide on the squared ones, and the larger the share of the fit "
        "in the interval: at 10,000 rows, rmse and r2 miss where errors are exponential.",
        [partial(regression, (1000, 10_000), skewness, 150) for skewness in (1.0, 2.0)],
    ),
    _study(
        "Fairness without labels: the largest difference falls into the interval",
        "Three groups (60, 30, 10 % of the rows) in which a score means different things, log-odds up by 0.5.",
        _cover(fairness, {1000: 1000, 10_000: 300}),
    ),
    Study(
        "Abstention",
        "How often the score is not believed. Five inputs of which three hang together; 3,000 reference rows; one "
        "tested change at a time.",
        _abstentions,
    ),
)
