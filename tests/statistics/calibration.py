"""Coverage of the calibration estimators by simulation. Run as a script to print the table.

Scores are uniform in log-odds and the truth is a Cox recalibration of them, so the true slope, intercept and binned
error are known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from tasks.science.stats.calibration import calibration_error, intercept, slope
from tests.statistics.studies import Study

CONFIDENCE, BINS = 0.95, 10
SLOPES = {"calibrated": (0.0, 1.0), "too extreme": (0.0, 0.7), "too low": (0.5, 1.0)}


def draw(n: int, shift: float, steep: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) labels and scores whose true log-odds are ``shift + steep * log-odds of the score``."""
    rng = np.random.default_rng(seed)
    odds = rng.uniform(-3, 1.5, n)
    return rng.random(n) < expit(shift + steep * odds), expit(odds)


def truth(shift: float, steep: float) -> tuple[float, float]:
    """The true error over ten equal bins, and the true calibration in the large, by integration over a fine grid."""
    odds = np.linspace(-3, 1.5, 200_001)
    gaps = (expit(shift + steep * odds) - expit(odds))[:200_000].reshape(BINS, -1).mean(axis=1)
    large, rate = 0.0, expit(shift + steep * odds).mean()
    for _ in range(50):
        score = expit(large + odds)
        large += (rate - score.mean()) / (score * (1 - score)).mean()
    return float(np.sqrt((gaps**2).mean())), float(large)


def rows(replications: int = 1000, sizes: tuple[int, ...] = (400, 2000)) -> list[dict[str, Any]]:
    """For each truth, size and estimator: how often each one-sided bound at 95 % holds, and the mean estimate."""
    table = []
    for name, (shift, steep) in SLOPES.items():
        error, large = truth(shift, steep)
        for n in sizes:
            found: dict[str, list[Any]] = {"slope": [], "intercept": [], "error": []}
            for seed in range(replications):
                label, score = draw(n, shift, steep, seed)
                found["slope"].append(slope(label, score, CONFIDENCE))
                found["intercept"].append(intercept(label, score, CONFIDENCE))
                found["error"].append(calibration_error(label, score, BINS, CONFIDENCE, seed))
            for what, true in (("slope", steep), ("intercept", large), ("error", error)):
                low = np.mean([i.low <= true + 1e-12 for i in found[what]])
                high = np.mean([i.high >= true for i in found[what]])
                mean = np.mean([i.value for i in found[what]])
                square = np.mean([i.value**2 for i in found[what]])
                table.append(
                    {
                        "truth": name,
                        "rows": n,
                        "estimator": what,
                        "true": true,
                        "mean": mean,
                        "mean_square": square,
                        "low_holds": low,
                        "high_holds": high,
                    }
                )
    return table


STUDIES = (
    Study("Calibration estimators", "How often each one-sided 95 % bound holds the truth, 1,000 runs each.", rows),
)
