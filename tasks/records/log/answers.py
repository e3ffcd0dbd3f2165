"""What comes back about predictions: outcomes, human overrides, appeals, and experts' reviews."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from tasks.records.log.database import Part
from tasks.records.log.reading import END, appeal_states
from tasks.records.log.tables import APPEALS, OUTCOMES, OVERRIDES, PREDICTIONS, REVIEWS
from tasks.records.log.values import Label, from_columns, same, to_columns

AppealState = Literal["open", "upheld", "rejected"]
ReviewVerdict = Literal["agree", "disagree", "unsure"]
ASKED_AT_ONCE = 500
STATES, VERDICTS = ("open", "upheld", "rejected"), ("agree", "disagree", "unsure")


@dataclass(frozen=True)
class Override:
    """A person decided otherwise than the model."""

    id: str
    decision: Label
    who: str
    why: str


@dataclass(frozen=True)
class Appeal:
    """Somebody contests a decision (``open``), or the answer to that."""

    id: str
    claim: str
    state: AppealState
    who: str


@dataclass(frozen=True)
class Review:
    """An expert's answer on a prediction that was put into the queue of a window."""

    id: str
    window: int | None
    verdict: ReviewVerdict
    who: str
    note: str = ""


class Answers(Part):
    """Each writer gives the number of rows by what became of them; the numbers add up to the rows it was given.

    - ``accepted``: the first of its prediction.
    - ``repeated``: says what is known already, and is not stored again; of outcomes, one that another key repeats is.
    - ``changed``: contradicts the one before and counts from now on; both are kept.
    - ``unknown``: no prediction of this model has that id; not stored.

    ``sender`` is the public id of the key that they came with, and is kept beside each stored row.
    Where rows arrive late or out of order, what arrived last counts. Each writer raises LogUnavailable where none of
    its rows is stored.
    """

    def outcomes(self, model: str, labels: Sequence[tuple[str, Label]], sender: str | None = None) -> dict[str, int]:
        """Add outcomes by prediction id: a truth, a class's name or a number.

        Raises:
            ValueError: a label is none of these.
        """
        rows = [{"id": key, **to_columns(label)} for key, label in labels]
        return self._add(OUTCOMES, model, rows, _same_label, sender)

    def overrides(self, model: str, rows: Sequence[Override], sender: str | None = None) -> dict[str, int]:
        """Add what people decided instead; the same decision for another reason, or by another person, is a change."""

        def repeats(new: dict[str, Any], old: Any) -> bool:
            return _same_label(new, old) and (new["who"], new["why"]) == (old.who, old.why)

        return self._add(
            OVERRIDES,
            model,
            [{"id": r.id, **to_columns(r.decision), "who": r.who, "why": r.why} for r in rows],
            repeats,
            sender,
        )

    def appeals(self, model: str, rows: Sequence[Appeal], sender: str | None = None) -> dict[str, int]:
        """Add appeals and the answers to them.

        An answer (upheld, rejected) counts whenever it comes, even before the appeal. An ``open`` that comes after it
        is counted as ``late``, is kept, and changes nothing. A later answer replaces an earlier one.
        """
        _refuse_others([r.state for r in rows], STATES, "state of an appeal")

        def repeats(new: dict[str, Any], old: Any) -> bool:
            return (new["state"], new["claim"], new["who"]) == (old.state, old.claim, old.who)

        def late(new: dict[str, Any], old: Any) -> bool:
            return bool(new["state"] == "open" and old.state != "open")

        return self._add(
            APPEALS,
            model,
            [{"id": r.id, "claim": r.claim, "state": r.state, "who": r.who} for r in rows],
            repeats,
            sender,
            late,
        )

    def reviews(self, model: str, rows: Sequence[Review], sender: str | None = None) -> dict[str, int]:
        """Add experts' answers; of several experts, and of one who thinks again, all are kept and the newest counts."""
        _refuse_others([r.verdict for r in rows], VERDICTS, "verdict of a review")

        def repeats(new: dict[str, Any], old: Any) -> bool:
            return (new["window"], new["verdict"], new["who"], new["note"]) == (
                old.window,
                old.verdict,
                old.who,
                old.note,
            )

        return self._add(
            REVIEWS,
            model,
            [{"id": r.id, "window": r.window, "verdict": r.verdict, "who": r.who, "note": r.note} for r in rows],
            repeats,
            sender,
        )

    def tally(self, model: str, first_seq: int = 0, last_seq: int = END) -> dict[str, dict[str, int]]:
        """How many predictions between two positions people answered, each counted once by the answer that counts.

        Returns:
            ``overrides`` (``other`` than the model's decision, ``same``: confirmed), ``appeals`` by state, ``reviews``
            by verdict.
        """

        def inside(table: sa.Table) -> Any:
            return sa.and_(table.c.model == model, table.c.prediction >= first_seq, table.c.prediction <= last_seq)

        o, p, r = OVERRIDES.c, PREDICTIONS.c, REVIEWS.c
        query = (
            sa.select(o.prediction, o.label, o.label_name, o.label_number, p.decision, p.decision_name)
            .join(PREDICTIONS, p.seq == o.prediction)
            .where(inside(OVERRIDES))
            .order_by(o.prediction, o.seq)
        )
        with self.database.engine.connect() as connection:
            decided = {position: _confirms(rest) for position, *rest in connection.execute(query)}
            appealed = {position: state for position, state in connection.execute(appeal_states(inside(APPEALS)))}
            reviewed = {
                position: verdict
                for position, verdict in connection.execute(
                    sa.select(r.prediction, r.verdict).where(inside(REVIEWS)).order_by(r.prediction, r.seq)
                )
            }
        found = {
            "overrides": (("other", "same"), decided),
            "appeals": (STATES, appealed),
            "reviews": (VERDICTS, reviewed),
        }
        return {what: {name: list(by.values()).count(name) for name in names} for what, (names, by) in found.items()}

    def _add(
        self,
        table: sa.Table,
        model: str,
        rows: list[dict[str, Any]],
        repeats: Callable[[dict[str, Any], Any], bool],
        sender: str | None,
        late: Callable[[dict[str, Any], Any], bool] | None = None,
    ) -> dict[str, int]:
        self._refuse_closed()
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        counts = {"accepted": 0, "repeated": 0, "changed": 0, "unknown": 0} | ({"late": 0} if late else {})
        kept = []
        with self.database.writing() as connection:
            known = _positions(connection, model, sorted({r["id"] for r in rows}))
            counting = _counting(connection, table, model, sorted(known.values()))
            for row in rows:
                position = known.get(row["id"])
                old = counting.get(position) if position is not None else None
                kind = (
                    "unknown"
                    if position is None
                    else "accepted"
                    if old is None
                    else "repeated"
                    if repeats(row, old)
                    else "late"
                    if late and late(row, old)
                    else "changed"
                )
                counts[kind] += 1
                if position is None or (kind == "repeated" and not _of_another(table, old, sender)):
                    continue
                kept.append(row | {"model": model, "prediction": position, "time": now, "sender": sender})
                if kind != "late":
                    counting[position] = _Row(row | {"sender": sender})
            if kept:
                connection.execute(sa.insert(table), kept)
        return counts


