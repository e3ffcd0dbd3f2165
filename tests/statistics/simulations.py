"""Error rates by simulation: each function plays one case many times and counts. Seeds are fixed, so the counts are too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from tasks.science.comparison import paired_difference
from tasks.science.decisions import Case, decide
from tasks.science.disparity import Sample, disparity_interval
from tasks.science.drift import shift
from tasks.science.estimation import estimate_with_interval
from tasks.science.metrics import METRICS
from tasks.science.monitoring import examine_window
from tasks.spec.model import ModelConfig, load_model

REFERENCE = 5000
TAIL = 1 / np.arange(1, 31) ** 2
TAIL /= TAIL.sum()
PLENTY = 10**6
"""Labelled rows, so that a retraining never waits."""


@dataclass(frozen=True)
class Count:
    """How often something happened in so many runs, and how often it should: at most, at least, or as often as possible."""

    case: str
    rows: int
    happened: int
    runs: int
    nominal: float | None = None

    @property
    def rate(self) -> float:
        return self.happened / self.runs

    @property
    def error(self) -> float:
        """Standard error of a rate that is as it should be; of the one that was seen where nothing says how it should be."""
        share = self.rate if self.nominal is None else self.nominal
        return float(np.sqrt(share * (1 - share) / self.runs))


def monitored() -> ModelConfig:
    """The care model's config with its default ``alpha`` of 1 %, judged by two metrics."""
    config = load_model(Path(__file__).resolve().parents[2], "care")
    limits = config.monitoring.model_copy(update={"metrics": {"log_loss": 0.15, "roc_auc": 0.1}})
    return config.model_copy(update={"monitoring": limits})


