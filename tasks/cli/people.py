"""What people sign at the command line: approvals, orders, and the list of who may."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.cli.common import ROOT, Because, Json, Model, say, settings
from tasks.spec.errors import ConfigError

Signer = Annotated[str | None, typer.Option("--as", help="Who signs, as on the list that 'assay policy' shows.")]
Key = Annotated[Path | None, typer.Option(help="OpenSSH private key of the signer; it stays on this machine.")]
Expires = Annotated[str, typer.Option(help="Last day on which the signature holds, YYYY-MM-DD; without it in a week.")]
DAYS = 7


def approval(model: str, commit: str, signer: str, key: Path, because: str, expires: str) -> tuple[str, dict[str, Any]]:
    """The whole commit that waits, and the warrant for it."""
    from tasks.approval import waiting
    from tasks.records.registry import authority
    from tasks.records.registry.state import state

    commit = waiting(settings(), model, commit)
    said = authority.approval(state(settings()), model, commit, signer, because, _day(expires))
    return commit, _signed(said, key)


def order(
    verb: str, model: str, version: str | None, because: str, signer: str | None, key: Path | None, expires: str
) -> dict[str, Any] | None:
    """The warrant of an order; None where nobody signs it.

    Raises:
        ConfigError: only one of signer and key is given.
        PromotionRefused: there is no such version, or none to go back to.
    """
    if signer is None and key is None:
        return None
    if signer is None or key is None:
        raise ConfigError("give --as and --key together: who signs, and with which key.")
    from tasks.promotion import target_version
    from tasks.records.registry import authority
    from tasks.records.registry.registry import Registry
    from tasks.records.registry.state import state

    now = state(settings())
    target = now.of(model).champion if verb == "stop" else target_version(Registry(settings()), model, version).tag
    return _signed(authority.order(now, verb, model, target, signer, because, _day(expires)), key)


def policy(
    draft: Annotated[Path | None, typer.Option(help="Write the next list into this file, to be edited.")] = None,
    new_root: Annotated[Path | None, typer.Option(help="The same for a new root, where keys are lost.")] = None,
    sign: Annotated[Path | None, typer.Option(help="Sign an edited list; with --as and --key.")] = None,
    enter: Annotated[Path | None, typer.Option(help="Put a list that is signed by all it needs into force.")] = None,
    signer: Signer = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show who may sign what; or draft, sign and enter the next list (docs/ledger.md)."""
    from tasks.records.registry import policies

    if draft or new_root:
        path = draft or new_root
        assert path is not None
        found = policies.draft(settings(), path, new_root is not None)
        say(found, as_json, f"wrote {path}; edit it, have it signed with assay policy --sign, then --enter")
    elif sign:
        if signer is None or key is None:
            raise ConfigError("give --as and --key: who signs, and with which key.")
        said = policies.sign(sign, signer, key)
        say({"file": str(sign), "signed": said}, as_json, f"signed into {sign}, by now: {', '.join(said)}")
    elif enter:
        from tasks.cli.runs import actor

        found = policies.enter(settings(), enter, actor(ROOT))
        say(found, as_json, policies.text(found))
    else:
        found = policies.shown(settings())
        say(found, as_json, policies.text(found))


def envelope(
    model: Model,
    signer: Annotated[str, typer.Option("--as", help="Who signs, as on the list that 'assay policy' shows.")],
    key: Annotated[Path, typer.Option(help="OpenSSH private key of the signer; it stays on this machine.")],
    expires: Annotated[str, typer.Option(help="Last day on which the envelope holds, YYYY-MM-DD.")],
    reason: Annotated[str, typer.Option(help="Why; it is part of what is signed.")],
    as_json: Json = False,
) -> None:
    """Sign the envelope of this checkout's model.yaml; it has an effect once it is on the main branch."""
    from tasks.cli.waivers import sign_envelope

    values = {"who": signer, "reason": reason, "expires": _day(expires)}
    path = sign_envelope(settings(), ROOT, model, values, key)
    say({"file": str(path)}, as_json, f"signed into {path}; commit and push it")


def _signed(statement: dict[str, Any], key: Path) -> dict[str, Any]:
    from tasks.signing import signatures

    return {"statement": json.loads(json.dumps(statement)), "armor": signatures.sign(statement, key)}


def _day(given: str) -> str:
    if not given:
        return (datetime.now(UTC).date() + timedelta(days=DAYS)).isoformat()
    try:
        return datetime.strptime(given, "%Y-%m-%d").date().isoformat()
    except ValueError:
        raise ConfigError(f"--expires is {given!r}; write a day as YYYY-MM-DD.") from None


__all__ = ["Because", "Expires", "Key", "Signer", "approval", "envelope", "order", "policy"]
