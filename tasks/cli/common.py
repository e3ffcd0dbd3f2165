"""What the commands share: their usual arguments, where the checkout is, and how they speak."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.spec.line import lines_of

Model = Annotated[str, typer.Argument(help="A model of deployments/models.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Because = Annotated[str, typer.Option(help="Why; it goes into the ledger.")]
ROOT = Path(__file__).resolve().parents[2]


def settings() -> Any:
    """This machine's settings; read only by commands that need them."""
    from tasks.spec.settings import Settings

    return Settings()


def say(value: dict[str, Any] | Sequence[dict[str, Any]], as_json: bool, text: str) -> None:
    """Print a command's result, for machines or for people."""
    print(json.dumps(value, default=str) if as_json else lines_of(text))
