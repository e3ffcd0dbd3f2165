"""Start flow runs, follow them, and print how they end; what every command that starts a flow shares."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

from rich.markup import escape

from tasks.cli import state
from tasks.cli.common import say, settings
from tasks.cli.logins import own_server
from tasks.cli.prefect_api import PrefectApi
from tasks.records.repository import tracked, workspace
from tasks.records.repository.git import Git, GitError
from tasks.spec.base import validate
from tasks.spec.errors import CheckoutError, UnreachableError
from tasks.spec.line import flat
from tasks.spec.model import load_model
from tasks.spec.requests import (
    ApprovalRequest,
    MonitoringRequest,
    PromotionRequest,
    Request,
    RollbackRequest,
    SearchRequest,
    StopRequest,
    TrainingRequest,
)
from tasks.spec.settings import Settings

FORMS: dict[str, type[Request]] = {
    "train/training": TrainingRequest,
    "monitor/monitoring": MonitoringRequest,
    "promote/promotion": PromotionRequest,
    "approve/approval": ApprovalRequest,
    "roll-back/rollback": RollbackRequest,
    "stop/stop": StopRequest,
    "search/searching": SearchRequest,
}
"""What each deployment takes. The server looks at the form alone: there a wrong text would end the run."""
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def api() -> PrefectApi:
    """The Prefect server of this home; where none runs, the one that PREFECT_API_URL names.

    Raises:
        UnreachableError: neither is there.
    """
    running = state.state(settings())
    if running:
        return own_server(settings(), running.api_url)
    url = os.environ.get("PREFECT_API_URL") or nothing_runs("PREFECT_API_URL")
    return PrefectApi(url, os.environ.get("PREFECT_API_AUTH_STRING", ""))


def nothing_runs(variable: str) -> NoReturn:
    """Never reach for the usual ports: another home's system may well listen there."""
    raise UnreachableError(
        f"no system runs from {Settings().home}. Start it with: make up; or name another one in {variable}."
    )


def start(root: Path, deployment: str, request: dict[str, Any], listed: bool = True) -> str:
    """Start a run; gives its id. A wrong name or file is an error before anything starts.

    Args:
        listed: False: the origin's models need not have this one, as before its first push.
    """
    load_model(root, request["model"])
    asked = {"actor": actor(root), **request}
    validate(asked, FORMS[deployment], "the request")
    return api().start(deployment, asked, listed=listed)


def watch(run: str, what: str) -> dict[str, Any]:
    """Wait for the end of a run, with a line on stderr for every task that ends; gives the final state."""
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        return api().wait(run, on_progress=_TaskProgress(api(), run, status))


def succeeded(state: dict[str, Any]) -> bool:
    """Whether a run did what it was for, by the type of its final state; the state's name says how."""
    return bool(state["type"] == "COMPLETED")


def print_outcome(run: str, state: dict[str, Any], as_json: bool) -> None:
    """Print how a run ended."""
    value = {"flow_run": run, "state": state["name"], "message": state.get("message")}
    say(value, as_json, f"{state['name']}: {state.get('message') or 'done'}")


def committed(root: Path, model: str, verb: str = "train") -> str:
    """The commit of a checkout, where it is all that there is to train.

    Args:
        verb: what is asked for; to examine a commit nobody has to push it.

    Raises:
        CheckoutError: the checkout has uncommitted changes, or files that DVC tracks were edited.
    """
    git = Git(root)
    changed = git.changed_files()
    if changed:
        named = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise CheckoutError(
            f"the checkout has uncommitted changes ({named}), and Assay trains only what is committed. Commit "
            f"{'' if verb == 'examine' else 'and push '}them, or name a commit: assay {verb} {model} --revision "
            f"{'HEAD' if verb == 'examine' else 'main'}"
        )
    if edited := tracked.changed(root, model):
        raise CheckoutError(f"{tracked.say_add(edited)}.")
    return git.rev_parse("HEAD")


def lent(root: Path, commit: str) -> AbstractContextManager[None]:
    """A commit of the checkout within reach of the system's origin while it is examined; nobody has to push it."""
    return workspace.lent(Settings(), Git(root), commit)


def actor(root: Path) -> str:
    """Who asks, as the checkout's git knows them."""
    try:
        return flat(Git(root).run("config", "user.email")).lstrip("-")[:100].strip() or "command-line"
    except GitError:
        return "command-line"


class _TaskProgress:
    """A line for every task that ends, on stderr, so that stdout is the result."""

    def __init__(self, server: PrefectApi, run: str, status: Any) -> None:
        self.server, self.run, self.status = server, run, status
        self.reported: set[str] = set()

    def __call__(self, state: str) -> None:
        at_work = []
        for task in self.server.tasks(self.run):
            if task["state_type"] not in ENDED:
                at_work.append(task["name"])
            elif task["id"] not in self.reported:
                self.reported.add(task["id"])
                mark = "✓" if task["state_type"] == "COMPLETED" else "✕"
                self.status.console.print(
                    f"  {mark} {task['name']}  ({task['total_run_time']:.1f} s)", markup=False, highlight=False
                )
        self.status.update(escape(", ".join(at_work[:2])) or state.lower())
