"""The monitors of drift: of each column and of the scores, of the inputs together, and of the attributions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tasks.science.monitors.drift.attribution import attribution_findings
from tasks.science.monitors.drift.findings import drift_findings
from tasks.science.monitors.drift.multivariate import multivariate_findings
from tasks.science.monitors.drift.reference import DriftReference, fit_reference, load_drift_reference
from tasks.science.monitors.protocol import FindingKind, FitInput, Look, Monitor, MonitorResult
from tasks.science.stats.multiplicity import levels


class DriftMonitor(Monitor):
    """Each input column, the scores and the selection rates, by the counts of all rows."""

    name = "drift"
    kinds = (
        FindingKind("prediction_drift", rank=40, share=Fraction(1, 16)),
        FindingKind("selection_rate", rank=50, share=Fraction(1, 16)),
        FindingKind("missingness", rank=110, share=Fraction(1, 16), concern="drift"),
        FindingKind("new_category", rank=120, share=Fraction(1, 16), concern="drift"),
        FindingKind("out_of_range", rank=130, share=Fraction(1, 16), concern="drift"),
        FindingKind("data_drift", rank=140, share=Fraction(1, 16), concern="drift"),
    )

    def fit(self, basis: FitInput) -> dict[str, Any]:
        return fit_reference(basis.config, basis.rows, basis.config.seed).document()

    def load(self, document: dict[str, Any]) -> DriftReference:
        return load_drift_reference(document)

    def look(self, look: Look) -> MonitorResult:
        """Beside the shares of alpha, the false discoveries over the windows of the version are held."""
        reference: DriftReference = look.reference.fitted[self.name]
        spent = levels({k.name: look.levels[k.name] for k in self.kinds}, look.window.past)
        return MonitorResult(
            drift_findings(look.config, reference, look.window.profile, look.reference.importance, spent)
        )


class MultivariateMonitor(Monitor):
    """The inputs taken together."""

    name = "multivariate_drift"
    kinds = (FindingKind("multivariate_drift", rank=150, share=Fraction(1, 16)),)

    def look(self, look: Look) -> MonitorResult:
        level, seed = look.levels["multivariate_drift"], look.config.seed
        return MonitorResult(multivariate_findings(look.config, look.reference.rows, look.window.rows, level, seed))


class AttributionMonitor(Monitor):
    """What the model decides by. Where features are absent it is silent, and the monitor of expert rules says why."""

    name = "attribution_drift"
    kinds = (FindingKind("attribution_drift", rank=100, share=Fraction(1, 16)),)

    def look(self, look: Look) -> MonitorResult:
        if look.absent:
            return MonitorResult([])
        before, level, seed = look.reference.attributions, look.levels["attribution_drift"], look.config.seed
        return MonitorResult(attribution_findings(look.config, before, look.attributions, level, seed))


DRIFT, MULTIVARIATE, ATTRIBUTION = DriftMonitor(), MultivariateMonitor(), AttributionMonitor()
