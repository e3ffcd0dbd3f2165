"""Has a feed stopped? Asked without a window, for a stopped feed closes none."""

from __future__ import annotations

from datetime import datetime

from tasks.science.monitors.feed.common import CLOCK_SECONDS, feed_finding, in_utc, parsed_time, span
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig


def silence_findings(
    config: ModelConfig,
    newest_prediction: str | None,
    newest_outcome: str | None,
    now: datetime,
    first_prediction: str | None = None,
) -> list[Finding]:
    """Has a feed stopped? Needs no window, for a stopped feed closes none.

    Outcomes are missed only while predictions are made: where the newest outcome is later than the newest
    prediction, nothing is waited for. Where none has ever come, they are waited for since ``first_prediction``.
    """
    feed, moment = config.monitoring.feed, in_utc(now)
    prediction, outcome = parsed_time(newest_prediction), parsed_time(newest_outcome)
    return [
        _silence("predictions", feed.silent_seconds, "silent_seconds", newest_prediction, prediction, moment),
        _no_outcomes(feed.labels_seconds, newest_outcome, outcome, prediction, parsed_time(first_prediction), moment),
    ]


def _silence(
    subject: str, longest: int | None, key: str, text: str | None, newest: datetime | None, now: datetime
) -> Finding:
    if longest is None:
        return feed_finding(
            subject, None, 0, False, f"silence of the {subject} is not watched, for monitoring.feed.{key} is not set"
        )
    if newest is None:
        why = "none has ever come" if text is None else f"the time of the newest, {text!r}, cannot be read"
        return feed_finding(
            subject, None, 0, text is not None, f"how long no {subject} came is not known: {why}", limit=float(longest)
        )
    silent = (now - newest).total_seconds()
    if silent < -CLOCK_SECONDS:
        return feed_finding(
            subject,
            silent,
            0,
            True,
            (
                f"the newest of the {subject} is dated {span(-silent)} after now: a clock is wrong, and silence "
                "cannot be judged"
            ),
            limit=float(longest),
        )
    sentence = f"the newest of the {subject} came {span(max(silent, 0.0))} ago; {span(longest)} are allowed"
    return feed_finding(
        subject,
        max(silent, 0.0),
        0,
        silent > longest,
        ("the feed has stopped: " if silent > longest else "") + sentence,
        limit=float(longest),
    )


def _no_outcomes(
    longest: int | None,
    text: str | None,
    outcome: datetime | None,
    prediction: datetime | None,
    first: datetime | None,
    now: datetime,
) -> Finding:
    if longest is not None and text is None and first is not None:
        waited = (now - first).total_seconds()
        sentence = (
            f"no outcome has ever come, and the first prediction was made {span(max(waited, 0.0))} ago; "
            f"{span(longest)} are allowed"
        )
        return feed_finding("outcomes", waited, 0, waited > longest, sentence, limit=float(longest))
    if longest is not None and outcome is not None and prediction is not None and prediction <= outcome <= now:
        return feed_finding(
            "outcomes",
            (now - outcome).total_seconds(),
            0,
            False,
            "no prediction was made after the newest outcome, so none is missing",
            limit=float(longest),
        )
    return _silence("outcomes", longest, "labels_seconds", text, outcome, now)
