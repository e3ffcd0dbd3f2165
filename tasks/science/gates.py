"""The gates: each kind is one function from its config entry and the evidence to a result. All fail closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.science.examination import Examination
from tasks.science.gate_attributions import faithfulness, stability
from tasks.science.gate_benchmarks import comparison, data, floor
from tasks.science.gate_calibration import calibration
from tasks.science.gate_fairness import fairness
from tasks.science.gate_leakage import leakage
from tasks.science.gate_readiness import readiness
from tasks.science.gate_robustness import robustness
from tasks.science.gate_rules import rules
from tasks.science.gate_slices import slices
from tasks.science.judging import remedy
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
}


def run_gate(config: GateConfig, examination: Examination) -> GateResult:
    """Run one gate.

    Pass: the confidence bound is on the right side of the limit. Fail: the estimate itself is on the wrong side, or
    what is needed is missing. Insufficient evidence: everything between.
    """
    found = GATES[config.kind](config, examination)
    return found if found.remedy else found.model_copy(update={"remedy": remedy(found)})