class _Row:
    """A row that is not in its table yet, looked at as one that is."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


def _of_another(table: sa.Table, old: Any, sender: str | None) -> bool:
    """Whether an outcome was told with another key before: who else says the same is worth knowing."""
    return table is OUTCOMES and old.sender != sender


def _same_label(new: dict[str, Any], old: Any) -> bool:
    names = ("label", "label_name", "label_number")
    return same(from_columns(*[new[n] for n in names]), from_columns(*[getattr(old, n) for n in names]))


def _confirms(values: Sequence[Any]) -> str:
    truth, name, number, decision, decision_name = values
    decided = decision if decision_name is None else decision_name
    return "same" if decided is not None and same(from_columns(truth, name, number), decided) else "other"


def _refuse_others(found: Sequence[str], allowed: Sequence[str], what: str) -> None:
    wrong = next((f for f in found if f not in allowed), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is no {what}; allowed: {', '.join(allowed)}.")


def _positions(connection: sa.Connection, model: str, ids: list[str]) -> dict[str, int]:
    """Those of the ids that are predictions of the model, each with its position."""
    p, found = PREDICTIONS.c, {}
    for start in range(0, len(ids), ASKED_AT_ONCE):
        query = sa.select(p.id, p.seq).where(p.model == model, p.id.in_(ids[start : start + ASKED_AT_ONCE]))
        found.update({key: position for key, position in connection.execute(query)})
    return found


def _counting(connection: sa.Connection, table: sa.Table, model: str, positions: list[int]) -> dict[int | None, Any]:
    """By position, the row that counts now."""
    c, found = table.c, {}
    order = (
        (c.prediction, sa.case((c.state == "open", 0), else_=1), c.seq) if table is APPEALS else (c.prediction, c.seq)
    )
    for start in range(0, len(positions), ASKED_AT_ONCE):
        query = (
            sa.select(table)
            .where(c.model == model, c.prediction.in_(positions[start : start + ASKED_AT_ONCE]))
            .order_by(*order)
        )
        found.update({row.prediction: row for row in connection.execute(query)})
    return found
