"""``assay keys`` and ``assay login``: who may ask the service, and a browser's way in."""

from __future__ import annotations

from typing import Annotated

import typer

from tasks.cli.common import ROOT, Json, say, settings

keys = typer.Typer(no_args_is_help=True, help="Keys of programs that ask the prediction service.")


@keys.command()
def add(
    name: Annotated[str, typer.Argument(help="What uses the key, such as a program's name.")],
    role: Annotated[list[str], typer.Option(help="predict, outcomes, review, read or operate; may be given again.")],
    model: Annotated[
        list[str] | None, typer.Option(help="The model that it is for; may be given again. Without it: all.")
    ] = None,
    days: Annotated[float, typer.Option(help="How long it holds.")] = 90,
    requests: Annotated[float | None, typer.Option(help="Requests a second at most.")] = None,
    rows: Annotated[float | None, typer.Option(help="Rows a second at most.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once, and kept as a hash."""
    from tasks.serving.keys import KeyFile
    from tasks.spec.errors import ConfigError
    from tasks.spec.models import model_names

    known = model_names(ROOT)
    unknown = [name for name in model or () if name not in known]
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is no model of deployments/models.yaml; allowed: {', '.join(known)}.")
    token, made = KeyFile(settings().access_folder).add(name, role, model or (), days, requests, rows)
    text = (
        f"{token}\n\nShown this once: keep it where only {made.name} reads it. It has the roles "
        f"{', '.join(made.roles)} for {', '.join(made.models or ('all models',))} until {made.expires}.\n"
        f"End it with: assay keys revoke {made.id}"
    )
    say({"key": token, **_shown(made)}, as_json, text)


@keys.command("list")
def list_keys(as_json: Json = False) -> None:
    """Show every key, without its secret."""
    from tasks.serving.keys import KeyFile

    file = KeyFile(settings().access_folder)
    found = {key: file.last_used(key.id) for key in file.keys().values()}
    lines = [
        f"{key.id}  {key.state():<8}  until {_minute(key.expires)} UTC  "
        f"{f'last used {_minute(used)} UTC' if used else 'not used yet'}  {', '.join(key.roles)}; "
        f"{', '.join(key.models or ('all models',))}; {key.name}"
        for key, used in found.items()
    ]
    say(
        [_shown(key) | {"last_used": used} for key, used in found.items()],
        as_json,
        "\n".join(lines) or "no key yet; make one with: assay keys add",
    )


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The public id, as 'assay keys list' shows it.")],
    stolen_since: Annotated[
        str | None, typer.Option(help="A moment (UTC): outcomes that came with the key since then teach no more.")
    ] = None,
    as_json: Json = False,
) -> None:
    """End a key and the sessions of browsers that logged in with it; services refuse it within a second."""
    from tasks.serving.keys import KeyFile

    done = KeyFile(settings().access_folder).revoke(key, stolen_since)
    teaches = f"; its outcomes since {done.stolen} teach no more" if done.stolen else ""
    say(_shown(done), as_json, f"key {done.id} ({done.name}) is revoked{teaches}")


def login(as_json: Json = False) -> None:
    """Print a link that logs a browser in to the service once."""
    from tasks.cli.credentials import login_link
    from tasks.cli.runs import nothing_runs
    from tasks.cli.state import state

    here = settings()
    system = state(here)
    link = login_link(here, here.service_url or (system.service_url if system else nothing_runs("ASSAY_SERVICE_URL")))
    say({"link": link}, as_json, link)


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _shown(key: object) -> dict[str, object]:
    from tasks.serving.keys import Key

    assert isinstance(key, Key)
    return key.model_dump(mode="json", exclude={"sha256"}) | {"state": key.state()}
