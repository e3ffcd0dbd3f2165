"""The leakage gate: every leak that the checks of :mod:`tasks.science.gates.leakage_measurements` find."""

from __future__ import annotations

from tasks.science.examination.examination import Examination
from tasks.science.examination.targets import fewest, wrong_scores
from tasks.science.examination.verdicts import combine_states, result
from tasks.science.gates.leakage_measurements import (
    entities_on_both_sides,
    repeated_rows,
    small_classes_and_groups,
    telling_columns,
    telling_gaps,
    training_serving_skew,
    unknown_at_prediction,
)
from tasks.science.gates.leakage_order import label_jumps
from tasks.science.gates.leakage_pairs import lifting_columns, patterns_of_gaps, telling_pairs
from tasks.science.gates.leakage_sides import Sides
from tasks.science.gates.leakage_tables import codes_that_are_no_values, labels_of_other_rows, rows_given_again
from tasks.science.gates.leakage_time import neighbours_on_both_sides
from tasks.science.stats.counts import MINIMUM
from tasks.spec.evidence import GateResult, Measurement
from tasks.spec.leakage_gate import LeakageGate

METHOD = (
    "DeLong 1988 of target-encoded columns and pairs; Poisson-binomial count of shared patterns; change-point scan "
    "with Bonferroni bounds; Jensen-Shannon distance"
)


def leakage(config: LeakageGate, examination: Examination) -> GateResult:
    """Leaks between the sides of the split, in the columns, and in time.

    These fail:

    - a column that alone predicts too well, or whose being missing does;
    - a pair of columns or a pattern of gaps that does, and columns that lift a model of all features so far;
    - repeated rows and shared entities beyond their limits, and rows that were given several times;
    - a column that is not known at prediction time;
    - a jump of the label rate that the scores do not explain;
    - a random split of dated rows whose neighbours answer each other;
    - a model that is no better than chance, as with labels of other rows;
    - repeated numbers far outside a column's others, as codes for what is missing are;
    - a class or group that is too small to learn;
    - a skew of training against served rows so large that it looks like another unit or another code.

    A smaller skew is reported and never fails: the world changes, and the monitor judges that. Without a champion
    nothing has been served yet, and the reason says that the checks on served rows are left out.
    """
    refused = _missing(examination)
    if refused:
        return result(config, "fail", refused)
    assert examination.config is not None and examination.train is not None and examination.train_label is not None
    features = [f for f in examination.features if f in examination.train.columns and f in examination.rows.columns]
    sides = Sides(examination.config, features, examination.train, examination.train_label, examination)
    few, sentence = min(fewest(examination, y) for y in (examination.label, sides.train_label))
    if few < MINIMUM or not sides.asked:
        return result(
            config, "insufficient_evidence", f"on one side, {sentence}; at least {MINIMUM} are needed to look for leaks"
        )
    measured = [
        *unknown_at_prediction(sides),
        *telling_columns(config, sides),
        *telling_gaps(config, sides),
        *telling_pairs(config, sides),
        *lifting_columns(config, sides),
        *patterns_of_gaps(config, sides),
        *repeated_rows(config, sides),
        *entities_on_both_sides(sides),
        *rows_given_again(config, sides),
        *label_jumps(config, sides),
        *neighbours_on_both_sides(config, sides),
        *labels_of_other_rows(config, sides),
        *codes_that_are_no_values(config, sides),
        *training_serving_skew(config, sides),
        *small_classes_and_groups(config, sides),
    ]
    return _conclude(config, tuple(measured), examination)


def suspected(config: LeakageGate, examination: Examination) -> list[str]:
    """Leaks that are in the columns and rows, whatever the scores are worth: of a fit on a few rows, for instance."""
    if _missing(examination):
        return []
    assert examination.config is not None and examination.train is not None and examination.train_label is not None
    sides = Sides(
        examination.config, list(examination.features), examination.train, examination.train_label, examination
    )
    if min(fewest(examination, y)[0] for y in (examination.label, sides.train_label)) < MINIMUM or not sides.asked:
        return []
    measured = [
        *telling_columns(config, sides),
        *telling_gaps(config, sides),
        *telling_pairs(config, sides),
        *lifting_columns(config, sides),
        *patterns_of_gaps(config, sides),
        *repeated_rows(config, sides),
        *rows_given_again(config, sides),
    ]
    return [_told(m) for m in measured if m.state == "fail"]


def _missing(examination: Examination) -> str:
    """Why leaks cannot be looked for, where they cannot."""
    if examination.train is None or examination.train_label is None:
        return "the training rows and their labels were not given to this gate; without them no leak can be seen"
    if examination.config is None:
        return (
            "the model's configuration was not given to this gate; it says which columns are inputs and whether "
            "rows have entities"
        )
    if len(examination.train) != len(examination.train_label):
        return (
            f"there are {len(examination.train)} training rows and {len(examination.train_label)} training labels; "
            "they must be as many"
        )
    wrong = wrong_scores(examination)
    if wrong:
        return wrong
    if examination.config.data.entity is not None and (examination.entity is None or examination.train_entity is None):
        return f"rows have the entity {examination.config.data.entity}, and whose row it is was not given to this gate"
    if examination.champion_score is not None and examination.served is None:
        return (
            "there is a champion, and the rows that it served were not given to this gate; give an empty table "
            "where none were logged"
        )
    absent = [
        f for f in examination.features if f not in examination.train.columns or f not in examination.rows.columns
    ]
    return (
        f"features {', '.join(absent)} are in no training or holdout row, so they were not examined" if absent else ""
    )


def _told(measured: Measurement) -> str:
    """What was measured, the number, and then what it may be."""
    what, semicolon, cause = measured.label.partition("; ")
    if measured.value is not None and measured.limit is not None:
        what += f" is {measured.value:.3g}, and {measured.limit:g} is the limit"
    return f"{what}{semicolon}{cause}"


def _conclude(config: LeakageGate, measured: tuple[Measurement, ...], examination: Examination) -> GateResult:
    state = combine_states([m.state for m in measured])
    found = [_told(m) for m in measured if m.state == state]
    served = (
        ""
        if examination.served is not None and len(examination.served) >= config.minimum_rows
        else "; too few rows were served yet to compare with"
    )
    if state == "pass":
        return result(config, "pass", f"no leak in {len(measured)} checks{served}", measured, METHOD)
    begin = (
        f"{len(found)} leaks" if state == "fail" and len(found) > 1 else "a leak" if state == "fail" else "too few rows"
    )
    return result(config, state, f"{begin}: {'; '.join(found)}{served}", measured, METHOD)
