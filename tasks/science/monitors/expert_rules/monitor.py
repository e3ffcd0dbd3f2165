"""The monitor of expert rules."""

from __future__ import annotations

from fractions import Fraction

from tasks.science.monitors.expert_rules.findings import live_rule_findings
from tasks.science.monitors.protocol import FindingKind, Look, Monitor, MonitorResult
from tasks.spec.evidence import Finding

KIND = "expert_rule"


class ExpertRuleMonitor(Monitor):
    """Every expert rule of the version, asked of the window."""

    name = "expert_rules"
    kinds = (FindingKind(KIND, rank=90, share=Fraction(1, 16)),)

    def look(self, look: Look) -> MonitorResult:
        window, reference = look.window, look.reference
        if look.absent:
            gone = ", ".join(look.absent)
            text = f"the rows of the window lack {gone}, so the version cannot score or explain them, "
            text += "and neither rules nor attributions are checked"
            rows = len(window.rows)
            return MonitorResult(
                [Finding(kind=KIND, subject="rules", value=None, rows=rows, alarm=False, sentence=text)]
            )
        if window.rules is None:
            return MonitorResult([])
        findings, plots, breaks = live_rule_findings(
            look.config,
            window.rules,
            window.predict,
            window.rows,
            reference.rows,
            look.attributions,
            reference.attributions,
            look.levels[KIND],
            look.config.seed,
        )
        return MonitorResult(findings, plots=plots, breaks=breaks)


EXPERT_RULES = ExpertRuleMonitor()
