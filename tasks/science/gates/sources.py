"""Whether rows from production may teach without a person: what their labels say by who gave them.

Labels are the one thing in a retraining that nobody has examined: whoever may report outcomes can move what the next
version answers. So each source of labels is held against the others. On like rows its labels have to agree with
theirs. And the candidate has to be as good by *their* labels as one that was trained without it, over all rows and
where the two differ most. Where one source alone moves answers, nobody could contradict it.

The limits are of a standard size, not of a model: half of what a reader would call a small effect. Missing evidence
never passes. ``tests/statistics/poisoning.py`` measures what is caught and what is held up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.science.examination.verdicts import combine_states
from tasks.science.stats.comparison import paired_estimate, row_losses
from tasks.science.stats.dependence import METHOD, Dependence, dependence
from tasks.science.stats.intervals import wilson_share
from tasks.spec.evidence import GateResult, Measurement, State
from tasks.spec.metrics import MetricName, TargetKind
from tasks.spec.watching import Labels
from tasks.spec.wording import plural

NAME, KIND = "label-sources", "sources"
CONFIDENCE = 0.95
DISAGREE, LEVEL = 0.15, 0.01
"""Difference of labels on like rows, in standard deviations, that is tolerated; chance that sources which agree are
said to differ, over all of a candidate's sources."""
WORSE, WORSE_WHERE_MOVED = 0.03, 0.1
"""Relative loss that is tolerated against the candidate without a source, by the labels of others."""
MOVED_SHARE, MOVED, MOVED_SPREAD = 0.1, 0.1, 0.5
"""Share of rows where answers differ most. A score that is 0.1 from the other is moved; of numbers, half a standard
deviation of the labels."""
ALONE = 0.05
"""Share of rows by which a source may move more answers among its own rows than among those of others."""
CONTESTED = 0.02
"""Share of rows that two sources may label differently; none of these teaches."""
MINIMUM, MOST = 30, 10_000
"""Rows below which nothing is said, and rows that the test of agreement takes."""


@dataclass(frozen=True)
class Labelled:
    """The rows of a candidate that were collected in production, and who labelled each."""

    rows: pd.DataFrame
    """(n, inputs)."""
    label: np.ndarray
    """(n,)."""
    source: np.ndarray
    """(n,) text."""
    held_out: np.ndarray
    """(n,) bool: rows that no training saw."""
    score: np.ndarray
    """(m,) or (m, k): the candidate's scores of the held-out rows."""
    new: Mapping[str, int]
    """Of the rows that no version learned from yet, how many each source labelled."""
    contested: int = 0
    """Rows that two sources labelled differently, and that are therefore not among these."""


@dataclass(frozen=True)
class Party:
    """One source that is asked about; the small ones are asked about together."""

    members: tuple[str, ...]
    large: bool

    @property
    def name(self) -> str:
        return " and ".join([", ".join(self.members[:-1]), self.members[-1]] if self.members[1:] else self.members)


def parties(source: np.ndarray, policy: Labels) -> list[Party]:
    """The sources that are held against the others: each large one, and all small ones together.

    Args:
        source: (n,) who labelled each collected row.
    """
    names, counts = np.unique(source.astype(str), return_counts=True)
    large = [str(name) for name, n in zip(names, counts, strict=True) if n >= policy.large_share * len(source)]
    small = tuple(str(name) for name in names if name not in large)
    pooled = sum(counts[[name in small for name in names]]) >= policy.large_share * len(source)
    return [Party((name,), True) for name in large] + ([Party(small, bool(pooled))] if small else [])


