"""The monitor of performance: realized where labels are known, estimated where they are not."""

from __future__ import annotations

from fractions import Fraction

from tasks.science.monitors.performance.direct_loss import LossModel
from tasks.science.monitors.performance.estimators import reference_losses
from tasks.science.monitors.performance.findings import performance_findings
from tasks.science.monitors.protocol import FindingKind, Look, Monitor, MonitorResult


class PerformanceMonitor(Monitor):
    """The watched metrics and the fairness of the version, and how far its estimates were off."""

    name = "performance"
    kinds = (
        FindingKind("realized_performance", rank=10, share=Fraction(1, 16), concern="performance"),
        FindingKind("label_sources", rank=12, share=Fraction(1, 64)),
        FindingKind("label_drift", rank=15, share=Fraction(1, 32)),
        FindingKind("estimated_performance", rank=20, share=Fraction(1, 16), concern="performance"),
        FindingKind("realized_fairness", rank=55, share=Fraction(1, 32)),
        FindingKind("estimated_fairness", rank=60, share=Fraction(1, 64)),
        FindingKind("protected_groups", rank=65, share=Fraction(1, 64)),
        FindingKind("estimator", rank=170, share=Fraction(1, 64)),
    )
    of_labels = True

    def look(self, look: Look) -> MonitorResult:
        config, reference, window = look.config, look.reference, look.window
        losses: LossModel | None = None
        if config.kind == "regression":
            losses = reference.cached("losses", lambda: reference_losses(config, reference.rows, config.seed))
        return MonitorResult(
            performance_findings(
                config,
                reference.rows,
                window.rows,
                reference.importance,
                look.levels,
                config.seed,
                window.history,
                window.recent,
                losses,
                window.number,
            )
        )


PERFORMANCE = PerformanceMonitor()
