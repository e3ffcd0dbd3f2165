"""The command that makes a model of a file: it asks on a terminal what no file can say, and never waits without one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from tasks.cli.common import ROOT, Json, say, settings

if TYPE_CHECKING:
    from tasks.scaffold.draft import Answers
    from tasks.scaffold.model import Created

SHOWN = 12
"""Questions that are printed; all stand in the files."""
Materiality = Literal["low", "medium", "high"]


def new(
    name: Annotated[str, typer.Argument(help="What the model will be called: lower-case letters, digits and _.")],
    file: Annotated[
        str, typer.Argument(help="CSV (also .gz, .zip), Parquet or JSON lines, one row a case; or a database's URL.")
    ],
    target: Annotated[
        str,
        typer.Option(help='A column of the file, or a condition over its columns such as "visits > 0".'),
    ],
    query: Annotated[str, typer.Option(help="Of a database, what to ask; say ORDER BY.")] = "",
    kind: Annotated[
        Literal["binary", "multiclass", "regression"] | None, typer.Option(help="Of the target, where it is not plain.")
    ] = None,
    positive: Annotated[str | None, typer.Option(help="Of a column with two values, the one to predict.")] = None,
    title: Annotated[str | None, typer.Option(help="What the model predicts.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What it is for, and what it must not be used for.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whom to ask; without it, the address that git knows.")] = None,
    intended_use: Annotated[str | None, typer.Option(help="Who uses its answers, about whom, and when.")] = None,
    limits: Annotated[str | None, typer.Option(help="What it cannot do, and where it answers worse.")] = None,
    out_of_scope: Annotated[str | None, typer.Option(help="Uses that it was not made for.")] = None,
    ethics: Annotated[str | None, typer.Option(help="Whom its errors harm, and what was weighed.")] = None,
    contact: Annotated[str | None, typer.Option(help="Where those who are decided about ask and object.")] = None,
    materiality: Annotated[
        Materiality | None,
        typer.Option(help="How much depends on it; without it medium where people's groups are seen, else low."),
    ] = None,
    unprotected: Annotated[str | None, typer.Option(help="Why no group of people can be named, if so.")] = None,
    entity: Annotated[str | None, typer.Option(help="The column that says whose row it is.")] = None,
    period: Annotated[str | None, typer.Option(help="The column that says when a row is from.")] = None,
    split: Annotated[
        Literal["hash", "time"] | None, typer.Option(help="At random, or the earlier rows train; by time where dated.")
    ] = None,
    after: Annotated[list[str] | None, typer.Option(help="A column known only afterwards; as often as needed.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="A column of no use; as often as needed.")] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether the first line names the columns.")
    ] = None,
    separator: Annotated[str | None, typer.Option(help="Of cells in a line, such as ';'; a tabulator is tab.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the text, such as utf-8, latin-1 or cp1252.")] = None,
    decimal: Annotated[str | None, typer.Option(help="The decimal mark: . or ,")] = None,
    thousands: Annotated[
        str | None, typer.Option(help="What parts thousands: , . ' or a blank; '' for nothing.")
    ] = None,
    quote: Annotated[str | None, typer.Option(help="What encloses cells; '' for nothing.")] = None,
    as_json: Json = False,
) -> None:
    """Make a model of a file: look at it, guess what can be guessed, and write the model's folder to be read."""
    from tasks.cli.runs import actor
    from tasks.scaffold.draft import Answers
    from tasks.scaffold.model import check_name, create

    check_name(ROOT, name)
    who = actor(ROOT)
    separator = "\t" if separator in ("tab", "\\t") else separator
    options = {
        "header": header, "separator": separator, "encoding": encoding, "decimal": decimal, "thousands": thousands,
        "quote": quote,
    }  # fmt: skip
    written = {key: value for key, value in options.items() if value is not None}
    texts = {
        "intended_use": intended_use, "limits": limits, "out_of_scope": out_of_scope, "ethics": ethics,
        "contact": contact,
    }  # fmt: skip
    card = {key: value for key, value in texts.items() if value is not None}
    said = Answers(
        title, purpose, owner or (who if "@" in who else None), materiality, unprotected, kind, positive, entity,
        period, split, tuple(after or ()), tuple(leave_out or ()), card, written,
    )  # fmt: skip
    if sys.stdin.isatty() and sys.stderr.isatty() and not as_json:
        said = _asked(said)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)  # a closed session or a timeout cleans up as Ctrl-C does
    with _steps() as on_step:
        made = create(ROOT, name, file, target, said, on_step, query)
    say(made.__dict__, as_json, _text(made))


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _asked(said: Answers) -> Answers:
    """Ask for what no file says; an empty answer leaves it to the guess."""
    for key, question in (
        ("title", "What does it predict?"),
        ("purpose", "What is it for, and what must it not be used for?"),
        ("owner", "Whom to ask about it (e-mail)?"),
    ):
        if getattr(said, key) is None:
            answer = typer.prompt(question, default="", show_default=False, err=True) or None
            said = replace(said, **cast(Any, {key: answer}))
    while said.materiality is None:
        answer = typer.prompt("How much depends on it (low, medium, high)?", default="", show_default=False, err=True)
        if not answer:
            break
        if answer in get_args(Materiality):
            said = replace(said, materiality=cast(Materiality, answer))
        else:
            typer.echo(f"{answer!r} is none of low, medium and high; an empty answer leaves it to a guess.", err=True)
    return said


class _steps:
    """A line on stderr that says what is being done; nothing where nobody looks."""

    def __enter__(self) -> Callable[[str], None]:
        from rich.console import Console

        self._status = Console(stderr=True).status("")
        self._status.__enter__()
        return lambda text: self._status.update(f"{text} ...")

    def __exit__(self, *error: object) -> None:
        self._status.__exit__(None, None, None)


def _text(made: Created) -> str:
    from tasks.records.repository.git import Git

    folder = f"deployments/models/{made.model}"
    lines = [f"wrote {folder}: {made.guesses} guesses, {len(made.questions)} questions"]
    lines += [f"  {said}" for said in made.dropped]
    lines += [f"  ? {question}" for question in made.questions[:SHOWN]]
    if len(made.questions) > SHOWN:
        lines.append(f"  and {len(made.questions) - SHOWN} more in {folder}/model.yaml")
    waits = (
        f"These have to be written, or its gate transparency refuses it: {', '.join(made.unsaid)}. Each other answer "
        "stands as a guess until you change its line. Then:"
    )
    lines += [
        waits
        if made.unsaid
        else "Nothing waits for an answer: each stands as a guess until you change its line. Then:",
        f"  assay check {made.model}",
        f"  git add {folder} data/{made.model} deployments/models.yaml",
        f"  git commit -m 'Bring {made.model}'",
    ]
    if "assay" not in Git(ROOT).lines("remote"):
        lines += [
            "  make up                       # once: the system, and the repository that a push goes to",
            f"  git remote add assay {settings().origin_named}",
        ]
    lines.append("  git push assay HEAD:main      # trains and examines it")
    return "\n".join(lines)
