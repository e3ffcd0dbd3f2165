"""A window's profile against the reference: what moved, how far, how much of the model's output it touches, and whether
that is an alarm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import fisher_exact

from tasks.science.data.tables import SCORE
from tasks.science.models.explanations import UNIMPORTANT
from tasks.science.monitors.drift.columns import column_findings
from tasks.science.monitors.drift.distances import ColumnLayout
from tasks.science.monitors.drift.judged import Judged
from tasks.science.monitors.drift.reference import DriftReference
from tasks.science.monitors.profiles.profile import Outcomes, Profile, outcomes
from tasks.science.stats.intervals import Z
from tasks.science.stats.multiplicity import discoveries, family_wise, simes
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

SMALL_GROUP = 30
KINDS: tuple[str, ...] = (
    "prediction_drift",
    "selection_rate",
    "missingness",
    "new_category",
    "out_of_range",
    "data_drift",
)


def drift_findings(
    config: ModelConfig,
    reference: DriftReference,
    window: Profile,
    importance: Mapping[str, float],
    alpha: float | Mapping[str, float],
) -> list[Finding]:
    """Every drift of inputs, scores and selection rates; an alarm is both sure and of the configured size.

    Sure: by p-values calibrated on the reference, false discoveries among the columns of a kind held at ``alpha``
    (Benjamini & Hochberg 1995), among groups the family-wise error (Holm 1979). Size: beyond
    ``monitoring.drift_distance`` after what sampling adds, whatever the window's size. Columns that carry under 1 % of
    the attribution are reported and never alarm.

    Args:
        config: the model's config.
        reference: from :func:`fit_drift`.
        window: profiled by the reference's layout.
        importance: share of attribution by feature; empty where it is not known, and then every column counts.
        alpha: chance of a false alarm of each kind, or by kind (see :func:`tasks.science.stats.multiplicity.levels`).
    """
    judged = judge(config, reference, window, importance)
    level = {kind: alpha if isinstance(alpha, float) else alpha[kind] for kind in KINDS}
    stands: dict[int, bool] = {}
    for kind in KINDS:
        tested = [
            (i, j.p_value) for i, j in enumerate(judged) if j.finding.kind == kind and j.loud and j.p_value is not None
        ]
        decide = family_wise if kind in ("selection_rate", "prediction_drift") else discoveries
        stands |= dict(zip([i for i, _ in tested], decide([p for _, p in tested], level[kind]), strict=True))
    found = []
    for i, j in enumerate(judged):
        alarm = j.certain or (j.finding.alarm and j.loud and stands.get(i, False))
        rare = j.finding.kind in ("missingness", "new_category", "out_of_range")
        if (
            not rare
            or alarm
            or (j.finding.alarm and j.p_value is not None and j.p_value <= level[j.finding.kind])
            or j.finding.value is None
        ):
            found.append(j.finding.model_copy(update={"alarm": alarm}))
    return found


def window_p_values(
    config: ModelConfig, reference: DriftReference, window: Profile, importance: Mapping[str, float]
) -> dict[str, float]:
    """By kind the p-value of "nothing of this kind changed in this window" (Simes 1986), to be kept for the windows to
    come; 1 where nothing was tested."""
    judged = judge(config, reference, window, importance)
    return {
        kind: simes([j.p_value for j in judged if j.finding.kind == kind and j.loud and j.p_value is not None])
        for kind in KINDS
    }


def judge(
    config: ModelConfig, reference: DriftReference, window: Profile, importance: Mapping[str, float]
) -> list[Judged]:
    """All findings and their p-values, before anything is decided."""
    text = _refusal(config, reference, window)
    if text:
        return [
            Judged(
                Finding(kind="data_drift", subject="window", value=None, rows=window.rows, alarm=False, sentence=text),
                None,
            )
        ]
    found = [
        Judged(
            Finding(
                kind="data_drift",
                subject=name,
                value=None,
                rows=window.rows,
                alarm=False,
                sentence=f"{name}: the reference has no such column, so there is nothing to compare with",
            ),
            None,
        )
        for name in reference.layout.absent
    ]
    columns: tuple[ColumnLayout, ...] = (*reference.layout.numbers, *reference.layout.categories)
    for layout in columns:
        share = importance.get(layout.name, 0.0)
        found += column_findings(config, reference, window, layout, share, not importance or share >= UNIMPORTANT)
    return [*found, *_prediction(config, reference, window), *_selection(config, reference, window)]


def _refusal(config: ModelConfig, reference: DriftReference, window: Profile) -> str:
    """Why nothing can be compared, in a sentence; empty where it can."""
    layout = reference.layout
    declared = {c.name: c.kind.numeric for c in config.inputs}
    known = {c.name: True for c in layout.numbers} | {c.name: False for c in layout.categories}
    known |= {name: declared.get(name, True) for name in layout.absent}
    if known != declared:
        other = sorted({n for n in {**known, **declared} if known.get(n) != declared.get(n)})
        return (
            f"the reference is of another schema: it differs from the model's config in {', '.join(other)}; nothing "
            "is concluded until it is fitted again"
        )
    if window.layout != layout.key:
        return (
            "the window was counted by another layout than the reference, so they cannot be compared and nothing is "
            "concluded; profile it again"
        )
    if not reference.profile.rows:
        return "the reference window has no rows, so there is nothing to compare with and nothing is concluded"
    if window.rows < config.monitoring.minimum_rows:
        return (
            f"the window has {plural(window.rows, 'row')} and {config.monitoring.minimum_rows} are needed, so "
            "nothing is "
            "concluded"
        )
    return ""


def _prediction(config: ModelConfig, reference: DriftReference, window: Profile) -> list[Judged]:
    limit, layout = config.monitoring.drift_distance, reference.layout.scores[0]
    rows = [int(p.counts[f"bins:{SCORE}"].sum()) for p in (reference.profile, window)]
    if not all(rows):
        text = f"{'the window' if rows[0] else 'the reference'} has no scores, so their drift is not judged"
        return [
            Judged(
                Finding(
                    kind="prediction_drift", subject="score", value=None, rows=window.rows, alarm=False, sentence=text
                ),
                None,
            )
        ]
    found = reference.shift(layout, window)
    (then, _), (now, _) = (p.moments(layout) for p in (reference.profile, window))
    lost = window.rows - rows[1]
    text = f"the mean score is {now:.3f}, {then:.3f} in the reference (Jensen-Shannon distance {found.excess:.3f})" + (
        f"; {lost:,} rows have no finite score" if lost else ""
    )
    finding = Finding(
        kind="prediction_drift",
        subject="score",
        value=found.excess,
        limit=limit,
        rows=window.rows,
        alarm=found.excess > limit,
        sentence=text,
    )
    judged = [Judged(finding, found.p_value)]
    if reference.layout.kind == "multiclass":
        for other in reference.layout.scores[1:]:
            shift = reference.shift(other, window)
            (then, _), (now, _) = (p.moments(other) for p in (reference.profile, window))
            name = other.name.partition(":")[2]
            text = (
                f"the mean score of {name} is {now:.3f}, {then:.3f} in the reference (Jensen-Shannon distance "
                f"{shift.excess:.3f})"
            )
            judged.append(
                Judged(
                    Finding(
                        kind="prediction_drift",
                        subject=name,
                        value=shift.excess,
                        limit=limit,
                        rows=window.rows,
                        alarm=shift.excess > limit,
                        sentence=text,
                    ),
                    shift.p_value,
                )
            )
    return judged


def _selection(config: ModelConfig, reference: DriftReference, window: Profile) -> list[Judged]:
    """Selection rate by protected group; of a multiclass model, the rate of every class. Fisher's exact test (1935)."""
    layout, judged = reference.layout, []
    for attribute in config.protected:
        then, now = (outcomes(layout, p, attribute) for p in (reference.profile, window))
        if not then or not now or (layout.threshold is None and layout.kind != "multiclass"):
            text = (
                f"{attribute}: "
                + ("the model selects nobody (it has no decision threshold)" if then and now else "there are no scores")
                + ", so selection rates are not judged"
            )
            judged.append(
                Judged(
                    Finding(
                        kind="selection_rate",
                        subject=attribute,
                        value=None,
                        rows=window.rows,
                        alarm=False,
                        sentence=text,
                    ),
                    None,
                )
            )
            continue
        for before, after in zip(then, now, strict=True):
            if not before.rows and not after.rows:
                continue
            judged += [
                _group(config, f"{attribute} {before.group}", before, after, i)
                for i in (range(len(layout.classes)) or [-1])
            ]
    return judged


