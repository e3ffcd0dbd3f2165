"""The commands about what was written down: versions, ledger, reviews, and the rows of the prediction log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.cli.common import ROOT, Json, Model, row, say, settings
from tasks.spec.wording import plural


def versions(model: Model, as_json: Json = False) -> None:
    """List the registered versions of a model."""
    from tasks.records.registry.registry import Registry
    from tasks.spec.model import load_model

    load_model(ROOT, model)
    registry = Registry(settings())
    champion = registry.champion(model)
    found = [
        {
            "version": v.tag,
            "champion": champion is not None and v.tag == champion.tag,
            "commit": v.commit,
            "registered": v.registered,
            "evidence": v.evidence,
        }
        for v in registry.versions(model)
    ]
    lines = [
        f"{'*' if v['champion'] else ' '} {v['version']:<8} {str(v['commit'])[:12]}  {v['registered']}  {v['evidence']}"
        for v in found
    ]
    say(found, as_json, "\n".join(lines) or f"{model} has no registered version yet")


def card(
    model: Model,
    version: Annotated[
        str | None, typer.Argument(help="Such as v1.0.0, or a candidate's commit; without it the champion.")
    ] = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the card as one HTML page.")] = None,
    sbom: Annotated[Path | None, typer.Option(metavar="FILE", help="Write its CycloneDX bill of materials.")] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Recompute every statement of a card, JSON or HTML.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the model card of a version from records, or check one: exit 1 where it is stale or lacks what is asked."""
    from tasks import card as cards
    from tasks.cli.diff import write

    if check is not None:
        _checked(model, version, check, as_json)
    made = cards.card(settings(), model, version)
    if page is not None:
        write(page, cards.page_of(made))
    if sbom is not None:
        write(sbom, json.dumps(made.document["sbom"], indent=1) + "\n", "--sbom")
    files = "".join(f"\n{name:<5} {file}" for name, file in (("page", page), ("sbom", sbom)) if file is not None)
    say(made.document, as_json, _card_text(made.document) + ("\n" if files else "") + files)


def _checked(model: str, version: str | None, file: Path, as_json: bool) -> None:
    """Check a card against the records, say what does not hold, and end with the exit code."""
    from dataclasses import asdict, replace

    from tasks import card as cards
    from tasks.spec.errors import ConfigError

    document, shown = cards.read_card(file)
    asked = {"model": model} | ({"version": version} if version else {})
    for key, value in asked.items():
        if document.get(key) != value:
            raise ConfigError(f"{file} is the card of {key} {document.get(key)!r}, and {value!r} was asked for.")
    done = cards.check(settings(), document)
    done = replace(done, stale=(*shown, *done.stale))
    lines = [part for one in done.stale for part in row("stale", f"{one.id}: {one.said}")]
    for one in done.missing:
        lines += row("missing", one.said if one.asked else f"{one.said} (its materiality does not ask for it)")
    stale, missing = plural(len(done.stale), "difference"), plural(len(done.missing), "statement")
    said = f"stale: {stale} from the records" if done.stale else "every statement follows from the records"
    lines.append(f"{done.model} {done.version}: {plural(done.statements, 'statement')}; {said}; {missing} missing")
    say(asdict(done) | {"holds": done.holds}, as_json, "\n".join(lines))
    raise typer.Exit(0 if done.holds else 1)


def _card_text(document: dict[str, Any]) -> str:
    """The card under the headings of the common model card, without the numbers of each gate."""
    from tasks.records.pages.card import is_number

    said = {one["id"]: one for one in document["statements"]}
    lines = [f"{document['title']}: {document['model']} {document['version']} ({document['commit'][:12]})"]
    for heading in document["views"][0]["headings"]:
        lines += ["", heading["title"]]
        for topic in heading["topics"]:
            for id in topic["statements"]:
                if not is_number(id):
                    lines += row("?" if said[id]["state"] == "missing" else "-", said[id]["text"], 4)
    return "\n".join(lines)


def review(
    model: Model,
    answer: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="ID VERDICT", help="Answer for one prediction: agree, disagree or unsure."),
    ] = None,
    because: Annotated[str, typer.Option(help="Why; it is kept with the answer.")] = "",
    as_json: Json = False,
) -> None:
    """List the predictions that an expert should look at, or record an answer."""
    from tasks.cli import review as work

    if answer is not None:
        done = work.answer(settings(), ROOT, model, answer, because)
        say(done, as_json, f"recorded: {done['who']} answers {done['verdict']} for {done['id']}")
        return
    found = work.queue(settings(), ROOT, model)
    say(found, as_json, work.text(found, model))