def traffic(config: ModelConfig, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rows with a category of a long tail, numbers of which most are zero, rare selection, and a calibrated score."""
    frame = pd.DataFrame({c.name: rng.choice(["0", "1"], n) if c.type == "category" else rng.normal(50, 10, n) for c in config.inputs})
    frame["site"] = rng.choice(np.arange(30).astype(str), n, p=TAIL)
    frame["mdeoff"] = np.where(rng.random(n) < 0.8, 0.0, rng.exponential(100, n))
    frame["xage"], frame["black"] = rng.uniform(0, 90, n), rng.choice([0.0, 1.0], n, p=[0.85, 0.15])
    frame["_score"] = rng.beta(1, 3, n)
    frame["_label"] = (rng.random(n) < frame["_score"]).astype(float)
    return frame


def unchanged(window: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return window


def category_shift(window: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A fifth of the rows comes from a site that the reference has not: a Jensen-Shannon distance of 0.33."""
    return window.assign(site=window["site"].where(rng.random(len(window)) > 0.2, "new"))


def covariate_shift(window: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Scores rise by 1 in log-odds and the labels with them: 39 % selected instead of 12 %."""
    score = expit(logit(window["_score"].clip(1e-9, 1 - 1e-9)) + 1)
    return window.assign(_score=score, _label=(rng.random(len(window)) < score).astype(float))


def concept_drift(window: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Scores as before, and labels that follow them only by 0.3 in log-odds: log-loss rises by 73 %."""
    truth = expit(0.3 * logit(window["_score"].clip(1e-9, 1 - 1e-9)))
    return window.assign(_label=(rng.random(len(window)) < truth).astype(float))


Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def windows(change: Change, n: int, runs: int, seed: int) -> Counter[str]:
    """How many of ``runs`` windows of ``n`` rows, each against a reference of its own, raised which kind of alarm."""
    config, rng, seen = monitored(), np.random.default_rng(seed), Counter[str]()
    importance = {f: 1 / len(config.features) for f in config.features}
    for _ in range(runs):
        window = change(traffic(config, n, rng), rng)
        findings = examine_window(config, traffic(config, REFERENCE, rng), window, importance, seed)
        seen.update({f.kind for f in findings if f.alarm})
        seen["any alarm"] += any(f.alarm for f in findings)
        seen["retraining"] += decide(Case(config, findings, labelled_rows=PLENTY)).action == "retrain"
    return seen


def false_alarms(n: int, runs: int, seed: int) -> list[Count]:
    seen, alpha = windows(unchanged, n, runs, seed), monitored().monitoring.alpha
    return [Count(case, n, seen[case], runs, alpha) for case in ("any alarm", "retraining")]


def power(change: Change, kinds: tuple[str, ...], case: str, n: int, runs: int, seed: int) -> list[Count]:
    seen = windows(change, n, runs, seed)
    return [Count(f"{case}: {kind.replace('_', ' ')}", n, seen[kind], runs) for kind in kinds]


def drift_level(case: str, n: int, runs: int, seed: int) -> list[Count]:
    """One column without change, tested at 1 %."""
    rng, rejected = np.random.default_rng(seed), 0
    flat = np.full(52, 1 / 52)

    def draw(size: int) -> pd.Series:
        if case == "mostly zeros":
            return pd.Series(np.where(rng.random(size) < 0.8, 0.0, rng.exponential(size=size)))
        shares = TAIL if case == "30 categories, long tail" else flat
        return pd.Series(rng.choice(len(shares), size, p=shares)).astype(str)

    for _ in range(runs):
        rejected += shift(draw(REFERENCE), draw(n), "x").p_value <= 0.01
    return [Count(case, n, rejected, runs, 0.01)]


def coverage(metric: str, n: int, runs: int, seed: int) -> list[Count]:
    """Labels that come later fall into the estimate's 95 % interval, scores having risen (covariate shift)."""
    rng, held = np.random.default_rng(seed), 0
    for _ in range(runs):
        odds, later = rng.normal(-2, 1.2, REFERENCE), rng.normal(-1, 1.2, n)
        # The model is overconfident: its log-odds are 1.4 times too far out.
        known, label = rng.random(REFERENCE) < expit(odds), rng.random(n) < expit(later)
        found = estimate_with_interval(metric, expit(1.4 * odds), known, expit(1.4 * later), 0.3, int(rng.integers(2**31)))
        held += found.low <= METRICS[metric].compute(label, expit(1.4 * later), 0.3) <= found.high
    return [Count(metric, n, held, runs, 0.95)]


def pair(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the scores of a challenger that is a little worse than its champion and correlated with it."""
    label, shared = rng.random(n) < 0.4, rng.normal(size=n)
    champion = 1.5 * (label - 0.5) + shared
    challenger = 1.2 * (label - 0.5) + 0.6 * shared + 0.8 * rng.normal(size=n)
    return label, expit(challenger), expit(champion)


def non_inferiority(metric: str, n: int, runs: int, seed: int) -> list[Count]:
    """The challenger is worse by just the margin, so a pass at 95 % is false."""
    rng = np.random.default_rng(seed)
    label, challenger, champion = pair(rng, 1_000_000)
    compute = METRICS[metric].compute
    margin = compute(label, challenger, 0.5) - compute(label, champion, 0.5)
    passed = 0
    for _ in range(runs):
        found = paired_difference(metric, *pair(rng, n), 0.5, 0.95, int(rng.integers(2**31)))
        passed += found.low >= margin if METRICS[metric].greater_is_better else found.high <= margin
    return [Count(metric, n, passed, runs, 0.05)]


FAIRNESS = {
    "two groups of 300": ((0.8, 0.65), (300, 300)),
    "1,000 and 60": ((0.8, 0.65), (1000, 60)),
    "four groups, three equal": ((0.8, 0.8, 0.8, 0.6), (800, 200, 60, 60)),
    "rare selection": ((0.1, 0.05), (400, 200)),
}


def fairness(statistic: str, case: str, runs: int, seed: int) -> list[Count]:
    """The bound that a gate asks for holds: upper of the difference, lower of the ratio."""
    rates, sizes = FAIRNESS[case]
    rng, held = np.random.default_rng(seed), 0
    truth = max(rates) - min(rates) if statistic == "difference" else min(rates) / max(rates)
    for _ in range(runs):
        drawn = Sample(np.array([rng.binomial(sizes, rates) / sizes]), np.array([sizes]))
        low, high = disparity_interval(drawn, statistic, 0.95, int(rng.integers(2**31)))
        held += high >= truth if statistic == "difference" else low <= truth
    return [Count(f"{statistic}, {case}", sum(sizes), held, runs, 0.95)]
