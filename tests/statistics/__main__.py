"""``make simulate``: play every case in full and write docs/evidence.md."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.science.metrics import METRICS
from tests.statistics import calibration, expert_rules, fairness, leakage, slices
from tests.statistics import simulations as s

EVIDENCE = Path(__file__).resolve().parents[2] / "docs/evidence.md"
SEED = 20261125
PROCESSES = 2


@dataclass(frozen=True)
class Section:
    title: str
    says: str
    should: str
    jobs: list[tuple[Callable[..., list[s.Count]], tuple[Any, ...]]]


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


SECTIONS = (
    Section(
        "False alarms of a window",
        "Windows from the reference's own distribution, labelled, against a reference of 5,000 rows drawn anew each time, with the care model's inputs, "
        "two metrics and `monitoring.alpha` of 1 %. *any alarm*: any finding at all; *retraining*: the decision with labels at hand.",
        "at most",
        [(s.false_alarms, (n, runs)) for n, runs in ((200, 150), (500, 150), (2000, 100), (20_000, 30))],
    ),
    Section(
        "The test of one column without change",
        "At 1 %, against a reference of 5,000 rows. Kolmogorov-Smirnov is conservative where most values are equal.",
        "at most",
        [(s.drift_level, (case, n, 600)) for case in ("30 categories, long tail", "52 categories, flat", "mostly zeros") for n in (200, 2000)],
    ),
    Section(
        "Power",
        "How often a change of a stated size is seen in one window, labelled, at the same `monitoring.alpha`.",
        "",
        [(s.power, (change, kinds, case, n, 25)) for change, kinds, case in SHIFTS for n in (200, 500, 2000)],
    ),
    Section(
        "Labels fall into the estimate's interval",
        "An overconfident model (log-odds 1.4 times too far out), a reference of 5,000 labelled rows, a window whose log-odds rose by 1, and P(label | inputs) "
        "as before. Where that does not hold, no interval made without labels can cover.",
        "about",
        [(s.coverage, (metric, n, runs)) for metric in ("roc_auc", "log_loss", "brier", "accuracy") for n, runs in ((200, 150), (1000, 150), (10_000, 40))],
    ),
    Section(
        "Non-inferiority: false passes at the margin",
        "The challenger is worse than the champion by exactly the margin; 95 % confidence. Average precision is resampled, so its largest case has few runs.",
        "about",
        [(s.non_inferiority, (m, n, runs)) for m in METRICS for n, runs in _runs(m)],
    ),
    Section(
        "Fairness bounds",
        "The end of the two-sided 95 % interval that a gate asks for. The extreme of several noisy groups is biased away from parity, so this end errs to the strict side.",
        "at least",
        [(s.fairness, (statistic, case, 600)) for statistic in ("difference", "ratio") for case in s.FAIRNESS],
    ),
)


@dataclass(frozen=True)
class Study:
    """What one table shows, and the function that measures its rows."""

    title: str
    says: str
    rows: Callable[[], list[dict[str, Any]]]


def _wrong_models() -> list[dict[str, Any]]:
    """One row a kind of wrong model, all seeds together, and the two totals."""
    found = expert_rules.rows()
    close = [r for r in found if r["kind"] == "wrong" and r["loss"] <= 1]
    good = [r for r in found if r["kind"] == "good"]
    told: list[dict[str, Any]] = []
    for name in dict.fromkeys(r["model"] for r in close):
        mine = [r for r in close if r["model"] == name]
        told.append({"model": name, "AUC points lost": max(r["loss"] for r in mine), "models": len(mine), "stopped": sum(r["stopped"] for r in mine)})
    told.append({"model": "**all wrong ones within one point**", "AUC points lost": None, "models": len(close), "stopped": sum(r["stopped"] for r in close)})
    told.append({"model": "**good ones**", "AUC points lost": 0.0, "models": sum(r["models"] for r in good), "stopped": sum(r["stopped"] for r in good)})
    return told


STUDIES = (
    Study(
        "The fairness gate",
        "Two-sided 95 % intervals, simultaneous over groups and measures; then planted intersections and unbiased data through the whole gate.",
        fairness.rows,
    ),
    Study("The leakage gate", "Leaks planted into clean rows, named by the gate; clean rows accused.", leakage.rows),
    Study("The slices gate", "Weak slices planted in rows of a known truth and confirmed, overlapping by half or more; worlds without any.", slices.rows),
    Study(
        "Expert rules against models made wrong on purpose",
        "One rules file for all, written beforehand. A model counts where it loses at most one AUC point on 40,000 fresh rows.",
        _wrong_models,
    ),
    Study("Calibration estimators", "How often each one-sided 95 % bound holds the truth, 1,000 runs each.", calibration.rows),
)


def study(chosen: Study, rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"## {chosen.title}\n", f"{chosen.says}\n", "| " + " | ".join(n.replace("_", " ") for n in names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value).replace("_", " ")


def table(section: Section, counts: list[s.Count]) -> str:
    lines = [f"## {section.title}\n", f"{section.says}\n", "| Case | Rows | Should be | Was | Standard error | Runs |", "|---|---:|---:|---:|---:|---:|"]
    for c in counts:
        should = "" if c.nominal is None else f"{section.should} {c.nominal:.1%}"
        lines.append(f"| {c.case} | {c.rows:,} | {should} | {c.rate:.1%} | {c.error:.1%} | {c.runs:,} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    head = (
        "# Evidence: what the statistics do\n\n"
        "Simulated error rates of the tests, intervals and decisions in `tasks/science`. Made by `make simulate`\n"
        f"(`python -m tests.statistics`, seed {SEED}), which prints and writes this page; a smaller version of every case runs in `make test`.\n"
    )
    parts = [head]
    with ProcessPoolExecutor(PROCESSES) as pool:
        queued: list[list[Future[list[s.Count]]]] = [
            [pool.submit(job, *arguments, SEED + i) for i, (job, arguments) in enumerate(section.jobs)] for section in SECTIONS
        ]
        for section, futures in zip(SECTIONS, queued, strict=True):
            parts.append(table(section, [count for future in futures for count in future.result()]))
            print(parts[-1], flush=True)
    for chosen in STUDIES:
        parts.append(study(chosen, chosen.rows()))
        print(parts[-1], flush=True)
    EVIDENCE.write_text("\n".join(parts))
    print(f"Written to {EVIDENCE.relative_to(EVIDENCE.parents[1])}.")


if __name__ == "__main__":
    main()
