"""The gates on data expectations and on benchmarks: absolute floors, and the champion on the same rows.

Two errors are each held at 1 - confidence over all floors and comparisons of an examination.

Passing wrongly: each gate has to pass, so together they are one intersection-union test (Berger 1982). The chance that
a candidate which is unfit by any of them passes all needs no correction for their number.

Failing wrongly: a failure claims that a limit is missed, and of several claims one errs more easily. Their p-values are
adjusted by Holm (1979). What neither passes nor fails is insufficient evidence.
``tests/statistics/non_inferiority.py`` measures both error rates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.science.examination.benchmarks import BenchmarkFault, benchmark_rows
from tasks.science.examination.examination import Examination
from tasks.science.examination.targets import few_entities, wrong_scores
from tasks.science.examination.verdicts import judge_with_refutation, result
from tasks.science.stats.clusters import entities
from tasks.science.stats.comparison import MetricEstimate, metric_estimate, paired_estimate
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.intervals import normal_quantile
from tasks.science.stats.metrics import METRICS, NEED_CLASSES
from tasks.science.stats.multiplicity import holm
from tasks.science.stats.validity import label_fault
from tasks.spec.evidence import GateResult, Measurement
from tasks.spec.gates import ComparisonGate, DataGate, FloorGate

FAMILY = (
    "fails by Holm 1979 over all {number} floors and comparisons, passes as an intersection-union test (Berger 1982)"
)


@dataclass(frozen=True)
class Answer:
    """The answer of a benchmark's rows to one gate."""

    estimate: MetricEstimate
    limit: float
    rows: int
    counted: str
    """Rows and entities in words."""
    entities: int | None
    same: bool = False
    """Challenger and champion give every row the same score."""


def scarce(kind: str, metric: str, label: np.ndarray, where: str, classes: tuple[str, ...] = ()) -> str:
    """Why so few rows tell nothing about the metric, in words; empty where there are enough."""
    if kind == "binary":
        few = min(int(label.sum()), int((~label).sum()))
        return (
            f"the smaller class of {where} has {few} of {len(label)} rows; at least {MINIMUM} are needed"
            if few < MINIMUM
            else ""
        )
    if kind == "multiclass" and metric in NEED_CLASSES:
        counts = np.bincount(label, minlength=len(classes))
        name, few = classes[int(counts.argmin())], int(counts.min())
        return (
            f"class {name} of {where} has {few} of {len(label)} rows; at least {MINIMUM} are needed"
            if few < MINIMUM
            else ""
        )
    if metric == "r2" and len(label) and np.ptp(label) == 0:
        return f"all {len(label)} labels of {where} are {label[0]:g}; where nothing varies, R² has no value"
    return f"{where} has {len(label)} rows; at least {MINIMUM} are needed" if len(label) < MINIMUM else ""


def data(config: DataGate, examination: Examination) -> GateResult:
    """The expectations that were checked on the data."""
    checked = examination.data_check
    if checked is None:
        return result(config, "fail", "the data were not checked, and this gate is there to see that they are")
    return checked.model_copy(update={"gate": config.name, "mandatory": config.mandatory})


def floor(config: FloorGate, examination: Examination) -> GateResult:
    """The metric against an absolute limit."""
    found = _answer(config, examination)
    if isinstance(found, GateResult):
        return found
    side = "at least" if METRICS[config.metric].greater_is_better else "at most"
    return _judge_answer(
        config,
        examination,
        found,
        f"{config.metric} is {{0:.4f}} ({{1:.4f}} to {{2:.4f}}) on {found.counted}; {side} {config.limit:g} is asked",
    )


def comparison(config: ComparisonGate, examination: Examination) -> GateResult:
    """Non-inferiority to the champion on the same rows."""
    found = _answer(config, examination)
    if isinstance(found, GateResult):
        return found
    sentence = (
        f"{config.metric} moves by {{0:+.4f}} ({{1:+.4f}} to {{2:+.4f}}) on {found.counted}; worse by "
        f"{config.margin:g} is tolerated"
    )
    return _judge_answer(config, examination, found, sentence)


def _answer(config: FloorGate | ComparisonGate, examination: Examination) -> Answer | GateResult:
    """Computed once for a question, whichever gate of the examination asks."""
    question = config.model_dump_json(exclude={"name", "mandatory", "confidence"})
    found = examination.cached(("benchmark", question), lambda: _computed(config, examination))
    return found if isinstance(found, Answer) else result(config, found[0], found[1])


