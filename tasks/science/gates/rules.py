"""The gate over an expert's rules."""

from __future__ import annotations

from tasks.science.examination.examination import Examination
from tasks.science.examination.targets import wrong_scores
from tasks.science.examination.verdicts import result
from tasks.science.rules.check import check_rule, claim, spoken_of
from tasks.science.rules.plots import drivers, rule_plot
from tasks.spec.evidence import GateResult, Measurement, Plot
from tasks.spec.gates import RulesGate

RULES_METHOD = "attribution shares with bootstrap bounds; shares of rows with Clopper-Pearson bounds; cases exactly"


def rules(config: RulesGate, examination: Examination) -> GateResult:
    """Every expert rule."""
    if examination.rules is None or not examination.rules.rules:
        return result(config, "fail", "rules.yaml is missing or empty, and this gate asks for expert rules")
    wrong = wrong_scores(examination)
    if wrong:
        shown = drivers(examination.rules.rules, examination, config.confidence)
        return result(config, "fail", wrong, estimator=RULES_METHOD, plots=() if shown is None else (shown,))
    measured = tuple(check_rule(rule, examination, config.confidence) for rule in examination.rules.rules)
    plots = _plots(config, examination, measured)
    broken = [m for m in measured if m.state == "fail"]
    unclear = [m for m in measured if m.state == "insufficient_evidence"]
    if broken:
        text = "; ".join(
            m.label.rstrip(".") + (f" (it is {m.value:.3f})" if m.value is not None else "") for m in broken
        )
        return result(
            config, "fail", f"{len(broken)} of {len(measured)} rules are broken: {text}", measured, RULES_METHOD, plots
        )
    if unclear:
        return result(
            config,
            "insufficient_evidence",
            "cannot be decided: " + "; ".join(m.label for m in unclear),
            measured,
            RULES_METHOD,
            plots,
        )
    return result(config, "pass", f"all {len(measured)} rules hold", measured, RULES_METHOD, plots)


def _plots(config: RulesGate, examination: Examination, measured: tuple[Measurement, ...]) -> tuple[Plot, ...]:
    """Global importance, then a picture of each rule that has one."""
    assert examination.rules is not None
    rules = examination.rules.rules
    found = [drivers(rules, examination, config.confidence)]
    # a rule that cannot be asked has no number, and no picture
    found += [
        rule_plot(rule, claim(rule), m, spoken_of(rule, examination), config.confidence)
        for rule, m in zip(rules, measured, strict=True)
        if m.rows
    ]
    return tuple(plot for plot in found if plot is not None)[:60]
