"""The monitors that look at every window, in the order in which they look.

A new monitor is one module with a :class:`~tasks.science.monitors.protocol.Monitor`, and one entry in :data:`MONITORS`.
It changes no other's level: each kind of finding declares the part of ``monitoring.alpha`` that its tests may spend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from tasks.science.monitors.drift.monitor import ATTRIBUTION, DRIFT, MULTIVARIATE
from tasks.science.monitors.expert_rules.monitor import EXPERT_RULES
from tasks.science.monitors.feed.monitor import DATA_QUALITY, FEED
from tasks.science.monitors.forecast.monitor import FORECAST
from tasks.science.monitors.groupings.monitor import GROUPINGS
from tasks.science.monitors.performance.monitor import PERFORMANCE
from tasks.science.monitors.protocol import Concern, FindingKind, Monitor
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig

MONITORS: tuple[Monitor, ...] = (
    DATA_QUALITY,
    FEED,
    DRIFT,
    MULTIVARIATE,
    ATTRIBUTION,
    EXPERT_RULES,
    GROUPINGS,
    PERFORMANCE,
    FORECAST,
)
"""The shares of alpha that these declare add up to 1. ``FORECAST`` reads what those before it found."""
RESERVE = Fraction(1, 4)
"""Part of ``monitoring.alpha`` that added monitors may spend on top of it, all of them together.

The shipped kinds spend all of alpha (Bonferroni), and none of them gives way. So with added monitors, the chance of any
false alarm in a window is at most :func:`share_spent` times ``monitoring.alpha``, and never above 1.25 times."""
RESERVED_NAMES = ("format", "attributions")
"""Keys that the stored reference has beside the monitors' names."""


def watching() -> tuple[Monitor, ...]:
    """The monitors, once it is sure that they fit together.

    Raises:
        ConfigError: two monitors have one name or give one kind of finding, or all together spend too much of alpha.
    """
    refuse_unsound(MONITORS)
    return MONITORS


def refuse_unsound(monitors: Sequence[Monitor]) -> None:
    """See :func:`watching`; the monitors are those given here."""
    names = [m.name for m in monitors]
    kinds = [k.name for m in monitors for k in m.kinds]
    for what, found in (("monitors are named", names), ("monitors give findings of the kind", kinds)):
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise ConfigError(f"two {what} {', '.join(map(repr, twice))}; give each its own in MONITORS.")
    taken = sorted(set(names) & set(RESERVED_NAMES))
    if taken:
        raise ConfigError(f"a monitor is named {taken[0]!r}; allowed is any name but {', '.join(RESERVED_NAMES)}.")
    wrong = [k.name for m in monitors for k in m.kinds if not 0 <= k.share <= 1]
    if wrong:
        raise ConfigError(f"the share of alpha of {', '.join(wrong)} is not from 0 to 1; declare a part of the whole.")
    spent = share_spent(monitors)
    if spent > 1 + RESERVE:
        raise ConfigError(
            f"the monitors spend {float(spent):.4g} times monitoring.alpha, and at most {float(1 + RESERVE):.4g} is "
            "allowed; declare smaller shares for the kinds that were added. Shares are never taken from other "
            "monitors."
        )


def share_spent(monitors: Sequence[Monitor]) -> Fraction:
    """Sum of the shares of alpha: where nothing changed, any alarm has at most the chance of this times alpha
    (Bonferroni)."""
    return sum((k.share for m in monitors for k in m.kinds), Fraction(0))


def kinds() -> dict[str, FindingKind]:
    """All kinds of findings by name, in the order in which a person should hear of them; equal ranks in order of
    :data:`MONITORS`."""
    ranked = sorted((k for m in watching() for k in m.kinds), key=lambda k: k.rank)
    return {k.name: k for k in ranked}


def kinds_about(concern: Concern) -> set[str]:
    """Names of the kinds of findings whose alarms are about one thing."""
    return {k.name for k in kinds().values() if k.concern == concern}


def ranks() -> dict[str, int]:
    """By kind of finding, its place in the order in which a person should hear of alarms, from 0."""
    return {name: place for place, name in enumerate(kinds())}


def levels(config: ModelConfig) -> Mapping[str, float]:
    """By kind of finding, the part of ``monitoring.alpha`` that its tests may spend in one window."""
    return {name: config.monitoring.alpha * float(kind.share) for name, kind in kinds().items()}