def _group(config: ModelConfig, subject: str, before: Outcomes, after: Outcomes, decided: int) -> Judged:
    """The interval shown is that of the ratio to the reference's rate, by the delta method on its logarithm (Katz et
    al. 1978)."""
    if min(before.rows, after.rows) < SMALL_GROUP:
        text = f"{subject}: {plural(after.rows, 'row')}, {before.rows:,} in the reference, too few to judge"
        return Judged(
            Finding(kind="selection_rate", subject=subject, value=None, rows=after.rows, alarm=False, sentence=text),
            None,
        )
    chosen = [o.selected if decided < 0 else o.decided[decided] for o in (before, after)]
    sizes, what = (before.rows, after.rows), "selected" if decided < 0 else f"classed {config.classes[decided]}"
    p_value = float(fisher_exact([[c, n - c] for c, n in zip(chosen, sizes, strict=True)]).pvalue)
    p, q = ((c + 0.5) / (n + 1) for c, n in zip(chosen, sizes, strict=True))
    error = float(Z * np.sqrt((1 - p) / (p * sizes[0]) + (1 - q) / (q * sizes[1])))
    tolerated = config.monitoring.selection_change
    alarm = bool(q / p > 1 + tolerated or q / p < 1 / (1 + tolerated))
    rates = [c / n for c, n in zip(chosen, sizes, strict=True)]
    text = f"{subject}: {rates[1]:.1%} {what}, {rates[0]:.1%} in the reference"
    named = subject if decided < 0 else f"{subject}: {config.classes[decided]}"
    low, high = q * np.exp(-error), q * np.exp(error)
    finding = Finding(
        kind="selection_rate",
        subject=named,
        value=rates[1],
        low=float(low),
        high=float(high),
        reference=rates[0],
        rows=after.rows,
        alarm=alarm,
        sentence=text,
    )
    return Judged(finding, p_value)
