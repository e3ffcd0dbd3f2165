"""The monitor of what is to come."""

from __future__ import annotations

from tasks.science.monitors.forecast.findings import forecast_findings
from tasks.science.monitors.protocol import FindingKind, Look, Monitor, MonitorResult


class ForecastMonitor(Monitor):
    """Whether a limit will be crossed within the horizon. It reads the findings of the monitors before it.

    It spends no alpha: an alarm is a probability above ``monitoring.forecast.probability``.
    """

    name = "forecast"
    kinds = (FindingKind("forecast", rank=30, concern="forecast"),)
    of_labels = True

    def look(self, look: Look) -> MonitorResult:
        window = look.window
        findings, forecasts = forecast_findings(
            look.config, window.history, look.found, window.number, look.config.seed
        )
        return MonitorResult(findings, forecasts=forecasts)


FORECAST = ForecastMonitor()
