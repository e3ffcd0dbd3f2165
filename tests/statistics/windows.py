"""The watching of one window, end to end: false alarms, power, and what the parts do alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.science.metrics import METRICS
from tests.statistics import simulations as s
from tests.statistics.studies import Study

SEED = 20261125


def _section(title: str, says: str, should: str, jobs: list[tuple[Callable[..., list[s.Count]], tuple[Any, ...]]]) -> Study:
    def rows() -> list[dict[str, Any]]:
        counts = [count for i, (job, arguments) in enumerate(jobs) for count in job(*arguments, SEED + i)]
        return [
            {"case": c.case, "rows": c.rows, "should be": "" if c.nominal is None else f"{should} {c.nominal:.1%}", "was": f"{c.rate:.1%}", "standard error": f"{c.error:.1%}", "runs": c.runs}
            for c in counts
        ]

    return Study(title, says, rows)


SHIFTS = (
    (s.category_shift, ("data_drift",), "a fifth of the rows from a new category (distance 0.33)"),
    (
        s.covariate_shift,
        ("prediction_drift", "selection_rate", "estimated_performance", "retraining"),
        "scores up by 1 in log-odds, 39 % selected instead of 12 %, expected log-loss up by 19 % (15 % tolerated)",
    ),
    (s.concept_drift, ("realized_performance",), "labels that hardly follow the scores, log-loss up by 73 %"),
)


def _runs(metric: str) -> tuple[tuple[int, int], ...]:
    """Rows and runs of one metric; what is resampled costs more."""
    if metric == "average_precision":
        return (200, 200), (1000, 100), (10_000, 10)
    return (200, 300), (1000, 200), (10_000, 40 if metric == "balanced_accuracy" else 100)


STUDIES = (
    _section(
        "False alarms of a window",
        "Windows from the reference's own distribution, labelled, against a reference of 5,000 rows drawn anew each time, with the care model's inputs, "
        "two metrics and `monitoring.alpha` of 1 %. *any alarm*: any finding at all; *retraining*: the decision with labels at hand.",
        "at most",
        [(s.false_alarms, (n, runs)) for n, runs in ((200, 150), (500, 150), (2000, 100), (20_000, 30))],
    ),
    _section(
        "The test of one column without change",
        "At 1 %, against a reference of 5,000 rows. Kolmogorov-Smirnov is conservative where most values are equal.",
        "at most",
        [(s.drift_level, (case, n, 600)) for case in ("30 categories, long tail", "52 categories, flat", "mostly zeros") for n in (200, 2000)],
    ),
    _section(
        "Power",
        "How often a change of a stated size is seen in one window, labelled, at the same `monitoring.alpha`.",
        "",
        [(s.power, (change, kinds, case, n, 25)) for change, kinds, case in SHIFTS for n in (200, 500, 2000)],
    ),
    _section(
        "Labels fall into the estimate's interval",
        "An overconfident model (log-odds 1.4 times too far out), a reference of 5,000 labelled rows, a window whose log-odds rose by 1, and P(label | inputs) "
        "as before. Where that does not hold, no interval made without labels can cover.",
        "about",
        [(s.coverage, (metric, n, runs)) for metric in ("roc_auc", "log_loss", "brier", "accuracy") for n, runs in ((200, 150), (1000, 150), (10_000, 40))],
    ),
    _section(
        "Non-inferiority: false passes at the margin",
        "The challenger is worse than the champion by exactly the margin; 95 % confidence. Average precision is resampled, so its largest case has few runs.",
        "about",
        [(s.non_inferiority, (m, n, runs)) for m in METRICS for n, runs in _runs(m)],
    ),
    _section(
        "Fairness bounds",
        "The end of the two-sided 95 % interval that a gate asks for. The extreme of several noisy groups is biased away from parity, so this end errs to the strict side.",
        "at least",
        [(s.fairness, (statistic, case, 600)) for statistic in ("difference", "ratio") for case in s.FAIRNESS],
    ),
)
