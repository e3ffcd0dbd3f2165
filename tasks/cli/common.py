"""What the commands share: their usual arguments, where the checkout is, and how they speak."""

from __future__ import annotations

import errno
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.spec.line import flat, lines_of

Model = Annotated[str, typer.Argument(help="A model of deployments/models.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Because = Annotated[str, typer.Option(help="Why; it goes into the ledger.")]
DISK = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOTDIR", "EFBIG", "EIO", "ENAMETOOLONG", "EEXIST")
}
ROOT = Path(__file__).resolve().parents[2]


def settings(any_format: bool = False) -> Any:
    """This machine's settings, read only by commands that need them; the home is not one of a newer release.

    Args:
        any_format: for the command that leads back from one.
    """
    from tasks.cli.homes import refuse_newer
    from tasks.spec.settings import Settings

    found = Settings()
    if not any_format:
        refuse_newer(found)
    return found


def of_disk(error: OSError) -> str | None:
    """A sentence for a folder or disk that does not take what is written; None for any other error."""
    if error.errno not in DISK:
        return None
    what = f"{error.filename} cannot be used" if error.filename else "a file cannot be written"
    return f"{what} ({error.strerror}). Make room, or change its permissions; or set ASSAY_HOME to another folder."


def say(value: dict[str, Any] | Sequence[dict[str, Any]], as_json: bool, text: str) -> None:
    """Print a command's result, for machines or for people."""
    print(json.dumps(value, default=str) if as_json else lines_of(text))


def row(name: str, text: str, indent: int = 11, lead: str = "  ") -> list[str]:
    """A named row as lines of at most 80 columns, where its words allow it; without a name a heading.

    Args:
        text: from anybody; what would steer the terminal becomes code points.
        indent: column at which the text begins.
        lead: what stands before the name.
    """
    begin = f"{lead}{name:<{indent - len(lead)}}" if name else ""
    return textwrap.wrap(
        flat(text), 80, initial_indent=begin, subsequent_indent=" " * indent, break_long_words=False,
        break_on_hyphens=False,
    ) or [begin]  # fmt: skip