def label_sources(
    kind: TargetKind,
    policy: Labels,
    found: Labelled,
    without: Mapping[Party, np.ndarray],
    threshold: float,
    seed: int,
) -> GateResult:
    """Hold each source of labels against the others; anything but a pass needs a person's signature.

    Args:
        without: for each large party, the scores of the held-out rows by a model that was trained without its rows.
        threshold: from which a row is selected; NaN where nothing is.
    """
    asked = parties(found.source, policy)
    shares = [_share(party, found, policy) for party in asked]
    if len(asked) < 2:
        only = asked[0].name if asked else "nobody"
        reason = (
            f"all {plural(len(found.source), 'row')} from production were labelled by one source, {only}, so that "
            "nobody could contradict it"
        )
        return _result("insufficient_evidence", reason, shares)
    if len(found.new) < 2:  # what others said of earlier rows does not bear these out
        rows, only = sum(found.new.values()), "nobody" if not found.new else next(iter(found.new))
        reason = (
            f"all {plural(rows, 'row')} that no version knows were labelled by one source, {only}, so that nobody "
            "could contradict it"
        )
        return _result("insufficient_evidence", reason, shares)
    contested, sentence = _contested(found)
    measured, told = [*shares, contested], [sentence] if contested.state != "pass" else []
    for party in asked:
        answers = [_agreement(party, found, len(asked), seed)]
        if party.large:
            answers += _by_others(kind, party, found, without[party], threshold, seed)
            answers.append(_alone(party, found, without[party], threshold))
        elif answers[0][0].state == "insufficient_evidence":  # so few rows move little, and can hardly be proven good
            answers = [(answers[0][0].model_copy(update={"state": "pass"}), "")]
        measured += [m for m, _ in answers]
        told += [sentence for m, sentence in answers if m.state != "pass"]
    state = combine_states([m.state for m in measured])
    by = ", ".join(f"{party.name} {m.value:.0%}" for party, m in zip(asked, shares, strict=True))
    start = f"{plural(len(found.source), 'row')} from production, labelled by {by}"
    agrees = "no source stands out: the others' labels agree, and without it the candidate is no better by theirs"
    return _result(state, f"{start}; {'; '.join(dict.fromkeys(told)) or agrees}", measured)


def _result(state: State, reason: str, measured: Sequence[Measurement]) -> GateResult:
    return GateResult(
        gate=NAME,
        kind=KIND,
        mandatory=False,
        state=state,
        reason=reason,
        measurements=tuple(measured),
        estimator=f"{METHOD}; retrained without each large source, paired losses; Newcombe 1998 for shares",
        remedy="" if state == "pass" else "a person looks at these labels, and signs with assay approve",
    )


def _share(party: Party, found: Labelled, policy: Labels) -> Measurement:
    mine = np.isin(found.source, party.members)
    share = float(mine.mean())
    alone = bool(mine.all())
    state: State = "insufficient_evidence" if alone else "pass" if share <= policy.most_share + 1e-9 else "fail"
    return Measurement(
        label=f"rows labelled by {party.name}", quantity="share", value=share, limit=policy.most_share,
        rows=len(mine), state=state,
    )  # fmt: skip


def _contested(found: Labelled) -> tuple[Measurement, str]:
    rows = len(found.source) + found.contested
    share = found.contested / rows
    measurement = Measurement(
        label="rows that two sources label differently", quantity="share", value=share, limit=CONTESTED, rows=rows,
        state="pass" if share <= CONTESTED else "fail",
    )  # fmt: skip
    return measurement, f"two sources contradict each other about {plural(found.contested, 'row')} of {rows:,}"


def _agreement(party: Party, found: Labelled, number: int, seed: int) -> tuple[Measurement, str]:
    chosen = np.arange(len(found.source))
    if len(chosen) > MOST:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MOST, replace=False))
    mine = np.isin(found.source[chosen], party.members)
    label = f"labels of {party.name} against others' on like rows"
    seen = dependence(found.label[chosen], mine, found.rows.iloc[chosen], CONFIDENCE, seed)
    if seen is None:
        return _nothing(label, "difference", DISAGREE, len(chosen)), f"{party.name} labelled too few rows to compare"
    state = _agrees(seen, number)
    measurement = Measurement(
        label=label, quantity="difference", value=seen.value, low=seen.low, high=seen.high, limit=DISAGREE,
        rows=seen.rows, state=state,
    )  # fmt: skip
    if state == "fail":
        return measurement, (
            f"{party.name} and the others label like rows differently (p {seen.p:.2g}; {seen.value:+.2f} standard "
            "deviations over all)"
        )
    return measurement, (
        f"whether {party.name} and the others agree on like rows is not known closely enough ({seen.low:+.2f} to "
        f"{seen.high:+.2f} standard deviations; {DISAGREE:g} is tolerated)"
    )


def _agrees(seen: Dependence, number: int) -> State:
    if seen.p <= LEVEL / number or min(abs(seen.low), abs(seen.high)) > DISAGREE and seen.low * seen.high > 0:
        return "fail"
    return "pass" if seen.low >= -DISAGREE and seen.high <= DISAGREE else "insufficient_evidence"


