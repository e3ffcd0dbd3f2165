"""The monitors fit together: who gives which finding, what each may spend of alpha, and in which order a person hears
of alarms."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tasks.science.monitors.protocol import FindingKind, Look, Monitor, MonitorResult
from tasks.science.windows import monitors
from tasks.science.windows.look import examine_window
from tasks.science.windows.monitors import MONITORS, kinds, kinds_about, levels, refuse_unsound, share_spent
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Finding
from tasks.spec.model import load_model
from tests.conftest import ROOT
from tests.worlds import world


class Fixed(Monitor):
    """Gives the findings that a test asks for."""

    def __init__(self, name: str, *own: FindingKind, gives: str = "") -> None:
        self.name, self.kinds, self.gives = name, own, gives

    def look(self, look: Look) -> MonitorResult:
        sentence = f"{self.gives} speaks"
        return MonitorResult([Finding(kind=self.gives, subject="x", value=1.0, rows=1, alarm=True, sentence=sentence)])


def test_the_shipped_monitors_spend_alpha_exactly_and_no_kind_more_than_a_sixteenth() -> None:
    assert share_spent(MONITORS) == 1
    config = load_model(ROOT, "care")
    found = levels(config)
    assert found.pop("forecast") == 0.0
    shares = {name: round(config.monitoring.alpha / level) for name, level in found.items() if level < 0.01 / 16}
    halves = ("label_drift", "realized_fairness")
    quarters = ("estimated_fairness", "protected_groups", "label_sources", "estimator")
    assert len(found) == 20 and shares == dict.fromkeys(halves, 32) | dict.fromkeys(quarters, 64)
    assert max(found.values()) == config.monitoring.alpha / 16


def test_a_person_hears_of_performance_first_and_of_the_estimator_last() -> None:
    assert list(kinds()) == [
        "realized_performance", "label_sources", "label_drift", "estimated_performance", "forecast", "prediction_drift",
        "selection_rate", "realized_fairness", "estimated_fairness", "protected_groups", "data_quality", "feed",
        "expert_rule", "attribution_drift", "missingness", "new_category", "out_of_range", "data_drift",
        "multivariate_drift", "grouping", "estimator",
    ]  # fmt: skip
    assert kinds_about("performance") == {"realized_performance", "estimated_performance"}
    assert kinds_about("feed") == {"data_quality", "feed"}
    assert kinds_about("drift") == {"data_drift", "missingness", "new_category", "out_of_range"}


@pytest.mark.parametrize(
    ("added", "says"),
    [
        (Fixed("drift", FindingKind("tail", 5)), "two monitors are named 'drift'; give each its own"),
        (Fixed("tail", FindingKind("feed", 5)), "two monitors give findings of the kind 'feed'; give each its own"),
        (Fixed("format", FindingKind("tail", 5)), "a monitor is named 'format'"),
        (Fixed("tail", FindingKind("tail", 5, Fraction(-1, 16))), "the share of alpha of tail is not from 0 to 1"),
        (
            Fixed("tail", FindingKind("tail", 5, Fraction(5, 16))),
            "the monitors spend 1.312 times monitoring.alpha, and at most 1.25 is allowed",
        ),
    ],
)
def test_monitors_that_do_not_fit_together_are_refused(
    added: Monitor, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=says):
        refuse_unsound((*MONITORS, added))
    monkeypatch.setattr(monitors, "MONITORS", (*MONITORS, added))
    with pytest.raises(ConfigError, match=says):
        levels(load_model(ROOT, "care"))


def test_the_reserve_is_spent_by_added_monitors_and_by_no_one_else(monkeypatch: pytest.MonkeyPatch) -> None:
    config, before = load_model(ROOT, "care"), dict(levels(load_model(ROOT, "care")))
    monkeypatch.setattr(monitors, "MONITORS", (*MONITORS, Fixed("tail", FindingKind("tail", 5, Fraction(1, 4)))))
    after = dict(levels(config))
    assert after.pop("tail") == config.monitoring.alpha / 4
    assert after == before


def test_a_finding_of_a_kind_that_its_monitor_does_not_declare_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    care, rng = world(), np.random.default_rng(0)
    tail = Fixed("tail", FindingKind("tail", 5), gives="feed")
    monkeypatch.setattr(monitors, "MONITORS", (tail, *(m for m in MONITORS if m.name in ("drift", "data_quality"))))
    window = care.answered(care.people(300, rng), rng)
    with pytest.raises(ValueError, match="monitor tail gives a finding of kind 'feed'; it declares: tail"):
        examine_window(care.config, care.reference, care.window_input(window))
