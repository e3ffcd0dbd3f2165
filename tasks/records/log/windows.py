"""The log's windows, and what was found in them: reports, and their numbers as a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import sqlalchemy as sa

from tasks.records.log.database import Part
from tasks.records.log.outbox import Decision, keep
from tasks.records.log.tables import FINDINGS, PREDICTIONS, REPORTS, WINDOWS
from tasks.spec.evidence import WindowReport

CUT_AT_ONCE = 10
"""Windows that one transaction cuts at most, so that nobody else waits long."""


@dataclass(frozen=True)
class Window:
    """Consecutive predictions of one version: an analysis window."""

    number: int
    version: str
    first_seq: int
    last_seq: int
    rows: int


class Windows(Part):
    """Windows and their reports; each query is answered from the end of an index, so a long history costs nothing."""

    def next_windows(self, model: str, size: int, minimum: int, limit: int) -> list[Window]:
        """Up to ``limit`` closed windows without a report, oldest first.

        A window holds ``size`` predictions of one version; a change of version closes it early. The open end waits.
        Windows are cut and numbered once, by whoever comes first: every row before the open end is in just one. One
        of fewer than ``minimum`` rows has its number too, but is passed over.
        """
        while self._cut(model, size, minimum):
            pass
        w = WINDOWS.c
        query = (
            sa.select(w.number, w.version, w.first_seq, w.last_seq, w.rows)
            .where(w.model == model, w.waits.is_(True))
            .order_by(w.number)
            .limit(limit)
        )
        with self.database.engine.connect() as connection:
            return [Window(*row) for row in connection.execute(query)]

    def window(self, model: str, number: int) -> Window | None:
        """One window by its number, looked at or not; None where it was not cut."""
        w = WINDOWS.c
        query = sa.select(w.number, w.version, w.first_seq, w.last_seq, w.rows).where(
            w.model == model, w.number == number
        )
        with self.database.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return Window(*row) if row else None

    def newest_window(self, model: str) -> int:
        """The number of the window that was cut last; 0 before the first."""
        with self.database.engine.connect() as connection:
            return (
                connection.execute(sa.select(sa.func.max(WINDOWS.c.number)).where(WINDOWS.c.model == model)).scalar()
                or 0
            )

    def _cut(self, model: str, size: int, minimum: int) -> bool:
        """Cut what is complete behind the last window; gives whether it is worth looking again."""
        windows: list[dict[str, Any]] = []
        with self.database.engine.connect() as connection:
            last = connection.execute(
                sa.select(WINDOWS.c.last_seq, WINDOWS.c.number)
                .where(WINDOWS.c.model == model)
                .order_by(WINDOWS.c.number.desc())
                .limit(1)
            ).one_or_none()
            end, number = (last.last_seq, last.number) if last else (0, 0)
            while len(windows) < CUT_AT_ONCE and (found := _closed_window(connection, model, end, size)):
                number, end = number + 1, found["last_seq"]
                small = found["rows"] < minimum
                windows.append({"model": model, "number": number, **found, "passed_over": small, "waits": not small})
        if not windows:
            return False
        try:
            with self.database.writing() as connection:
                connection.execute(sa.insert(WINDOWS), windows)
        except sa.exc.IntegrityError:
            return True  # somebody else cut here first; what they wrote holds
        return True

    # -- what was found in them ---------------------------------------------------------------------------------

    def save_report(
        self, report: WindowReport, decision: Decision | None = None, after: WindowReport | None = None
    ) -> bool:
        """Keep the report of a window, which is looked at by that; a later one (when labels came) takes its place.

        Args:
            decision: of the report; both are kept, or neither.
            after: the report whose place it takes; None for the first look.

        Returns:
            False where somebody else looked at the window meanwhile, so that nothing was kept.
        """
        with self.database.writing() as connection:
            if decision is not None and _kept(connection, report.model, report.window) != after:
                return False
            for table in (REPORTS, FINDINGS):
                connection.execute(
                    sa.delete(table).where(table.c.model == report.model, table.c.number == report.window)
                )
            _insert_report(connection, report)
            connection.execute(
                sa.update(WINDOWS)
                .where(WINDOWS.c.model == report.model, WINDOWS.c.number == report.window)
                .values(waits=False)
            )
            if decision is not None:
                keep(connection, decision)
        return True

    def report(self, model: str, number: int) -> WindowReport | None:
        """The newest report of a window; None before the first look."""
        with self.database.engine.connect() as connection:
            return _kept(connection, model, number)

    def reports(self, model: str, last: int | None = None, version: str | None = None) -> list[WindowReport]:
        """Every window's newest report, by window number; with ``last``, only the newest windows' are read."""
        query = sa.select(REPORTS.c.report).where(REPORTS.c.model == model).order_by(REPORTS.c.number.desc())
        if version is not None:
            query = query.where(REPORTS.c.version == version)
        with self.database.engine.connect() as connection:
            texts = connection.execute(query if last is None else query.limit(last)).scalars().all()
        return [WindowReport.model_validate_json(text) for text in reversed(texts)]

    def series(self, model: str, kinds: Sequence[str] | None = None, last: int | None = None) -> pd.DataFrame:
        """The numbers of all findings over time, without opening a report.

        Args:
            kinds: kinds of findings; without any, all.
            last: so many newest windows.

        Returns:
            One row a finding, by window and in the order of its report; a window without such a finding has no row.
            Columns: ``window``, ``version``, ``time`` (of the window's last row), ``rows``, ``labelled``, ``action``,
            ``kind``, ``subject``, ``value``, ``low``, ``high``, ``reference``, ``limit``, ``alarm``.
        """
        r, f = REPORTS.c, FINDINGS.c
        numbers = [f.value, f.low, f.high, f.reference, f.limit]
        query = (
            sa.select(
                r.number.label("window"),
                r.version,
                r.last.label("time"),
                r.rows,
                r.labelled,
                r.action,
                f.kind,
                f.subject,
                *numbers,
                f.alarm,
            )
            .join(FINDINGS, sa.and_(f.model == r.model, f.number == r.number))
            .where(r.model == model)
            .order_by(r.number, f.place)
        )
        if kinds is not None:
            query = query.where(f.kind.in_(kinds))
        if last is not None:
            newest = sa.select(r.number).where(r.model == model).order_by(r.number.desc()).limit(last).subquery()
            query = query.where(r.number >= sa.select(sa.func.min(newest.c.number)).scalar_subquery())
        with self.database.engine.connect() as connection:
            found = connection.execute(query)
            table = pd.DataFrame(found.all(), columns=list(found.keys()))
        return table.astype({c.name: "float64" for c in numbers})


def _kept(connection: sa.Connection, model: str, number: int) -> WindowReport | None:
    query = sa.select(REPORTS.c.report).where(REPORTS.c.model == model, REPORTS.c.number == number)
    text = connection.execute(query).scalar()
    return None if text is None else WindowReport.model_validate_json(text)


def _insert_report(connection: sa.Connection, report: WindowReport) -> None:
    place = {"model": report.model, "number": report.window}
    facts = {
        "version": report.version,
        "last": report.last,
        "rows": report.rows,
        "labelled": report.labelled,
        "action": report.decision.action,
    }
    connection.execute(sa.insert(REPORTS).values(**place, **facts, report=report.model_dump_json()))
    numbers = ("kind", "subject", "value", "low", "high", "reference", "limit", "alarm")
    found: list[dict[str, Any]] = [
        place | {"place": n} | {name: getattr(f, name) for name in numbers} for n, f in enumerate(report.findings)
    ]
    if found:
        connection.execute(sa.insert(FINDINGS), found)


def _closed_window(connection: sa.Connection, model: str, after: int, size: int) -> dict[str, Any] | None:
    """The window that begins behind a position, if its end is known; the index alone answers, and no row comes here."""
    p = PREDICTIONS.c
    mine = sa.select(p.seq).where(p.model == model).order_by(p.seq)
    first = connection.execute(
        sa.select(p.seq, p.version).where(p.model == model, p.seq > after).order_by(p.seq).limit(1)
    ).one_or_none()
    if first is None:
        return None
    full = connection.execute(mine.where(p.seq >= first.seq).offset(size - 1).limit(1)).scalar()
    change = connection.execute(
        mine.where(p.seq > first.seq, p.seq <= (2**62 if full is None else full), p.version != first.version).limit(1)
    ).scalar()
    place = {"version": first.version, "first_seq": first.seq}
    if change is not None:
        inside = connection.execute(
            sa.select(sa.func.count(), sa.func.max(p.seq)).where(p.model == model, p.seq >= first.seq, p.seq < change)
        ).one()
        return place | {"last_seq": inside[1], "rows": inside[0]}
    return None if full is None else place | {"last_seq": full, "rows": size}
