"""The command line: it starts the flows that the Prefect UI starts, and has no logic of its own."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.cli import access, changes, diff, history, new, people, records
from tasks.cli.common import ROOT, Because, Json, Model, of_disk, say, settings
from tasks.spec.errors import AssayError
from tasks.spec.requests import FinalState

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Examine models before they serve, watch them while they serve."
)


def _run(deployment: str, request: dict[str, Any], as_json: bool, wait: bool = True) -> None:
    """Start a run; where asked, wait for it and exit 1 if it did not do what it was for."""
    from tasks.cli import runs

    run = runs.start(ROOT, deployment, request)
    if not wait:
        say({"flow_run": run}, as_json, f"started flow run {run}")
        return
    state = runs.watch(run, f"{deployment} of {request['model']}")
    runs.print_outcome(run, state, as_json)
    if not runs.succeeded(state):
        raise typer.Exit(1)


@app.command()
def check(model: Model, as_json: Json = False) -> None:
    """Say everything that is wrong with a model's folder as it stands here: exit 0 where nothing is, else 1."""
    from tasks.checking import check as findings
    from tasks.cli import check as shown

    done = findings(ROOT, model)
    say(shown.as_json(done), as_json, shown.as_text(done))
    raise typer.Exit(1 if done.wrong else 0)


@app.command()
def train(
    model: Model,
    revision: Annotated[
        str | None,
        typer.Option(help="Commit, tag or branch that the origin knows; without it the commit of this checkout."),
    ] = None,
    collect: Annotated[
        bool, typer.Option(help="First take the labelled rows of the log into a new data version.")
    ] = False,
    promote: Annotated[bool, typer.Option(help="Promote the candidate where it is fit.")] = True,
    wait: Annotated[bool, typer.Option(help="Wait for the end.")] = True,
    as_json: Json = False,
) -> None:
    """Train one commit, examine it, and promote it if it is fit."""
    from tasks.cli import runs

    revision = revision or runs.committed(ROOT, model)
    request = {"model": model, "reason": "person", "revision": revision, "collect": collect, "promote": promote}
    _run("train/training", request, as_json, wait)