def label(
    model: Model,
    answer: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="ID OUTCOME", help="Outcome of one prediction, or unknown where nobody can say it."),
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Outcomes of a CSV file with the columns id and outcome.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what is asked for as CSV, to be filled in.")
    ] = None,
    because: Annotated[str, typer.Option(help="Why an outcome is unknown; it is kept with the answer.")] = "",
    as_json: Json = False,
) -> None:
    """List the predictions whose outcomes would settle what an estimate leaves open, or record these outcomes."""
    from tasks.cli import review as work

    given = [answer] if answer is not None else [] if answers is None else work.read_answers(answers)
    if answer is not None or answers is not None:
        done = work.label(settings(), ROOT, model, given, because)
        unknown = f", {done['unknown']:,} unknown" if done["unknown"] else ""
        waits = f"{plural(done['waiting'], 'outcome')} still asked for"
        say(done, as_json, f"recorded: {plural(done['known'], 'outcome')}{unknown}; {waits}")
        return
    found = work.asked(settings(), ROOT, model)
    if csv is not None:
        say(found, as_json, f"written: {plural(work.write_asked(found, csv), 'prediction')} to {csv}")
        return
    say(found, as_json, work.asked_text(found, model))


def replay(
    model: Model,
    config: Annotated[
        Path | None, typer.Option(help="A model.yaml to try; without it the one of this checkout.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what the policy of now would have decided in every past window; changes nothing."""
    from rich.console import Console

    from tasks.cli import replay as past

    found = past.replayed(settings(), ROOT, model, config)
    print(json.dumps(past.as_json(found))) if as_json else Console().print(past.table(model, found))


def export(
    model: Model,
    window: Annotated[int, typer.Option(help="The window's number, as the reports name it.")],
    as_json: Json = False,
) -> None:
    """Write one window's rows as Parquet below data/ of this checkout, tracked by DVC as evidence."""
    from tasks.cli.rows import export as export_window

    done = export_window(ROOT, settings(), model, window)
    left = f"; {done['rows_missing']} more were deleted" if done["rows_missing"] else ""
    say(
        done,
        as_json,
        f"{done['digest']}  {done['file']}  {done['rows']} rows of {done['version']}{left}\ncommit {done['pointer']} "
        "to keep it",
    )


def forget(
    model: Model,
    because: Annotated[str, typer.Option(help="Why; it goes into the ledger, so name nobody.")],
    id: Annotated[list[str] | None, typer.Option("--id", help="A prediction's id; as often as needed.")] = None,
    where: Annotated[
        str | None, typer.Option(help="column=value of an input; the value stays out of the ledger.")
    ] = None,
    expired: Annotated[bool, typer.Option(help="What is older than monitoring.retention_days.")] = False,
    as_json: Json = False,
) -> None:
    """Delete logged rows, and what people answered about them; the ledger keeps that it happened."""
    from tasks.cli import rows

    found = rows.forget(ROOT, settings(), model, id or [], where, expired, because)
    say(found, as_json, rows.forgotten_text(found))


def ledger(
    verify: Annotated[
        bool, typer.Option(help="Check chain, evidence, signatures, who might, and the registry's tags.")
    ] = False,
    whole: Annotated[bool, typer.Option(help="Check all anew, not only what came since all held.")] = False,
    mend: Annotated[bool, typer.Option(help="First put back tags of entries that somebody deleted or moved.")] = False,
    as_json: Json = False,
) -> None:
    """Print the ledger, or check that nobody rewrote it."""
    from rich.console import Console

    from tasks.records.pages.account import account_table
    from tasks.records.registry import ledger as records
    from tasks.records.registry.state import state

    if verify or whole or mend:
        from tasks.records.registry.registry import mend as put_back
        from tasks.records.registry.verification import verified

        back = put_back(settings()) if mend else []
        checked = verified(settings(), whole)
        problems, root = checked.problems, checked.found.root
        said = f"the ledger holds: chain, evidence, signatures and tags are as written; first list {root or 'none yet'}"
        if checked.before:
            said += f"; the first {checked.before} entries were checked before, and are again with --whole"
        lines = [
            *(f"put back: tag {name}" for name in back),
            *(f"notice: {text}" for text in checked.found.notices),
            *(problems or [said]),
        ]
        say(
            {"problems": problems, "notices": checked.found.notices, "root": root, "put_back": back},
            as_json,
            "\n".join(lines),
        )
        raise typer.Exit(3 if problems else 0)
    found, refused = records.entries(settings()), state(settings()).refused
    if as_json:
        documents = (e.model_dump(mode="json") | {"does_not_count": refused.get(e.sequence)} for e in found)
        print(json.dumps(list(documents)))
    else:
        Console().print(account_table(found))
        for sequence, why in sorted(refused.items()):
            print(f"entry {sequence} does not count: {why}")
