"""False alarms over time: how strict a window must be, given the windows before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import false_discovery_control

FALSE_SHARE = 0.1
"""Of the windows that raise an alarm of one kind, the share that may be false, over any stretch of time."""
WEALTH = 0.5
"""Share of it that is spent before the first alarm."""


def simes(p_values: Sequence[float]) -> float:
    """One p-value for "all of them are null" (Simes 1986); 1 without any."""
    return float(min(false_discovery_control(p_values))) if p_values else 1.0


def levels(alpha: Mapping[str, float], past: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The level of each kind in the next window.

    A level is never more than ``alpha``, the configured chance of a false alarm in one window. Over years of quiet
    windows, false alarms would pile up against a few true ones. The level is then as little as LORD++ allows (Ramdas,
    Yang, Wainwright & Jordan 2017). The false discovery rate over the windows stays at :data:`FALSE_SHARE`, if p-values
    of windows are independent. An alarm earns some of the level back.

    Args:
        alpha: by kind, its share of ``monitoring.alpha``.
        past: by window, oldest first, the p-value of each kind
            (:func:`tasks.science.monitors.drift.findings.window_p_values`), of one version; a kind that was not tested
            has none, or 1.
    """
    return {kind: level(most, [p.get(kind, 1.0) for p in past]) for kind, most in alpha.items()}


def level(alpha: float, past: Sequence[float]) -> float:
    """The level of the next window of one stream; see :func:`levels`. All that is kept of the past are its p-values."""
    gamma, current = _spending(len(past) + 1), alpha
    found: list[int] = []
    for now in range(len(past) + 1):
        gained = WEALTH * FALSE_SHARE * gamma[now]
        for nth, before in enumerate(found):
            gained += FALSE_SHARE * (1 - WEALTH if nth == 0 else 1) * gamma[now - before - 1]
        current = min(alpha, float(gained))
        if now < len(past) and past[now] <= current:
            found.append(now)
    return current


def _spending(windows: int) -> np.ndarray:
    """How the wealth is spread over the windows (Javanmard & Montanari 2018); the factor makes the infinite sum 1 at
    most.
    """
    t = np.arange(1, windows + 1)
    return np.asarray(0.0722 * np.log(np.maximum(t, 2)) / (t * np.exp(np.sqrt(np.log(t)))))


def discoveries(p_values: list[float], alpha: float) -> list[bool]:
    """Which p-values stand with the false discovery rate at ``alpha`` (Benjamini & Hochberg 1995)."""
    return [bool(p <= alpha) for p in false_discovery_control(p_values)] if p_values else []


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given (Holm 1979).

    Rejecting those up to a level is wrong anywhere among the true hypotheses with at most that probability.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def family_wise(p_values: list[float], alpha: float) -> list[bool]:
    """Which p-values stand with the chance of any false one at ``alpha``, by :func:`holm`."""
    return [p <= alpha for p in holm(p_values)]
