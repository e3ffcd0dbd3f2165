"""``make demo``: six acts on real data, in a real origin, Prefect server, worker and prediction service."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from tasks.spec.errors import AssayError
from tasks.spec.settings import ROOT, Settings

HOME = ROOT / ".assay" / "demo"


def main() -> int:
    """Play the acts; 0 when each came out as expected, 1 otherwise."""
    out = Console(width=None if sys.stdout.isatty() else 140)
    _clear(HOME)
    os.environ["ASSAY_HOME"] = str(HOME)
    settings = Settings()

    from tasks.cli.credentials import login_link
    from tasks.cli.logins import login_file
    from tasks.cli.system import running
    from tasks.demo.story import Story

    begun = time.monotonic()
    out.print("[bold]Assay[/bold]: starting an origin, a Prefect server, a worker and the prediction service ...")
    try:
        with running(settings) as system:
            os.environ["PREFECT_API_URL"] = system.api_url
            clone = HOME / "developer"
            _clone(settings.origin_named, clone)
            out.print(
                f"Prefect UI {system.api_url.removesuffix('/api')}   service {system.service_url}   "
                f"({time.monotonic() - begun:.0f} s)\nlog in once {login_link(settings, system.service_url)}\n"
                f"log in to Prefect with the line in {_shown(login_file(settings))}\n",
                soft_wrap=True,
                highlight=False,
            )
            story = Story(system, settings, clone)
            acts, fine = _play(story, out)
            page = _account(story, acts)
            _table(story, out)
    except AssayError as error:
        out.print(f"[red]{error}[/red]")
        return 1
    out.print(f"\nThe account: {_shown(page)}   ({time.monotonic() - begun:.0f} s in all)")
    return 0 if fine else 1


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _clear(home: Path) -> None:
    """Start from nothing; the DVC cache stays, since its content is addressed by digest."""
    if home.exists():
        for path in home.iterdir():
            if path.name not in ("dvc-cache", "dvc-site"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    home.mkdir(parents=True, exist_ok=True)


def _clone(origin: str, clone: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", origin, str(clone)], check=True)
    for key, value in (("user.name", "Dana Developer"), ("user.email", "dana@example.org")):
        subprocess.run(["git", "config", key, value], cwd=clone, check=True)


def _play(story: Any, out: Console) -> tuple[list[dict[str, Any]], bool]:
    from tasks.demo.acts import ACTS
    from tasks.demo.story import StoryBroken

    acts: list[dict[str, Any]] = []
    for number, (title, act) in enumerate(ACTS, 1):
        started = time.monotonic()
        try:
            outcome, fine = act(story), True
        except (StoryBroken, AssayError) as broken:
            outcome, fine = f"not as expected: {broken}", False
        seconds = time.monotonic() - started
        acts.append({"act": number, "title": title, "outcome": outcome, "seconds": seconds, "ok": fine})
        mark = "[green]ok[/green]  " if fine else "[red]FAIL[/red]"
        out.print(f"{mark} Act {number}  [bold]{title}[/bold]  ({seconds:.0f} s)\n     {outcome}", highlight=False)
        if not fine:
            return acts, False
    return acts, True


def _account(story: Any, acts: list[dict[str, Any]]) -> Path:
    from tasks.records.pages.account import account_page
    from tasks.reporting import write_page

    return write_page("account.html", account_page(story.ledger(), story.reports(), "Census income, six acts", acts))


def _table(story: Any, out: Console) -> None:
    from tasks.records.pages.account import account_table

    out.print()
    out.print(account_table(story.ledger()))


if __name__ == "__main__":
    sys.exit(main())
