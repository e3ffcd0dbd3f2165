"""Statements of a model card from the ledger's entries: what was done to a version, and what happened to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.card_statements import COUNTED, Records, Source, Writer, of_entry
from tasks.spec.ledger import (
    AssignedDetails,
    Entry,
    FeedDetails,
    ForgottenDetails,
    RebuiltDetails,
    StoppedDetails,
    WindowDetails,
)
from tasks.spec.line import flat
from tasks.spec.wording import plural

EVERY = Source("ledger")
ROWS = ("predictions", "outcomes", "overrides", "appeals", "reviews")


def lived(writer: Writer, found: Records) -> None:
    """History, approvals, waivers, incidents and forgotten rows."""
    _history(writer, found)
    _approvals(writer, found)
    _waivers(writer, found)
    incidents = list(_incidents(found))
    text = f"{plural(len(incidents), 'incident')} on record while {found.version or 'it'} served"
    writer.say("incidents.count", "incidents", text, len(incidents), EVERY, how=COUNTED)
    for entry in incidents:
        writer.say(f"incidents.{entry.sequence}", "incidents", _dated(entry), _told(entry), of_entry(entry))
    _rebuilds(writer, found)
    _forgotten(writer, found)


def _dated(entry: Entry) -> str:
    return f"{entry.time[:16].replace('T', ' ')} UTC: {flat(entry.sentence)}"


def _told(entry: Entry) -> dict[str, Any]:
    return {key: getattr(entry, key) for key in ("kind", "time", "actor", "reason", "sentence")}


def _history(writer: Writer, found: Records) -> None:
    about = found.told.entries if found.told else []
    if not about:
        writer.lack("history.entries", "history", "Entries about it", EVERY)
    for entry in about:
        kind = entry.kind.replace("_", " ")
        text = f"{kind}, asked by {flat(entry.actor)} ({flat(entry.reason)}); {_dated(entry)}"
        writer.say(f"history.{entry.sequence}", "history", text[:1].upper() + text[1:], _told(entry), of_entry(entry))
    for at, span in enumerate(found.spans):
        ends = [entry for entry in (span.decided, span.ended) if entry is not None]
        begin, end = (None if e is None else e.time for e in (span.decided, span.ended))
        said = f"to {end[:16].replace('T', ' ')} UTC" if end else "on, and still"
        unsure = "; a clock ran backwards, so the times are not certain" if span.uncertain else ""
        text = f"Served from {(begin or '')[:16].replace('T', ' ')} UTC {said}{unsure}"
        writer.say(f"history.served.{at}", "history", text, {"from": begin, "to": end}, *map(of_entry, ends))
    refused = sum(entry.kind == "rejected" for entry in found.entries)
    text = f"{plural(refused, 'candidate')} of the model {'was' if refused == 1 else 'were'} refused"
    writer.say("history.refused", "history", text, refused, EVERY, how=COUNTED)


def _approvals(writer: Writer, found: Records) -> None:
    signed = 0
    for entry in found.entries:
        warrant = entry.read.warrant if isinstance(entry.read, AssignedDetails | StoppedDetails) else None
        if warrant is None or entry.version != found.version:
            continue
        signed += 1
        kind, why = warrant.statement.get("statement"), flat(str(warrant.statement.get("because")))
        text = f"{flat(warrant.signer)} signed: {str(kind).replace('_', ' ')}, because {why}"
        source = of_entry(entry, "/details/warrant/statement")
        writer.say(f"approvals.{entry.sequence}", "approvals", text, warrant.statement, source)
    text = f"{plural(signed, 'statement')} of people {'is' if signed == 1 else 'are'} on record for it"
    writer.say("approvals.count", "approvals", text, signed, EVERY, how=COUNTED)


def _waivers(writer: Writer, found: Records) -> None:
    gates, source = found.verdict.at("verdict", "gates")
    if not isinstance(gates, list):
        writer.lack("waivers.count", "waivers", "Waivers", source)
        return
    held = [(at, gate) for at, gate in enumerate(gates) if isinstance(gate, dict) and gate.get("waiver")]
    text = f"{plural(len(held), 'gate')} {'was' if len(held) == 1 else 'were'} let go by a waiver"
    writer.say("waivers.count", "waivers", text, len(held), source, how="counted over the gates of the verdict")
    for at, gate in held:
        waiver, place = found.verdict.at("verdict", "gates", at, "waiver")
        text = (
            f"{gate.get('gate')} was waived by {flat(str(waiver.get('who')))} until {waiver.get('expires')}: "
            f"{flat(str(waiver.get('reason')))}"
        )
        writer.say(f"waivers.{gate.get('gate')}", "waivers", text, waiver, place)


def _incidents(found: Records) -> Iterator[Entry]:
    """Entries that say that something was wrong with the version: alarms, silent feeds, stops, rollbacks from it."""
    for entry in found.entries:
        told, own = entry.read, entry.version == found.version
        window = isinstance(told, WindowDetails) and told.action != "nothing"
        feed = isinstance(told, FeedDetails) and told.silent != ()
        back = isinstance(told, AssignedDetails) and entry.kind == "rolled_back" and told.previous == found.version
        if back or (own and (window or feed or entry.kind == "stopped")):
            yield entry


def _rebuilds(writer: Writer, found: Records) -> None:
    made = [e for e in found.entries if isinstance(e.read, RebuiltDetails) and e.version == found.version]
    if not made:
        writer.say("history.rebuilt", "history", "It was not made again from its record yet", None, EVERY, how=COUNTED)
        return
    last = made[-1]
    writer.say("history.rebuilt", "history", f"Made again last: {_dated(last)}", _told(last), of_entry(last))


def _forgotten(writer: Writer, found: Records) -> None:
    gone = [(e, e.read) for e in found.entries if isinstance(e.read, ForgottenDetails)]
    rows = sum(getattr(told, name) for _, told in gone for name in ROWS)
    text = f"Deleted of the model: {plural(rows, 'logged row')}, by {plural(len(gone), 'entry', 'entries')}"
    writer.say("forgotten.rows", "forgotten", text, rows, EVERY, how=COUNTED)
    learned = [e for e, told in gone if found.version in told.learned]
    if learned:
        named = ", ".join(str(e.sequence) for e in learned)
        text = f"It learned from rows that were forgotten (entry {named}), and cannot be rebuilt"
    else:
        text = "It learned from no row that was forgotten"
    writer.say(
        "forgotten.learned", "forgotten", text, bool(learned), *([of_entry(e) for e in learned] or [EVERY]), how=COUNTED
    )
