"""One analysis window against the reference of the version that answered it: every finding, alarm or not, and the
pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.science.monitors.performance.monitor import losses_of
from tasks.science.monitors.protocol import Look, Monitor, MonitorResult, Reference, WindowInput
from tasks.science.windows.label_requests import label_request
from tasks.science.windows.monitors import levels, watching
from tasks.science.windows.review import review_queue
from tasks.spec.evidence import Finding, Plot, WindowReport
from tasks.spec.forecast import Forecast
from tasks.spec.groupings import EmbeddingMap, GroupSummary
from tasks.spec.model import ModelConfig
from tasks.spec.review import LabelRequest, ReviewItem
from tasks.spec.wording import plural


@dataclass(frozen=True)
class WindowResult:
    """What one look gives."""

    findings: tuple[Finding, ...]
    """In the order of the monitors."""
    plots: tuple[Plot, ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    map: EmbeddingMap | None = None
    groups: GroupSummary | None = None
    review: tuple[ReviewItem, ...] = ()
    """Predictions that an expert should look at, most urgent first."""
    request: LabelRequest | None = None
    """Rows whose outcomes would settle what is open."""


def examine_window(config: ModelConfig, reference: Reference, window_input: WindowInput) -> WindowResult:
    """Compare a window with the reference, by every monitor in turn.

    Where nothing changed, any alarm at all has at most the chance ``monitoring.alpha``. Each kind of finding spends the
    share that its monitor declares, divided among its columns, metrics, groups or rules. What cannot be computed is a
    finding without a value that says why.
    """
    silent = _too_little(config, reference, window_input)
    look = Look(config, reference, window_input, levels(config))
    results = [_result(m, look) for m in watching() if silent is None or m.of_small_windows]
    if silent is not None:
        return WindowResult((*look.found, silent))
    breaks = [b for r in results for b in r.breaks]
    groups = next((r.group_of_row for r in results if r.group_of_row is not None), None)
    number, rows = window_input.number, window_input.rows
    queue = review_queue(config, reference.rows, rows, number, breaks, None, groups, config.seed)
    losses = losses_of(config, reference)
    return WindowResult(
        tuple(look.found),
        tuple(p for r in results for p in r.plots),
        tuple(f for r in results for f in r.forecasts),
        next((r.map for r in results if r.map is not None), None),
        next((r.groups for r in results if r.groups is not None), None),
        tuple(queue),
        label_request(config, reference.rows, rows, number, look.found, losses),
    )


def judge_again(
    config: ModelConfig, reference: Reference, window_input: WindowInput, before: WindowReport
) -> WindowResult:
    """The window once its labels came: the monitors of labels look anew.

    What needs no labels stands as it was found when the window was new, and so do the forecasts and pictures.
    """
    if _too_little(config, reference, window_input) is not None:
        return WindowResult(
            before.findings, (), before.forecasts, None, before.groups, before.review, before.label_request
        )
    look = Look(config, reference, window_input, levels(config))
    known = {kind.name for monitor in watching() for kind in monitor.kinds}
    look.found.extend(f for f in before.findings if f.kind not in known)  # of a monitor that looks no more
    for monitor in watching():
        if monitor.of_labels:
            _result(monitor, look)
        else:
            look.found.extend(_of(monitor, before.findings))
    return WindowResult(
        tuple(look.found), (), before.forecasts, None, before.groups, before.review, before.label_request
    )


def _result(monitor: Monitor, look: Look) -> MonitorResult:
    """One monitor's look; its findings are added to those found.

    Raises:
        ValueError: it gives a kind of finding that it does not declare, whose alarms nobody would know how to rank.
    """
    result = monitor.look(look)
    own = _of(monitor, result.findings)
    if len(own) < len(result.findings):
        other = next(f.kind for f in result.findings if f not in own)
        allowed = ", ".join(kind.name for kind in monitor.kinds)
        raise ValueError(f"monitor {monitor.name} gives a finding of kind {other!r}; it declares: {allowed}.")
    look.found.extend(result.findings)
    return result


def _of(monitor: Monitor, findings: Sequence[Finding]) -> list[Finding]:
    own = {kind.name for kind in monitor.kinds}
    return [f for f in findings if f.kind in own]


def _too_little(config: ModelConfig, reference: Reference, window_input: WindowInput) -> Finding | None:
    needed, rows = config.monitoring.minimum_rows, window_input.profile.rows
    if rows < needed:
        sentence = f"the window has {plural(rows, 'row')} and {needed} are needed, so nothing is concluded"
    elif reference.rows.empty:
        sentence = "the reference window has no rows, so there is nothing to compare with and nothing is concluded"
    else:
        return None
    return Finding(kind="data_drift", subject="window", value=None, rows=rows, alarm=False, sentence=sentence)