def _computed(config: FloorGate | ComparisonGate, examination: Examination) -> Answer | tuple[Any, str]:
    """The answer, or the state and reason of a gate that has none."""
    metric, kind, classes = config.metric, examination.kind, examination.classes
    try:
        mask = benchmark_rows(_newest(config.benchmark, examination), examination)
    except BenchmarkFault as fault:
        return "fail", str(fault)
    label, score = examination.label[mask], examination.score[mask]
    champion = (
        examination.champion_score[mask]
        if isinstance(config, ComparisonGate) and examination.champion_score is not None
        else None
    )
    wrong = (
        label_fault(kind, label, len(classes))
        or wrong_scores(examination, score)
        or ("" if champion is None else wrong_scores(examination, champion))
    )
    if wrong:
        return "fail", f"on {config.benchmark}, {wrong}"
    few = scarce(kind, metric, label, config.benchmark, classes) or few_entities(
        examination, mask, kind == "binary" or metric in NEED_CLASSES, config.benchmark
    )
    if few:
        return "insufficient_evidence", few
    threshold, seed = examination.decision_threshold, examination.seed
    better, owners = METRICS[metric].greater_is_better, None if examination.owners is None else examination.owners[mask]
    counted = len(label), examination.counted(len(label), owners), entities(owners)
    if isinstance(config, FloorGate):
        found = Answer(metric_estimate(metric, label, score, threshold, seed, owners), config.limit, *counted)
    elif champion is None:
        return "pass", "there is no champion to compare with yet; the floors carry this release"
    else:
        estimate = paired_estimate(metric, label, score, champion, threshold, seed, owners)
        limit = -config.margin if better else config.margin
        found = Answer(estimate, limit, *counted, same=np.array_equal(score, champion))
    if not math.isfinite(found.estimate.value):
        return (
            "fail",
            f"{metric} has no value on {config.benchmark}: no row is selected"
            if metric == "precision"
            else f"{metric} has no value on {config.benchmark}",
        )
    return found


def _newest(benchmark: str, examination: Examination) -> str:
    """``newest`` is what was collected in production, where there is any."""
    if benchmark != "newest":
        return benchmark
    return "recent" if bool((examination.benchmark == "recent").any()) else "holdout"


def _refutations(examination: Examination) -> dict[str, float]:
    """One-sided p-value of every floor and comparison of the examination that has an answer, by its gate's name."""
    gates = examination.config.gates if examination.config is not None else ()
    found = {}
    for gate in gates:
        answer = _answer(gate, examination) if isinstance(gate, FloorGate | ComparisonGate) else None
        if isinstance(answer, Answer) and isinstance(gate, FloorGate | ComparisonGate):
            found[gate.name] = answer.estimate.refuted(answer.limit, METRICS[gate.metric].greater_is_better)
    return found


def _judge_answer(
    config: FloorGate | ComparisonGate, examination: Examination, found: Answer, sentence: str
) -> GateResult:
    """A pass needs an interval: where every row agrees it has no width, and says nothing about the next row.

    Args:
        sentence: with places for value, low and high.
    """
    better, chance, limit = METRICS[config.metric].greater_is_better, 1 - config.confidence, found.limit
    family = dict(examination.cached("refutations of benchmarks", lambda: _refutations(examination)))
    family[config.name] = found.estimate.refuted(limit, better)
    refuted = dict(zip(family, holm(list(family.values())), strict=True))[config.name]
    interval = found.estimate.interval(config.confidence)
    state = judge_with_refutation(
        interval.value, interval.low if better else interval.high, limit, better, refuted, chance
    )
    reason, remedy = sentence.format(interval.value, interval.low, interval.high), ""
    if state == "pass" and not found.same and chance < found.estimate.least:
        state, reason = (
            "insufficient_evidence",
            f"{reason}; its method tells no error below {found.estimate.least:.2g}, and {chance:.2g} is asked",
        )
    elif (
        state == "pass" and not interval.low < interval.high and not found.same
    ):  # the same answers are equal by identity, with nothing to estimate
        state, reason = (
            "insufficient_evidence",
            f"{reason}; all {found.rows:,} rows agree, so there is no interval to judge by",
        )
    elif state == "insufficient_evidence" and refuted < 1:
        reason += f"; that it is missed is not proven (p {refuted:.2g}, adjusted over {len(family)} gates)"
        remedy = _more(found, interval.low, interval.high, len(family), config.confidence)
    bounds = [x if math.isfinite(x) else None for x in (interval.low, interval.high)]
    measured = Measurement(
        label=f"{config.metric} on {config.benchmark}"
        if isinstance(config, FloorGate)
        else f"{config.metric}, challenger minus champion, on {config.benchmark}",
        quantity=config.metric,
        value=interval.value,
        low=bounds[0],
        high=bounds[1],
        limit=limit,
        rows=found.rows,
        entities=found.entities,
        state=state,
    )
    return result(
        config, state, reason, (measured,), f"{interval.method}; {FAMILY.format(number=len(family))}"
    ).model_copy(update={"remedy": remedy})


def _more(found: Answer, low: float, high: float, gates: int, confidence: float) -> str:
    """About how many rows would prove that a limit is missed, if the estimate stays where it is.

    The half width of the interval, adjusted for so many gates, has to come down to the gap.
    """
    gap = abs(found.estimate.value - found.limit)
    half = (high - found.estimate.value if found.limit > found.estimate.value else found.estimate.value - low) * float(
        normal_quantile(1 - (1 - confidence) / gates) / normal_quantile(confidence)
    )
    if not gap > 0 or not math.isfinite(half) or half <= gap:
        return ""
    return (
        f"about {math.ceil(found.rows * (half / gap) ** 2 / 10) * 10:,} rows instead of {found.rows:,} would decide, "
        "if the estimate stays where it is"
    )
