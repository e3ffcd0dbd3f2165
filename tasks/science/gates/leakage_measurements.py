"""What the leakage gate checks, each as measurements with a state; the numbers are of ``leakage_checks``."""

from __future__ import annotations

import re

import pandas as pd

from tasks.science.data.protected import group_titles, protected_groups
from tasks.science.examination.verdicts import judge
from tasks.science.gates.leakage_checks import (
    ColumnPower,
    duplicates,
    missing_by_kind,
    shared_entities,
    single_columns,
)
from tasks.science.gates.leakage_sides import Sides, searching_error
from tasks.science.stats.intervals import exact_share, normal_quantile
from tasks.science.stats.shift import shift
from tasks.spec.evidence import Measurement, State
from tasks.spec.leakage_gate import LeakageGate
from tasks.spec.targets import BinaryTarget

NEVER_SERVED = 0.9
"""Share of served rows from which a column that is missing there is not known at prediction time."""
TRAINED = 0.5
"""Share of training rows under which the column must be missing, also in training rows of the served kind."""


def unknown_at_prediction(sides: Sides) -> list[Measurement]:
    """Columns that the configuration itself says are not known when a prediction is made."""
    inputs = {c.name for c in sides.config.inputs}
    named = set(re.findall(r"\w+", re.sub(r"'[^']*'|\"[^\"]*\"", "", sides.config.data.target.expression)))
    late = {c.name for c in sides.config.data.columns if c.available == "after"}
    found = [
        (
            f,
            "is declared available: after, so it is known only after the prediction is made"
            if f in late
            else "is declared as no input, and is not known at prediction time",
        )
        for f in sides.features
        if f not in inputs
    ]
    found += [(f, "is what the label is made from") for f in sides.features if f in named]
    rows = len(sides.train)
    return [Measurement(label=f"{f} {why}", value=None, rows=rows, state="fail") for f, why in found] or [
        Measurement(
            label="every feature is declared as an input and none makes the label", value=None, rows=rows, state="pass"
        )
    ]


