"""What the model does where an expert has a rule: a picture for each, with the rule drawn in.

A picture never decides. It comes from the same sample and the same questions to the model as the rule's number, and
holds means and quantiles over rows, never a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tasks.science.examination.examination import Examination
from tasks.science.examination.plots import column_kind, cut, histogram, unit
from tasks.science.rules.attribution import association, driver_share
from tasks.science.rules.scores import case_scores, paths_of
from tasks.science.rules.tools import RuleFault, case_words, range_words, rows_where
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.validity import usable_scores
from tasks.spec.evidence import Measurement, Plot, Point, Region, Series
from tasks.spec.kind import ColumnKind
from tasks.spec.rules import Direction, ForbiddenDriver, Monotone, Proxy, RequiredDriver, Rule, ScoreRange, Vignette

TOP = 12
"""Features with the largest shares that are shown, besides those that a rule names."""
BAND = (0.1, 0.9)


def rule_plot(rule: Rule, title: str, found: Measurement, examination: Examination, confidence: float) -> Plot | None:
    """The picture of one rule; None where its number says it all, or the rule cannot be asked."""
    draw = DRAWN.get(rule.rule)
    if draw is None or (found.value is None and rule.rule != "proxy"):
        return None
    try:
        plot = draw(rule, title, found, examination, confidence)
    except RuleFault:
        return None
    return None if plot is None else plot.model_copy(update={"state": found.state})


def dependence(
    rule: Direction | Monotone, title: str, found: Measurement, examination: Examination, confidence: float
) -> Plot | None:
    """Mean score and 10-90 % band of rows while the column alone runs over its values (partial dependence, Friedman
    2001).
    """
    bounds = (rule.low, rule.high) if isinstance(rule, Monotone) else (None, None)
    sample, steps, paths = paths_of(rule.column, rule.rows, *bounds, examination)
    if len(sample) < MINIMUM or len(steps) < 2:
        return None
    low, high = np.quantile(paths, BAND, axis=0)
    points = tuple(
        Point(x=float(x), y=float(y), low=float(a), high=float(b))
        for x, y, a, b in zip(steps, paths.mean(axis=0), low, high, strict=True)
    )
    assert found.value is not None
    kind = column_kind(rule.column, examination)
    text = (
        f"The rule: the score {rule.sign}. {found.value:.1%} of {found.rows:,} rows go the other way; at most "
        f"{rule.tolerance:.1%} may."
    )
    if isinstance(rule, Monotone):
        text = (
            f"The rule: the score {rule.sign}. {found.value:.1%} of {found.rows:,} rows turn back by more than "
            f"{rule.turn:g}; at most {rule.tolerance:.1%} may.{_turning(rule, kind, steps, paths)}"
        )
    return Plot(
        title=cut(title),
        kind="curve",
        x_label=cut(f"{rule.column}{unit(rule.column, examination)}"),
        x_type=kind.name,
        y_label="score",
        series=(Series(name="mean score, band of 10 to 90 % of rows", points=points),),
        sign=rule.sign,
        note=f"{text} Mean over {len(sample):,} rows with {cut(rule.column, 60)} changed alone.",
    )


def _turning(rule: Monotone, kind: ColumnKind, steps: np.ndarray, paths: np.ndarray) -> str:
    """Where the rows that turn back are, on average, farthest behind what they had reached."""
    way = paths if rule.sign == "rises" else -paths
    behind = np.maximum.accumulate(way, axis=1) - way
    turned = behind.max(axis=1) > rule.turn
    if not turned.any():
        return ""
    return f" They are farthest behind at {kind.text(float(steps[int(behind[turned].mean(axis=0).argmax())]))}."


def spread(
    rule: ScoreRange, title: str, found: Measurement, examination: Examination, confidence: float
) -> Plot | None:
    """The scores of the rows that the rule speaks of, and the range in which they should lie."""
    inside = examination.score[rows_where(rule.rows, examination)]
    rates = examination.kind != "regression"
    inside = inside[usable_scores(examination.kind, inside)]
    if len(inside) < MINIMUM:
        return None
    ends = (0.0, 1.0) if rates else (float(inside.min()), float(inside.max()))
    return Plot(
        title=cut(title),
        kind="histogram",
        x_label="score",
        y_label="share of rows",
        series=(Series(name="rows", points=histogram(inside, *ends)),),
        regions=(
            Region(
                axis="x",
                low=min(ends) if rule.low is None else rule.low,
                high=max(ends) if rule.high is None else rule.high,
                label="allowed",
            ),
        ),
        note=(
            f"{range_words(rule.low, rule.high).capitalize()} is asked: {found.value:.1%} of {found.rows:,} rows "
            f"lie outside; at most {rule.tolerance:.1%} may."
        ),
    )


def giveaways(rule: Proxy, title: str, found: Measurement, examination: Examination, confidence: float) -> Plot | None:
    """How well each feature tells a group of the protected column, against how much it drives the prediction."""
    features = [f for f in examination.features if f not in rule.allowed]
    if not _complete(examination) or not features:
        return None
    known = association(rule.column, features, examination, confidence)
    if known is None:
        return None
    # The features that matter most to the rule first, since a series has at most so many points.
    drawn = sorted(features, key=lambda f: -(known[f][0] - 0.5) * _size(f, examination))[:60]
    points = tuple(
        Point(x=min(max(known[f][0], 0.0), 1.0), y=driver_share([f], examination, confidence)[0], label=cut(f))
        for f in drawn
    )
    allowed = f" Allowed on the expert's word and not shown: {', '.join(rule.allowed)}." if rule.allowed else ""
    return Plot(
        title=cut(title),
        kind="scatter",
        x_label=f"AUC with which the feature alone tells {cut(rule.column, 60)}",
        y_label="share of the attribution",
        series=(Series(name="features", points=points),),
        regions=(
            Region(axis="x", low=rule.association, label=f"gives away from {rule.association:g}"),
            Region(axis="y", low=rule.share, label=f"limit of their sum {rule.share:.0%}"),
        ),
        note=cut(
            f"Features right of the upright line give {rule.column} away; their shares together may reach "
            f"{rule.share:.0%}.{allowed}",
            1000,
        ),
    )


def case(rule: Vignette, title: str, found: Measurement, examination: Examination, confidence: float) -> Plot | None:
    """The invented case and its score, beside the other case or the range that is asked."""
    score = case_scores(rule, examination)
    points = [Point(y=score[0], label=cut(case_words(rule.case)))]
    if rule.above is not None:
        points.append(Point(y=score[1], label=cut(case_words(rule.above))))
        asked = f"above it by at least {rule.margin:g}" if rule.margin else "above it"
        note = (
            f"A typical person with {case_words(rule.case)} scores {score[0]:.3f}; with {case_words(rule.above)}, "
            f"{score[1]:.3f}. The first is asked to lie {asked}; it lies {abs(score[0] - score[1]):.3f} "
            f"{'above' if score[0] > score[1] else 'below'}."
        )
        regions: tuple[Region, ...] = ()
    else:
        assert rule.between is not None
        low, high = rule.between
        note = f"A typical person with {case_words(rule.case)} scores {score[0]:.3f}; {low:g} to {high:g} is asked."
        regions = (Region(axis="x", low=low, high=high, label="asked"),)
    return Plot(
        title=cut(title),
        kind="cases",
        x_label="score",
        series=(Series(name="cases", points=tuple(points)),),
        regions=regions,
        note=cut(note, 1000),
    )


def drivers(rules: tuple[Rule, ...], examination: Examination, confidence: float) -> Plot | None:
    """Global importance: shares of the mean absolute attribution with bootstrap bounds, and the limits of rules on
    drivers.
    """
    if not _complete(examination):
        return None
    limits = {
        r.column: (r.share, "at most" if isinstance(r, ForbiddenDriver) else "at least")
        for r in rules
        if isinstance(r, ForbiddenDriver | RequiredDriver)
    }
    top = sorted(examination.features, key=lambda f: -_size(f, examination))[:TOP]
    columns = (*top, *(c for c in limits if c not in top))[:60]
    points = []
    for column in columns:
        value, low, high, _ = driver_share([column], examination, confidence)
        limit, side = limits.get(column, (None, ""))
        text = cut(column, 200) + ("" if limit is None else f", {side} {limit:.0%}")
        points.append(Point(y=value, low=min(low, value), high=max(high, value), limit=limit, label=text))
    return Plot(
        title="What drives the prediction: global importance",
        kind="intervals",
        x_label="share of the mean absolute attribution",
        series=(Series(name="share with interval", points=tuple(points)),),
        note=(
            f"{len(examination.attributions):,} explained rows; the first {len(top)} of "
            f"{len(examination.features)} features, and those that a rule limits (dashed line)."
        ),
    )


def _complete(examination: Examination) -> bool:
    size = examination.attributions
    return (
        len(size) > 0
        and set(examination.features) <= set(size.columns)
        and bool(np.isfinite(size.to_numpy(float)).all())
    )


def _size(feature: str, examination: Examination) -> float:
    return float(examination.attributions[feature].abs().mean())


DRAWN: dict[str, Callable[[Any, str, Measurement, Examination, float], Plot | None]] = {
    "direction": dependence,
    "monotone": dependence,
    "score_range": spread,
    "proxy": giveaways,
    "vignette": case,
}
