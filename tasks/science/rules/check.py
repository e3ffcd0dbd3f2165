"""What an expert knows, held against what the model does: before promotion, and on any later window, by this same code.

A window needs ``rows``, ``score``, ``predict`` and ``features`` of an Examination for the rules on scores, and
``attributions`` for the rules on drivers; its labels are not looked at. Of a multiclass model, a rule on scores speaks
of one class (``class:``), against the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tasks.science.examination.examination import Examination
from tasks.science.rules.attribution import forbidden, proxy, required
from tasks.science.rules.scores import direction, invariance, monotone, score_range, vignette
from tasks.science.rules.tools import RuleFault, Unchecked, case_words, fitting_declaration, range_words, unchecked
from tasks.spec.data import Column
from tasks.spec.evidence import Measurement
from tasks.spec.expression_types import condition_fault
from tasks.spec.rules import Invariance, Rule, ScoreRange

CHECKS: dict[str, Callable[[Any, str, Examination, float], Measurement]] = {
    "forbidden_driver": forbidden,
    "required_driver": required,
    "proxy": proxy,
    "direction": direction,
    "monotone": monotone,
    "score_range": score_range,
    "vignette": vignette,
    "invariance": invariance,
}


def check_rule(rule: Rule, examination: Examination, confidence: float) -> Measurement:
    """One rule: fail where the estimate breaks it or it cannot be asked, pass where its one-sided bound keeps it."""
    known = [str(c) for c in examination.rows.columns]
    column = getattr(rule, "column", None)
    if column is not None and column not in known:
        label = _no_column(rule, known)
        return Unchecked(label=label, value=None, rows=0, state="fail", why=label)
    label = sentence(rule)
    try:
        return CHECKS[rule.rule](rule, label, spoken_of(rule, examination), confidence)
    except RuleFault as fault:
        return unchecked(label, str(fault), 0, state="fail")


def _no_column(rule: Rule, known: Iterable[str]) -> str:
    return (
        f"{rule.rule} names {getattr(rule, 'column', None)!r}, which is no input column (allowed: {', '.join(known)})"
    )


def rule_faults(rule: Rule, columns: Sequence[Column]) -> list[str]:
    """What is wrong with a rule whatever the rows and the model are.

    Args:
        columns: those of a request.
    """
    column, known = getattr(rule, "column", None), [c.name for c in columns]
    found = [] if column is None or column in known else [_no_column(rule, known)]
    for case in (getattr(rule, "case", None), getattr(rule, "above", None)):
        for name, value in (case or {}).items():
            try:
                fitting_declaration(name, value, columns)
            except RuleFault as fault:
                found.append(str(fault))
    rows = getattr(rule, "rows", "all")
    misread = "" if rows == "all" else condition_fault("rows", rows, columns)
    return [*found, misread] if misread else found


def spoken_of(rule: Rule, examination: Examination) -> Examination:
    """What the rule looks at: everything, or one class against the rest.

    Raises:
        RuleFault: it names a class that there is not, or none where it must, or a score that there cannot be.
    """
    limits = [(name, getattr(rule, name, None)) for name in ("turn", "margin", "at_most")]
    limits += [(name, getattr(rule, name)) for name in ("low", "high") if isinstance(rule, ScoreRange)]
    limits += [("between", end) for end in getattr(rule, "between", None) or ()]
    odd = [(name, value) for name, value in limits if value is not None and not 0 <= value <= 1]
    if odd and examination.kind != "regression":
        raise RuleFault(f"{odd[0][0]} is {odd[0][1]:g}; allowed: 0 to 1, since the score is a probability")
    name = getattr(rule, "of_class", None)
    if examination.kind != "multiclass":
        if name is not None:
            raise RuleFault(
                f"it names the class {name!r}, and a {examination.kind} model has one score; leave class out"
            )
        return examination
    if name is None:
        if hasattr(rule, "of_class") and not isinstance(rule, Invariance):
            raise RuleFault(
                "it names no class, and this model has a score for each; give class, one of "
                f"{', '.join(examination.classes)}"
            )
        return examination
    if name not in examination.classes:
        raise RuleFault(f"it names the class {name!r}; allowed: {', '.join(examination.classes)}")
    view: Examination = examination.cached(("class", name), lambda: examination.against_rest(name))
    return view


def sentence(rule: Rule) -> str:
    """The rule as a person would say it, with its reason."""
    return f"{claim(rule)}: {rule.because}"


def claim(rule: Rule) -> str:
    """What the rule asks, without its reason."""
    some = getattr(rule, "rows", "all")
    where = "" if some == "all" else f" where {some}"
    name = getattr(rule, "of_class", None)
    of = "" if name is None else f" of {name}"
    said = {
        "forbidden_driver": lambda r: f"{r.column} may drive at most {r.share:.0%} of the prediction",
        "required_driver": lambda r: f"{r.column} must drive at least {r.share:.0%} of the prediction",
        "proxy": lambda r: f"features that give {r.column} away may drive at most {r.share:.0%} of the prediction",
        "direction": lambda r: f"the score{of} {r.sign} with {r.column}{where}",
        "monotone": lambda r: f"the score{of} {r.sign} with {r.column} without turning back{where}",
        "score_range": lambda r: f"scores{of} lie {range_words(r.low, r.high)}{where}",
        "vignette": lambda r: (
            f"{case_words(r.case)} scores{of} "
            + (f"above {case_words(r.above)}" if r.above else f"between {r.between[0]:g} and {r.between[1]:g}")
        ),
        "invariance": lambda r: f"a change of {r.column} alone moves the score{of} by at most {r.at_most:g}{where}",
    }
    return said[rule.rule](rule)