def _by_others(
    kind: TargetKind, party: Party, found: Labelled, without: np.ndarray, threshold: float, seed: int
) -> list[tuple[Measurement, str]]:
    """The candidate against the one without the source, by the labels of others: over all rows, and where they differ
    most."""
    metric: MetricName = "mae" if kind == "regression" else "brier"
    others = ~np.isin(found.source[found.held_out], party.members)
    label, score, less = found.label[found.held_out][others], found.score[others], without[others]
    gap = _gap(score, less)
    moved = gap >= np.quantile(gap, 1 - MOVED_SHARE) if len(gap) else np.zeros(0, bool)
    done = []
    for where, mask, tolerated in (
        ("rows that others labelled", np.ones(len(gap), bool), WORSE),
        ("those of them where answers differ most", moved & (gap > 0), WORSE_WHERE_MOVED),
    ):
        name = f"{metric} with {party.name} minus without, on {where}"
        same = np.array_equal(score[mask], less[mask])
        if int(mask.sum()) < MINIMUM and not (same and len(gap) >= MINIMUM):
            few = f"others labelled {plural(int(mask.sum()), 'row')} to compare {party.name} by; {MINIMUM} are needed"
            done.append((_nothing(name, metric, None, int(mask.sum())), few))
            continue
        losses = row_losses(metric, label[mask], less[mask], threshold)
        limit = tolerated * float(losses.mean()) if losses is not None and mask.any() else 0.0
        estimate = paired_estimate(metric, label[mask], score[mask], less[mask], threshold, seed)
        found_at = estimate.interval(CONFIDENCE)
        state: State = "fail" if found_at.low > limit else "pass" if found_at.high <= limit else "insufficient_evidence"
        measurement = Measurement(
            label=name, quantity=metric, value=found_at.value, low=found_at.low, high=found_at.high, limit=limit,
            rows=int(mask.sum()), state=state,
        )  # fmt: skip
        verb = "is worse" if state == "fail" else "may be worse"
        done.append(
            (measurement, f"by the others' labels the candidate {verb} for what {party.name} taught, on {where}")
        )
    return done


def _alone(party: Party, found: Labelled, without: np.ndarray, threshold: float) -> tuple[Measurement, str]:
    """By how much more often the source moves answers among its own rows than among those of others."""
    mine = np.isin(found.source[found.held_out], party.members)
    moved = _moved(found, without, threshold)
    label = f"answers that {party.name} moves, its own rows minus others'"
    if min(mine.sum(), (~mine).sum()) < MINIMUM:
        few = f"{party.name} and the others did not both label {MINIMUM} rows that no training saw"
        return _nothing(label, "share", ALONE, len(mine)), few
    value, low, high = _difference(moved[mine], moved[~mine])
    state: State = "fail" if low > ALONE else "pass" if high <= ALONE else "insufficient_evidence"
    measurement = Measurement(
        label=label, quantity="share", value=value, low=low, high=high, limit=ALONE, rows=len(mine), state=state
    )
    verb = "moves" if state == "fail" else "may move"
    return measurement, f"{party.name} {verb} answers on kinds of rows that nobody else labels"


def _gap(score: np.ndarray, less: np.ndarray) -> np.ndarray:
    gap = np.abs(score - less)
    return np.asarray(gap.max(axis=1) if gap.ndim == 2 else gap)


def _moved(found: Labelled, without: np.ndarray, threshold: float) -> np.ndarray:
    """(m,) bool: rows whose score or decision the source moved."""
    score = found.score
    if score.ndim == 2:
        return np.asarray((_gap(score, without) >= MOVED) | (score.argmax(axis=1) != without.argmax(axis=1)))
    far = MOVED if found.label.dtype == bool else MOVED_SPREAD * float(np.std(found.label))
    return np.asarray((_gap(score, without) >= far) | ((score >= threshold) != (without >= threshold)))


def _difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Difference of two shares with bounds (Newcombe 1998, method 10), each at :data:`CONFIDENCE`."""
    shares = np.array([one.mean(), other.mean()])
    low, high = wilson_share(shares, np.array([len(one), len(other)], float), CONFIDENCE)
    value = float(shares[0] - shares[1])
    below, above = np.hypot(shares[0] - low[0], high[1] - shares[1]), np.hypot(high[0] - shares[0], shares[1] - low[1])
    return value, value - float(below), value + float(above)


def _nothing(label: str, quantity: str, limit: float | None, rows: int) -> Measurement:
    return Measurement(
        label=label, quantity=quantity, value=None, limit=limit, rows=rows, state="insufficient_evidence"
    )