@app.command()
def examine(
    model: Model,
    revision: Annotated[
        str | None,
        typer.Option(
            help="Commit, tag or branch that the origin knows; without it the commit of this checkout, pushed or not."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the verdict as markdown into this file, e.g. for a comment.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train one commit and run every gate; promote nothing. Exit 0: pass, 1: fail, 2: insufficient evidence."""
    from tasks.cli import runs

    own = revision is None
    revision = revision or runs.committed(ROOT, model, "examine")
    request = {"model": model, "reason": "person", "revision": revision, "promote": False}
    with runs.lent(ROOT, revision) if own else nullcontext():
        run = runs.start(ROOT, "train/training", request, listed=not own)
        state = runs.watch(run, f"examining {model}")
    verdict = runs.api().artifact(run, f"verdict-{model.replace('_', '-')}")
    if report is not None:
        report.write_text(verdict or f"**Not examined.** {state.get('message') or state['name']}\n")
    runs.print_outcome(run, state, as_json)
    raise typer.Exit({FinalState.EXAMINED: 0, FinalState.INSUFFICIENT_EVIDENCE: 2}.get(state["name"], 1))


@app.command()
def waive(
    model: Model,
    gate: Annotated[str, typer.Argument(help="The one gate that is let go.")],
    version: Annotated[str, typer.Option(help="The one version that it holds for: what the candidate would become.")],
    reason: Annotated[str, typer.Option(help="Why; it is part of what is signed, and stands in red on the verdict.")],
    who: Annotated[str, typer.Option("--as", help="Who signs, as on the list that 'assay policy' shows.")],
    expires: Annotated[str, typer.Option(help="Last day on which it holds, YYYY-MM-DD.")],
    key: Annotated[Path, typer.Option(help="OpenSSH private key; it stays on this machine.")],
    as_json: Json = False,
) -> None:
    """Sign a waiver into the model's waivers.yaml; it has an effect once it is committed and pushed."""
    from tasks.cli.waivers import add_waiver

    path = add_waiver(
        settings(),
        ROOT,
        model,
        {"gate": gate, "version": version, "reason": reason, "who": who, "expires": expires},
        key,
    )
    say({"file": str(path)}, as_json, f"signed into {path}; commit and push it")


@app.command()
def promote(
    model: Model,
    version: str,
    because: Because,
    signer: people.Signer = None,
    key: people.Key = None,
    expires: people.Expires = "",
    as_json: Json = False,
) -> None:
    """Make a registered version champion."""
    warrant = people.order("promote", model, version, because, signer, key, expires)
    request = {"model": model, "reason": "person", "version": version, "because": because, "warrant": warrant}
    _run("promote/promotion", request, as_json)


@app.command()
def approve(
    model: Model,
    commit: Annotated[
        str, typer.Argument(help="The candidate that waits, as 'assay status' and the verdict page name it.")
    ],
    signer: Annotated[str, typer.Option("--as", help="Who signs, as on the list that 'assay policy' shows.")],
    key: Annotated[Path, typer.Option(help="OpenSSH private key; it stays on this machine.")],
    because: Because,
    expires: people.Expires = "",
    as_json: Json = False,
) -> None:
    """Sign a fit candidate that somebody else asked for, and promote it."""
    commit, warrant = people.approval(model, commit, signer, key, because, expires)
    request = {"model": model, "reason": "person", "commit": commit, "warrant": warrant}
    _run("approve/approval", request, as_json)


@app.command()
def status(as_json: Json = False) -> None:
    """Say what runs, what serves, what was judged and decided last, and what waits.

    Exit 1 where a part is not well, or the record holds what nothing decided.
    """
    from tasks.cli.overview import overview, overview_text

    found = overview(settings())
    say(found, as_json, overview_text(found))
    if found["record_problems"] or any(part["state"] == "not well" for part in found["parts"]):
        raise typer.Exit(1)


@app.command()
def rollback(
    model: Model,
    because: Because,
    to: Annotated[str | None, typer.Option(help="Version to return to; without it the champion before.")] = None,
    signer: people.Signer = None,
    key: people.Key = None,
    expires: people.Expires = "",
    as_json: Json = False,
) -> None:
    """Return to an earlier version."""
    warrant = people.order("roll_back", model, to, because, signer, key, expires)
    request = {"model": model, "reason": "person", "version": to, "because": because, "warrant": warrant}
    _run("roll-back/rollback", request, as_json)


@app.command()
def stop(
    model: Model,
    because: Because,
    signer: people.Signer = None,
    key: people.Key = None,
    expires: people.Expires = "",
    as_json: Json = False,
) -> None:
    """Take a model out of service; it answers nothing until a version is promoted or rolled back to."""
    warrant = people.order("stop", model, None, because, signer, key, expires)
    _run("stop/stop", {"model": model, "reason": "person", "because": because, "warrant": warrant}, as_json)


@app.command()
def monitor(
    model: Model, act: Annotated[bool, typer.Option(help="Act on the decision.")] = True, as_json: Json = False
) -> None:
    """Look at every new window of predictions; decide and act."""
    _run("monitor/monitoring", {"model": model, "reason": "person", "act": act}, as_json)


@app.command()
def search(
    model: Model,
    revision: Annotated[
        str | None,
        typer.Option(help="Commit, tag or branch that the origin knows; without it the commit of this checkout."),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of the study at most; else what model.yaml says.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time of this run; else what model.yaml says.")] = None,
    study: Annotated[str | None, typer.Option(help="Go on with this study, or refuse where it asks another.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end.")] = True,
    as_json: Json = False,
) -> None:
    """Try the configurations of a model's search: part; a study that was begun goes on."""
    from tasks.cli import runs

    revision = revision or runs.committed(ROOT, model, "search")
    limits = {"revision": revision, "trials": trials, "minutes": minutes, "study": study}
    _run("search/searching", {"model": model, "reason": "person", **limits}, as_json, wait)


@app.command()
def predict(
    model: Model,
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines of input rows, of any size.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Add the answers to this file, as JSON lines; where it has some, go on behind them."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say with each answer why it was decided so.")] = False,
    as_json: Json = False,
) -> None:
    """Score the rows of a file through the service; every answer is logged."""
    from tasks.cli import batches, credentials, runs
    from tasks.cli.rows_of_files import read_rows
    from tasks.cli.state import state
    from tasks.spec.model import load_model

    config, system = load_model(ROOT, model), state(settings())
    next(read_rows(file, config), None)  # a wrong file is an error before anything else
    url = settings().service_url or (system.service_url if system else runs.nothing_runs("ASSAY_SERVICE_URL"))
    found = batches.score_file(credentials.client(settings(), url), model, config, file, out, explain)
    batches.print_answers(found, as_json, quiet=out is not None)


@app.command()
def up(as_json: Json = False) -> None:
    """Start the local system, and say where each part is; where it runs, bring schedules and forms in line."""
    from rich.console import Console

    from tasks.cli import credentials, system
    from tasks.cli.logins import login_file
    from tasks.cli.state import state
    from tasks.records.registry.policies import quorum_said

    here = settings()
    running = state(here)
    with Console(stderr=True).status("starting Prefect, a worker and the prediction service"):
        there = system.up(here)
        changed = system.align_models(here, there) if running else []
    link = credentials.login_link(here, there.service_url)
    way = f"{link}   (once, within 15 minutes; another: assay login)" if "?token=" in link else credentials.OPEN
    word = "runs already" if running else "runs"
    taken = [
        str(port)
        for port, url in ((system.SERVER_PORT, there.api_url), (system.SERVICE_PORT, there.service_url))
        if f":{port}" not in url
    ]
    said = (
        f" Port {' and '.join(taken)} {'was' if len(taken) == 1 else 'were'} taken, so another was chosen."
        if taken
        else ""
    )
    text = (
        f"Assay {word}.{said}\n  Prefect UI  {there.api_url.removesuffix('/api')}   (log in with the line in "
        f"{login_file(here)})\n  service     "
        f"{there.service_url}\n  log in      {way}\n  push to     "
        f"{there.origin}   (git remote add assay {there.origin}; git push assay main)\n  "
        f"first list  {there.root}   (who may sign what: assay policy{quorum_said(here)})"
        + (
            ""
            if there.code == str(ROOT)
            else f"\n  runs the code of {there.code}; to change that: assay down; assay up"
        )
        + "".join(f"\n  {sentence}" for sentence in changed)
    )
    say(there.__dict__ | {"login": link}, as_json, text)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8090,
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer on it; else ASSAY_WORKERS, else 1.")
    ] = None,
) -> None:
    """Run the prediction service alone, until a signal ends it; `assay up` starts one with the rest of a system."""
    words = ["--host", host, "--port", str(port), *([] if workers is None else ["--workers", str(workers)])]
    os.execv(sys.executable, [sys.executable, "-m", "tasks.cli.service", *words])


