"""How the trigger's calls turned out: hits with their lead, false calls, what was prevented, and breaches that came
without a call."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from tasks.science.monitors.forecast.findings import WatchedSeries, watched_series
from tasks.science.monitors.forecast.forecast import is_beyond
from tasks.spec.evidence import WindowReport
from tasks.spec.forecast import Call, Outcome, TriggerRecord
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

WORDS = {
    "hit": "✓ breach came",
    "false": "✕ no breach came",
    "prevented": "↷ replaced before",
    "open": "… still open",
    "missed": "✕ breach without a call",
}
WORDED: tuple[tuple[Outcome, str, str], ...] = (
    ("hit", "hit", "hits"),
    ("false", "false call", "false calls"),
    ("missed", "breach", "breaches"),
)


def trigger_record(config: ModelConfig, reports: Sequence[WindowReport]) -> TriggerRecord:
    """What became of every call, from the findings that the reports keep.

    A breach begins in a window whose value (realized, else estimated) is beyond the limit and is over after
    ``clear_windows`` whose value is not. A call is a forecast that is an alarm while there is no breach; it holds for
    the horizon, and alarms while it holds are the same call.

    Args:
        reports: of all versions; a call counts for the version that it was made for.
    """
    calls: list[Call] = []
    judged = 0
    for version in dict.fromkeys(r.version for r in sorted(reports, key=lambda r: r.window)):
        own = sorted((r for r in reports if r.version == version), key=lambda r: r.window)
        judged += sum(any(f.kind == "forecast" and f.value is not None for f in r.findings) for r in own)
        others = [r.window for r in reports if r.version != version]
        for watched in watched_series(config, [(r.window, r.findings) for r in own]):
            calls += _calls(config, watched, own, others)
    return TriggerRecord(calls=tuple(sorted(calls, key=lambda c: c.window)), judged=judged)


def _calls(
    config: ModelConfig, watched: WatchedSeries, own: Sequence[WindowReport], others: Sequence[int]
) -> list[Call]:
    horizon, clear = config.monitoring.forecast.horizon, config.monitoring.clear_windows
    beyond = {o.window: is_beyond(o.value, watched.limit, watched.greater_is_better) for o in watched.series}
    made: list[Call] = []
    until, quiet, foreseen = -1, clear, False
    for report in own:
        window = report.window
        said = next((f for f in report.findings if f.kind == "forecast" and f.subject == watched.subject), None)
        if beyond.get(window):
            if quiet >= clear and window > until:
                made.append(_missed(watched.subject, report, foreseen))
            quiet, until = 0, -1  # the breach settles the call; what is called from here on is another one
        elif window in beyond:
            quiet += 1
        foreseen = foreseen or (said is not None and said.value is not None)
        if said is not None and said.alarm and quiet >= clear and window >= until:
            until = window + horizon
            made.append(_call(watched.subject, report, said.value, horizon, beyond, others, own[-1].window))
    return made


def _missed(subject: str, report: WindowReport, foreseen: bool) -> Call:
    why = "no call came before it" if foreseen else "there was no forecast yet"
    sentence = f"{subject} crossed its limit in window {report.window}, and {why}"
    return Call(
        subject=subject,
        version=report.version,
        window=report.window,
        outcome="missed",
        breach=report.window,
        sentence=sentence,
    )


def _call(
    subject: str,
    report: WindowReport,
    probability: float | None,
    horizon: int,
    beyond: dict[int, bool],
    others: Sequence[int],
    newest: int,
) -> Call:
    window, end = report.window, report.window + horizon
    replaced = min((w for w in others if w > window), default=None)
    breach = min((w for w, over in beyond.items() if over and window < w <= end), default=None)
    call = Call(
        subject=subject,
        version=report.version,
        window=window,
        within=horizon,
        probability=probability,
        outcome="open",
        sentence=f"called after window {window}; not settled yet",
    )
    if breach is not None and (replaced is None or breach < replaced):
        lead = breach - window
        return call.model_copy(
            update={
                "outcome": "hit",
                "breach": breach,
                "lead": lead,
                "sentence": f"called after window {window}; the breach came in window {breach}, {lead} later",
            }
        )
    if replaced is not None and replaced <= end:
        text = (
            f"called after window {window}; {report.version} was replaced before window {replaced}, and no breach "
            "had come"
        )
        return call.model_copy(update={"outcome": "prevented", "sentence": text})
    if newest >= end:
        return call.model_copy(
            update={"outcome": "false", "sentence": f"called after window {window}; no breach came up to window {end}"}
        )
    return call


def record_sentence(record: TriggerRecord) -> str:
    """The record in a sentence."""
    if not record.calls:
        return (
            f"nothing was called and nothing missed in {plural(record.judged, 'window')} with a forecast"
            if record.judged
            else "no window had a forecast yet"
        )
    lead = f" with a median lead of {plural(median(record.leads), 'window')}" if record.leads else ""
    hits, wrong, missed = (f"{record.count(o)} {word if record.count(o) == 1 else many}" for o, word, many in WORDED)
    sentence = f"{hits}{lead}, {wrong}, {record.count('prevented')} prevented, {record.count('open')} open"
    return f"in {plural(record.judged, 'window')} with a forecast: {sentence}; {missed} came without a call"


def record_rows(record: TriggerRecord) -> list[dict[str, str]]:
    """The record for a table, newest first: one row a call, or a breach without one."""
    return [
        {
            "window": str(c.window),
            "version": c.version,
            "what": c.subject,
            "within": "" if c.within is None else plural(c.within, "window"),
            "probability": "" if c.probability is None else f"{c.probability:.2f}",
            "happened": WORDS[c.outcome],
            "lead": "" if c.lead is None else str(c.lead),
            "sentence": c.sentence,
        }
        for c in reversed(record.calls)
    ]
