"""What the labels of a few rows show of a whole window, where the model is right and where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from tasks.science.monitors.performance.expected_metrics import losses
from tasks.science.stats.label_sample import LOOKS, boundary, draw_sample, sampled_mean
from tests.statistics.studies import Study

SEED, SAMPLES, WINDOWS, ASKED, CONFIDENCE = 20261201, 1000, 5, 100, 0.95
SIZES = (500, 2000)


@dataclass(frozen=True)
class Played:
    """A window: ``loss`` (n,) of the true labels, ``expected`` and ``spread`` by the model, ``noise`` the standard
    deviation of the loss by the truth."""

    loss: np.ndarray
    expected: np.ndarray
    spread: np.ndarray
    noise: np.ndarray


TRUTHS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "as the score says": lambda z, rng: z,
    "more often true": lambda z, rng: z + 1.5,
    "the other way round": lambda z, rng: -z,
    "hardly by the score": lambda z, rng: 0.3 * z - 1,
    "more surely": lambda z, rng: 1.8 * z,
    "by what the score lacks": lambda z, rng: z + rng.normal(0, 1.5, len(z)),
}
"""Binary worlds: log-odds of the truth by those of the score."""
ERRORS: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "as the reference says": lambda x, s, rng: rng.normal(0, s),
    "with heavy tails": lambda x, s, rng: 0.6 * s * rng.standard_t(3, len(s)),
    "with a bias": lambda x, s, rng: 1 + rng.normal(0, s),
    "twice as large for some": lambda x, s, rng: rng.normal(0, s * np.where(x > 0, 2, 0.7)),
}
"""Worlds of numbers: errors by one input and by their usual size."""


def binary(name: str, n: int, rng: np.random.Generator) -> Played:
    z = rng.normal(-2, 1.5, n)
    score = np.clip(expit(z), 1e-6, 1 - 1e-6)
    truth = expit(TRUTHS[name](z, rng))
    if_false, if_true = losses("log_loss", score)
    gain = if_true - if_false
    loss = if_false + gain * (rng.random(n) < truth)
    spread = np.abs(gain) * np.sqrt(score * (1 - score))
    return Played(loss, if_false + score * gain, spread, np.abs(gain) * np.sqrt(truth * (1 - truth)))


def numbers(name: str, n: int, rng: np.random.Generator) -> Played:
    x = rng.normal(0, 1, n)
    usual = 0.6 * np.exp(0.4 * x)
    drawn = np.stack([np.abs(ERRORS[name](x, usual, rng)) for _ in range(400)])
    return Played(np.abs(ERRORS[name](x, usual, rng)), 0.8 * usual, 0.6 * usual, drawn.std(axis=0))


def coverage(world: Callable[[str, int, np.random.Generator], Played], name: str, n: int, samples: int,
             windows: int = WINDOWS) -> dict[str, Any]:  # fmt: skip
    """Redrawn samples of fixed windows: how often the interval holds, and its width by two that one can compare with.

    The bound is what label noise leaves with the best chances and a perfect expectation (Godambe & Joshi 1965). The
    fixed-sample interval is what the last look alone would have, were there no looks before it.
    """
    rng, last, always, widths = np.random.default_rng([SEED, n, len(name)]), 0, 0, []
    for _ in range(windows):
        played = world(name, n, rng)
        truth, known = float(played.loss.mean()), float(played.expected.mean())
        bound = norm.isf((1 - CONFIDENCE) / 2) * np.sqrt(
            max(played.noise.sum() ** 2 / ASKED - (played.noise**2).sum(), 0.0)
        ) / n  # fmt: skip
        for _ in range(samples // windows):
            sample = draw_sample(played.spread, ASKED, rng)
            gap, spread = (played.loss - played.expected)[sample.position], played.spread[sample.position]
            found = [sampled_mean(sample, gap, gap, spread, n, known, CONFIDENCE, r) for r in sample.looks]
            inside = [f is not None and f.low <= truth <= f.high for f in found]
            last, always = last + inside[-1], always + all(inside)
            end = found[-1]
            widths.append((end.high - end.low) / 2 / bound if end is not None else np.inf)
    count = samples // windows * windows
    return {
        "the label comes": name,
        "rows": n,
        "holds at the last look": last / count,
        "holds at every look": always / count,
        "width by the bound": float(np.mean(widths)),
    }


def width_of_looking() -> list[dict[str, Any]]:
    """What looking before the end costs: the last interval by one without looks before it."""
    fixed = float(norm.isf((1 - CONFIDENCE) / 2))
    return [
        {
            "looks": f"after {', '.join(f'{part:.0%}' for part in LOOKS)} of the rounds",
            "width of the last by a single look": boundary(len(LOOKS) + 1, CONFIDENCE) / fixed,
        }
    ]


def noise_share() -> list[dict[str, Any]]:
    """What even a perfect score leaves: standard deviation of the loss given the score, by that of the loss."""
    rng, found = np.random.default_rng(SEED), []
    for name in TRUTHS:
        played = binary(name, 200_000, rng)
        found.append({"the label comes": name, "left by label noise": float(
            np.sqrt((played.noise**2).mean()) / played.loss.std())})  # fmt: skip
    return found


STUDIES = (
    Study(
        "A model of two classes, log-loss",
        f"{ASKED} labels of a window, {SAMPLES:,} redrawn samples of {WINDOWS} windows each, intervals of "
        f"{CONFIDENCE:.0%}. Widths are by the least that label noise leaves to anybody who knows the true chances; "
        "where the truth left the score, nobody knows them.",
        lambda: [coverage(binary, name, n, SAMPLES) for name in TRUTHS for n in SIZES],
    ),
    Study(
        "Numbers, mean absolute error",
        "The same for errors whose usual size follows from an input, as wages' do.",
        lambda: [coverage(numbers, name, n, SAMPLES) for name in ERRORS for n in SIZES],
    ),
    Study("What looking early costs", "By the boundary of O'Brien and Fleming.", width_of_looking),
    Study(
        "What a perfect score leaves",
        "Why no expectation of the loss, however good, makes a binary loss sharp: asking the right rows does.",
        noise_share,
    ),
)
