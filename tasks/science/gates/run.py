"""The gates: each kind is one function from its config entry and the evidence to a result. All fail closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.science.examination.examination import Examination
from tasks.science.examination.verdicts import remedy, result
from tasks.science.gates.calibration import calibration
from tasks.science.gates.explanations import faithfulness, stability
from tasks.science.gates.fairness import fairness
from tasks.science.gates.leakage import leakage
from tasks.science.gates.metrics import comparison, data, floor
from tasks.science.gates.readiness import readiness
from tasks.science.gates.robustness import robustness
from tasks.science.gates.rules import rules
from tasks.science.gates.slices import slices
from tasks.science.gates.transparency import transparency
from tasks.spec.evidence import GateResult
from tasks.spec.gates import GateConfig

GATES: dict[str, Callable[[Any, Examination], GateResult]] = {
    "data": data,
    "floor": floor,
    "comparison": comparison,
    "fairness": fairness,
    "rules": rules,
    "readiness": readiness,
    "stability": stability,
    "faithfulness": faithfulness,
    "robustness": robustness,
    "calibration": calibration,
    "leakage": leakage,
    "slices": slices,
    "transparency": transparency,
}


WITHOUT_INTERVALS = ("data", "readiness", "stability", "faithfulness", "transparency")
"""Kinds that draw no conclusion from rows to the next ones; all others must know whose row is whose."""


def run_gate(config: GateConfig, examination: Examination) -> GateResult:
    """Run one gate.

    Pass: the confidence bound is on the right side of the limit. Fail: the estimate itself is on the wrong side, or
    what is needed is missing. Insufficient evidence: everything between.
    """
    wrong = config.problem(examination.kind, examination.classes)
    entity = None if examination.config is None else examination.config.data.entity
    if entity is not None and examination.entity is None and config.kind not in WITHOUT_INTERVALS:
        wrong = wrong or f"rows have the entity {entity}, and whose row it is was not given to this gate"
    if wrong:
        return result(config, "fail", wrong)
    found = GATES[config.kind](config, examination)
    return found if found.remedy else found.model_copy(update={"remedy": remedy(found)})