@app.command()
def down(as_json: Json = False) -> None:
    """Stop what `assay up` started."""
    from tasks.cli import system

    stopped = system.down(settings())
    say({"stopped": stopped}, as_json, f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A tar file that is not there yet; on another disk than the home.")],
    cache: Annotated[bool, typer.Option(help="Take DVC's cache, too: files that no stage can make again.")] = True,
    log: Annotated[bool, typer.Option(help="Take a prediction log in PostgreSQL, too, by pg_dump.")] = True,
    as_json: Json = False,
) -> None:
    """Write the whole home into one file, also while its system runs."""
    from tasks.cli import backups

    found = backups.backup(settings(), file, cache, log)
    say(backups.as_json(found), as_json, backups.as_text(found, "backed up to"))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What 'assay backup' wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Move what the home holds now aside first.")] = False,
    as_json: Json = False,
) -> None:
    """Bring a home back from a backup, here or elsewhere (ASSAY_HOME); nothing runs from it yet."""
    from tasks.cli import backups

    found = backups.restore(settings(any_format=True), file, replace)
    say(backups.as_json(found), as_json, backups.as_text(found, "restored from"))


for command in (
    new.new,
    changes.snapshot,
    changes.adopt,
    records.versions,
    records.card,
    history.history,
    history.served,
    history.decision,
    diff.diff,
    diff.why,
    history.rebuild,
    records.review,
    records.replay,
    records.export,
    records.forget,
    records.ledger,
    people.envelope,
    people.policy,
    access.login,
):
    app.command()(command)
app.add_typer(access.keys, name="keys")


def main() -> None:
    """Entry point: a person's mistake is one sentence and a code, never a traceback."""
    try:
        app()
    except AssayError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        sentence = of_disk(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(AssayError.exit_code)
