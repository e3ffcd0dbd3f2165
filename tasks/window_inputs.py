"""What a look at a window needs: the version's fitted reference, and all that is known of the window, read once and in
chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache

import pandas as pd

from tasks.apart import ModelApart, answering
from tasks.data import check_window
from tasks.labels import Sources, labels_policy
from tasks.records.log.predictions import PredictionLog, Window
from tasks.records.log.reading import EXTRAS
from tasks.science.data.tables import LABEL, SOURCE
from tasks.science.monitors.drift.findings import window_p_values
from tasks.science.monitors.drift.monitor import DRIFT
from tasks.science.monitors.profiles.profile import Profile, merge, profile
from tasks.science.monitors.protocol import Reference, WindowInput
from tasks.science.windows.reference import fit_reference, load_reference, reference_document
from tasks.spec.base import load_registered
from tasks.spec.columns import decoded
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.evidence import WindowReport
from tasks.spec.model import ModelConfig
from tasks.spec.rules import ExpertRules
from tasks.spec.settings import Settings
from tasks.versions import VersionFiles

HISTORY = 60
"""Windows of one version that a look knows of; so its cost does not grow with the history."""
P_VALUES = 400
"""Windows whose p-values set the level of the next one, so that false discoveries over time stay rare."""
RECENT_WINDOWS, RECENT_ROWS = 3, 5000
"""Labelled rows of windows before, which may contradict an estimate."""
BACKGROUND = 1000


@contextmanager
def open_log() -> Iterator[PredictionLog]:
    log = PredictionLog(Settings().log_database)
    try:
        yield log
    finally:
        log.close()


def _model(files: VersionFiles) -> ModelApart:
    return answering(files.model, files.code)


@lru_cache(maxsize=4)
def reference_of(files: VersionFiles, database: str) -> Reference:
    """The version's reference, fitted by whoever asks first and kept in the log beside what rests on it."""
    config, rows = files.config, files.reference()
    log = PredictionLog(database)
    kept = None
    try:
        try:
            kept = log.reference(config.name, files.version)
            if kept is not None:
                return load_reference(kept, rows)
        except (ConfigError, CorruptionError):
            pass  # another format, damaged, or without what a new monitor fits: what is lacking is fitted
        found = fit_reference(config, _model(files).representing(config), rows, _explain(files, rows), kept)
        log.keep_reference(config.name, files.version, reference_document(found))
    finally:
        log.close()
    return found


def _explain(files: VersionFiles, background: pd.DataFrame) -> Callable[[pd.DataFrame, int], pd.DataFrame]:
    """Attributions of raw rows, against reference rows where the model's kind needs a background."""
    return _model(files).explainer(background.sample(min(BACKGROUND, len(background)), random_state=files.config.seed))


def read_window(
    log: PredictionLog, files: VersionFiles, reference: Reference, window: Window, now: datetime | None = None
) -> WindowInput:
    """Read one window: every row is counted into its profile, some are looked at row by row."""
    config, model = files.config, files.config.name
    answers, explain = _model(files), _explain(files, reference.rows)
    sources, most = _sources(config), config.monitoring.sampled_rows
    sample = log.sample(model, window.first_seq, window.last_seq, most, config.seed, extras=bool(sources))
    rows, counted = decoded(config.inputs, _named(sample, sources)), _profile(log, config, reference, window)
    facts = log.feed(model, window.first_seq, window.last_seq)
    expectations = files.folder / "expectations.yaml"
    rules = files.folder / "rules.yaml"
    log.keep_profile(model, window.number, counted.document())
    log.keep_feed_facts(model, window.number, facts)
    p_values = window_p_values(config, reference.fitted[DRIFT.name], counted, reference.importance)
    log.keep_p_values(model, window.version, window.number, p_values)
    history = log.reports(model, last=HISTORY, version=window.version)
    asked = any(r.window == window.number and r.label_request is not None for r in history)
    return WindowInput(
        number=window.number,
        rows=rows,
        profile=counted,
        facts=facts,
        facts_before=log.feed_facts(model, before=window.number, last=HISTORY),
        checks=check_window(config, expectations, rows) if expectations.exists() else [],
        rules=load_registered(rules, ExpertRules) if rules.exists() else None,
        represent=answers.representing(config),
        predict=answers.score,
        explain=explain,
        history=history,
        past=log.p_values(model, window.version, before=window.number, last=P_VALUES),
        recent=_recent(log, config, window, sources, _asked_alone(history)),
        now=now or datetime.now(UTC),
        unsure=frozenset(_unsure(answers_of(log, model, window.first_seq, window.last_seq)) if asked else ()),
    )


def answers_of(log: PredictionLog, model: str, first_seq: int, last_seq: int) -> pd.DataFrame:
    """``_id``, ``_label`` and ``_review`` of the rows between two positions, as they are now."""
    return log.frame(model, first_seq, last_seq, extras=True, columns=["_id", LABEL, "_review"])


def _unsure(rows: pd.DataFrame) -> list[str]:
    return rows.loc[rows["_review"] == "unsure", "_id"].astype(str).tolist()


def _profile(log: PredictionLog, config: ModelConfig, reference: Reference, window: Window) -> Profile:
    found: Profile | None = None
    for chunk in log.chunks(reference.layout.model, window.first_seq, window.last_seq):
        part = profile(reference.layout, decoded(config.inputs, chunk))
        found = part if found is None else merge(found, part)
    return profile(reference.layout, reference.rows.iloc[:0]) if found is None else found


def _sources(config: ModelConfig) -> Mapping[str | None, str]:
    """Whose labels may teach, by sender; none where fewer than two sources may, so that none could contradict another.

    What came with a stolen key is of nobody here: who knows of the theft needs no finding.
    """
    found = Sources.of(Settings(), labels_policy(config))
    names = {sender: name for sender, name in found.names.items() if found.until[sender] is None}
    return names if len(set(names.values())) > 1 else {}


def _named(rows: pd.DataFrame, sources: Mapping[str | None, str]) -> pd.DataFrame:
    """The rows with who labelled each, of those who may teach; without what people and keys said besides."""
    if not sources:
        return rows
    sender = [one if isinstance(one, str) else None for one in rows["_label_sender"]]  # None is who has no key
    named = [sources.get(one) if known else None for one, known in zip(sender, rows["_label"].notna(), strict=True)]
    return rows.drop(columns=[name for name in EXTRAS if name in rows]).assign(
        **{SOURCE: pd.Series(named, rows.index, dtype="str")}
    )


def _asked_alone(history: Sequence[WindowReport]) -> set[str]:
    """Rows that were asked for in windows of which little else is labelled: they are not like their windows."""
    few = [r for r in history if not any(f.kind == "realized_performance" and f.value is not None for f in r.findings)]
    return {row.id for r in few if r.label_request is not None for row in r.label_request.rows}


def _recent(
    log: PredictionLog, config: ModelConfig, window: Window, sources: Mapping[str | None, str], left_out: set[str]
) -> pd.DataFrame:
    """Labelled rows of this version's last windows before this one, the newest :data:`RECENT_ROWS`."""
    model = config.name
    before = [
        w
        for n in range(max(window.number - RECENT_WINDOWS, 1), window.number)
        if (w := log.window(model, n)) is not None and w.version == window.version
    ]
    if not before:
        return log.frame(model, 1, 0)
    first, last = before[0].first_seq, before[-1].last_seq
    rows = _named(log.sample(model, first, last, RECENT_ROWS, window.number, extras=bool(sources)), sources)
    return decoded(config.inputs, rows[rows["_label"].notna() & ~rows["_id"].isin(left_out)])
