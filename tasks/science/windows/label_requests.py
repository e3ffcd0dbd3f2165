"""Which rows' outcomes would settle what a window leaves open, and whether answers have come."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.science.data.tables import LABEL
from tasks.science.monitors.performance.direct_loss import LossModel
from tasks.science.monitors.performance.realized import labelled_part
from tasks.science.monitors.performance.sampled import row_losses
from tasks.science.stats.label_sample import LabelSample, draw_sample
from tasks.spec.evidence import Finding, WindowReport
from tasks.spec.model import ModelConfig
from tasks.spec.review import AskedRow, LabelRequest

DENSER = 3.0
"""Times as dense in the window as in the reference from which a value is one that drifted."""
BINS = 20


def label_request(
    config: ModelConfig,
    reference: pd.DataFrame,
    window: pd.DataFrame,
    number: int,
    findings: Sequence[Finding],
    fitted: LossModel | None = None,
) -> LabelRequest | None:
    """The rows to ask about; None where nothing is open, no metric can be shown by a sample, or none may be asked.

    Something is open where a watched metric has no realized value and its estimate does not do: it abstains, raises an
    alarm, or was wrong too often before. So it is where a foreseen breach rests on the estimate.

    Chances follow how uncertain each row's loss is by its score. Rows with values that drifted get strata of their own.
    The draw depends on the window's ids, which nobody knew while its rows were made.

    Args:
        reference: (m, columns) raw inputs, scores, labels. window: (n, columns) the same, and ``_id``.
        findings: of the window.
    """
    most = min(config.monitoring.labelling.most, int(np.ceil(config.monitoring.label_share * len(window))) - 1)
    if most < 1 or "_id" not in window or window["_id"].isna().any():
        return None
    known, spreads, whys = labelled_part(reference), [], []
    for metric in config.watched:
        why = open_question(metric, findings)
        by_row = row_losses(config, metric, window, known, fitted) if why and len(known) > 1 else None
        if by_row is not None and by_row.spread.mean() > 0:
            whys.append(why)
            spreads.append(by_row.spread / by_row.spread.mean())
    if not whys:
        return None
    ids = window["_id"].astype(str).tolist()
    said = "\n".join([str(config.seed), config.name, str(number), *ids]).encode()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(said).digest()))
    sample = draw_sample(np.mean(spreads, axis=0), most, rng, moved_rows(config, reference, window, findings))
    if not len(sample.position):
        return None
    rows = tuple(
        AskedRow(id=ids[p], stratum=int(s), turn=int(t))
        for p, s, t in zip(sample.position, sample.stratum, sample.turn, strict=True)
    )
    return LabelRequest(why="; ".join(whys), rows=rows, strata=tuple(int(n) for n in sample.rows))


def open_question(metric: str, findings: Sequence[Finding]) -> str:
    """Why outcomes of the window would settle something about a metric, in words; empty where nothing is open."""
    of = {f.kind: f for f in findings if f.subject == metric}
    if (realized := of.get("realized_performance")) is not None and realized.value is not None:
        return ""
    estimated = of.get("estimated_performance")
    if estimated is not None and (estimated.value is None or estimated.alarm):
        return estimated.sentence
    for kind in ("estimator", "forecast"):
        if (found := of.get(kind)) is not None and found.alarm:
            return found.sentence
    return ""


def moved_rows(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, findings: Sequence[Finding]
) -> np.ndarray:
    """(n,) bool: rows with a value of a drifted feature that is far more frequent than in the reference."""
    moved = np.zeros(len(window), bool)
    drifted = {f.subject for f in findings if f.alarm and f.subject in config.features}
    for name in drifted & {*window.columns} & {*reference.columns}:
        then, now = (
            _cells(config, name, reference[name], reference[name]),
            _cells(config, name, reference[name], window[name]),
        )
        cells = max(then.max(initial=0), now.max(initial=0)) + 1
        before, after = (np.bincount(c, minlength=cells) / max(len(c), 1) for c in (then, now))
        moved |= (after > DENSER * before)[now]
    return moved


def _cells(config: ModelConfig, name: str, known: pd.Series, values: pd.Series) -> np.ndarray:
    """(n,) cell of each value: a category or a bin of the reference; what it does not have, and missing, come last."""
    if not config.column(name).kind.numeric:
        levels = known.dropna().unique()
        codes = pd.Categorical(values, categories=levels).codes.astype(int)
        return np.where(codes >= 0, codes, np.where(values.isna(), len(levels), len(levels) + 1))
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    finite = pd.to_numeric(known, errors="coerce").dropna().to_numpy(float)
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, BINS + 1))) if len(finite) else np.empty(0)
    cells = np.searchsorted(edges, numbers, side="right") + (numbers > edges[-1] if len(edges) else 0)
    return np.where(np.isnan(numbers), len(edges) + 2, cells).astype(int)


def answered_rounds(request: LabelRequest, rows: pd.DataFrame) -> int:
    """Rounds, from the first without a gap, at whose answers one looks: the newest look that is complete.

    Args:
        rows: as of :func:`open_ids`.
    """
    waiting = open_ids(rows)
    turns = np.array([row.turn for row in request.rows])
    done = min([request.rounds, *(row.turn for row in request.rows if row.id in waiting)])
    looks = LabelSample(turns, turns, turns, np.array(request.strata)).looks
    return max((look for look in looks if look <= done), default=0)


def labelled_share(request: LabelRequest | None, rows: pd.DataFrame) -> float:
    """Share of a window's rows that are labelled; of those that nobody asked for, where some were asked for.

    Args:
        rows: as of :func:`open_ids`.
    """
    asked = {row.id for row in request.rows} if request is not None else set()
    others = rows.loc[~rows["_id"].astype(str).isin(asked), LABEL]
    return float(others.notna().mean()) if len(others) else 0.0


def waiting_rows(report: WindowReport, rows: pd.DataFrame) -> list[AskedRow]:
    """Rows of the report's request that nobody has answered, in the order of asking; none once labels settled it.

    Args:
        rows: as of :func:`open_ids`; what was forgotten is asked for no more.
    """
    known = {f.subject for f in report.findings if f.kind == "realized_performance" and f.value is not None}
    if report.label_request is None or known:
        return []
    waiting = open_ids(rows)
    return [row for row in report.label_request.rows if row.id in waiting]


def open_ids(rows: pd.DataFrame) -> set[str]:
    """Rows without an outcome of which nobody said that it cannot be known.

    Args:
        rows: of the log, with ``_id``, ``_label`` and ``_review``.
    """
    return set(rows.loc[rows[LABEL].isna() & (rows["_review"] != "unsure"), "_id"].astype(str))