def telling_columns(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """Columns that predict too well alone; without one, the best column is reported."""
    e, found = sides.examination, []
    for p, question in _powers(sides, sides.train[sides.features], e.rows[sides.features], config.confidence):
        state = judge(p.auc, p.high, config.single_column_auc, False)
        label, limit = f"AUC of {p.column} alone{question}", config.single_column_auc
        dominant = e.kind != "regression" and p.low > config.dominant_auc and p.share >= config.dominant_share
        if state != "fail" and dominant:
            state, limit = "fail", config.dominant_auc
            label += f", which is {p.share:.0%} of what the whole model has over 0.5"
        found.append((p.column, _auc(label, p, limit, len(e.rows), state)))
    return _excused(config, found)


def telling_gaps(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """Columns whose being missing predicts too well alone; without one, the best is reported."""
    e, found = sides.examination, []
    gaps = [f for f in sides.features if sides.train[f].isna().any() or e.rows[f].isna().any()]
    for p, question in _powers(sides, sides.train[gaps].isna(), e.rows[gaps].isna(), config.confidence):
        state = judge(p.auc, p.high, config.missingness_auc, False)
        label = f"AUC of the mere fact that {p.column} is missing{question}"
        found.append((p.column, _auc(label, p, config.missingness_auc, len(e.rows), state)))
    return _excused(config, found)


def _auc(label: str, power: ColumnPower, limit: float, rows: int, state: State) -> Measurement:
    low, high = power.low, power.high
    return Measurement(
        label=label, quantity="roc_auc", value=power.auc, low=low, high=high, limit=limit, rows=rows, state=state
    )


def _excused(config: LeakageGate, found: list[tuple[str, Measurement]]) -> list[Measurement]:
    """The columns that do not pass, and the excused ones with the reason; without any, the first column."""
    shown = []
    for column, measured in found:
        if column in config.excused:
            label = f"{measured.label} (excused: {config.excused[column]})"
            shown.append(measured.model_copy(update={"state": "pass", "label": label}))
        elif measured.state != "pass":
            shown.append(measured)
    return shown or [measured for _, measured in found[:1]]


def _powers(sides: Sides, train: pd.DataFrame, rows: pd.DataFrame, confidence: float) -> list[tuple[ColumnPower, str]]:
    """Each column's AUC in the question that it answers best, and that question's name, from the best column down."""
    by_question = [(q.name, single_columns(train, q.train, rows, q.label, q.score, confidence)) for q in sides.asked]
    columns = zip(*[[(p, name) for p in powers] for name, powers in by_question], strict=True)
    return sorted((max(found, key=lambda pair: pair[0].auc) for found in columns), key=lambda pair: -pair[0].auc)


def repeated_rows(config: LeakageGate, sides: Sides) -> list[Measurement]:
    e = sides.examination
    d = duplicates(
        sides.train[sides.features],
        sides.train_label,
        e.rows[sides.features],
        e.label,
        sides.examination.train_entity,
        e.entity,
    )
    n, z = len(e.rows), normal_quantile(config.confidence)
    value, low, high = ((d.shared - d.expected + k * d.error) / n for k in (0, -z, z))
    state: State = (
        "fail"
        if value > config.duplicates and d.p_value < searching_error(config)
        else "pass"
        if high <= config.duplicates
        else "insufficient_evidence"
    )
    label = (
        f"row patterns in both training and holdout ({d.shared:,}) beyond the {d.expected:,.0f} of a random split, "
        "as a share of the holdout"
    )
    return [
        Measurement(
            label=label,
            quantity="share of rows",
            value=value,
            low=low,
            high=high,
            limit=config.duplicates,
            rows=n,
            state=state,
        )
    ]


def entities_on_both_sides(sides: Sides) -> list[Measurement]:
    e = sides.examination
    if e.entity is None or e.train_entity is None:
        return []
    count, rows = shared_entities(e.train_entity, e.entity)
    label = (
        f"share of holdout rows whose {sides.config.data.entity or 'entity'} is in training too ({count:,} entities)"
    )
    return [
        Measurement(
            label=label,
            quantity="share of rows",
            value=rows / len(e.entity),
            limit=0.0,
            rows=len(e.entity),
            state="fail" if rows else "pass",
        )
    ]


def training_serving_skew(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """Training rows against the newest served rows: what never arrives, and what arrives in another shape.

    Where training holds rows that were collected in production, those: a world that changed, and was learned, is no
    skew.
    """
    served, collected = sides.examination.served, sides.examination.train_collected
    if served is None or len(served) < config.minimum_rows:
        return []
    train = sides.train if collected is None or collected.sum() < config.minimum_rows else sides.train[collected]
    n = len(served)
    absent = {f: int(served[f].isna().sum()) if f in served else n for f in sides.features}
    bounds = {f: exact_share(gone, n, config.confidence)[0] for f, gone in absent.items()}
    arriving = [f for f in sides.features if bounds[f] <= NEVER_SERVED]
    found, shifts = [], []
    for f in sides.features:
        unknown = bounds[f] > NEVER_SERVED and train[f].isna().mean() < TRAINED
        if unknown and missing_by_kind(train, served, f, arriving) < TRAINED:
            label = f"share of served rows without {f}, which is known in training and so not at prediction time,"
            found.append(
                Measurement(
                    label=label,
                    quantity="share of rows",
                    value=absent[f] / n,
                    low=bounds[f],
                    high=1.0,
                    limit=NEVER_SERVED,
                    rows=n,
                    state="fail",
                )
            )
        elif not unknown and f in served:
            shifts.append(shift(train[f], served[f], f))
    for s in sorted(shifts, key=lambda s: -s.excess):
        sure = s.p_value < searching_error(config) / max(len(shifts), 1)
        state: State = "fail" if sure and s.excess > config.skew else "pass"
        found.append(
            Measurement(
                label=f"distance of {s.column} in training from what was served",
                quantity="distance from what was served",
                value=s.excess,
                limit=config.skew,
                rows=n,
                state=state,
            )
        )
    return [m for m in found if m.state != "pass"] or found[:1]


def small_classes_and_groups(config: LeakageGate, sides: Sides) -> list[Measurement]:
    """Classes and protected groups that training knows too few rows of."""
    target = sides.config.data.target
    counts = {
        f"class {name!r}": int((sides.train_label == code).sum()) for code, name in enumerate(sides.examination.classes)
    }
    if isinstance(target, BinaryTarget):
        counts = {
            f"class {name!r}": int((sides.train_label == code).sum())
            for code, name in ((True, target.positive), (False, target.negative))
        }
    able = {name: spec for name, spec in sides.config.protected.items() if spec.column in sides.train}
    found = [
        Measurement(
            label=f"groups of {name} in training: its column {spec.column} is not there",
            value=None,
            rows=len(sides.train),
            state="fail",
        )
        for name, spec in sides.config.protected.items()
        if name not in able
    ]
    groups = protected_groups(sides.config.model_copy(update={"protected": able}), sides.train)
    for name, spec in able.items():
        rows_of = groups[name].value_counts()
        counts |= {f"group {group!r} of {name}": int(rows_of.get(group, 0)) for group in group_titles(spec)}
    smallest = sorted(counts.items(), key=lambda item: item[1])
    found += [
        Measurement(
            label=f"training rows of {name}",
            value=float(count),
            limit=float(config.minimum_rows),
            rows=count,
            state="fail" if count < config.minimum_rows else "pass",
        )
        for name, count in smallest
        if count < config.minimum_rows
    ]
    if not smallest:
        smallest = [("all, since there are neither classes nor groups", len(sides.train))]
    return found or [
        Measurement(
            label=f"training rows of {smallest[0][0]}, the smallest",
            value=float(smallest[0][1]),
            limit=float(config.minimum_rows),
            rows=smallest[0][1],
            state="pass",
        )
    ]
