"""The parts of a system, each asked on its own: what it is, or what is wrong with it and how to mend that.

No part can hide another: whatever a question raises is that part's answer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import sqlalchemy as sa

from tasks.cli import state
from tasks.cli.clocks import MEND, clock_problems, set_back
from tasks.cli.credentials import client, detail
from tasks.cli.logins import own_server
from tasks.cli.prefect_api import QUEUED, late_runs
from tasks.cli.processes import Processes
from tasks.records.log.database import Database
from tasks.records.registry import memory, pointers, releases
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state as state_of
from tasks.records.repository import lockfile
from tasks.records.repository.git import Git
from tasks.records.repository.tracked import kept
from tasks.records.repository.workspace import ensure_clone, left_out
from tasks.spec.errors import AssayError, CorruptionError
from tasks.spec.settings import Settings

State = Literal["well", "not started", "not well"]
AGAIN = "assay down; assay up"
HOOKS = {
    "post-receive": "nobody who pushes is told what it starts",
    "pre-receive": "a push by accident may stop the ledger",
}
"""Hooks of the home's own origin (``deployments/hooks``), and what is missing without each."""
LEAST_FREE = 1 << 30
"""Bytes that a home's disk should have free: a training writes its data and its model anew."""


@dataclass(frozen=True)
class Part:
    name: str
    state: State
    says: str
    """What it is, or what is wrong."""
    fix: str = ""


class _Unwell(Exception):
    def __init__(self, says: str, fix: str) -> None:
        super().__init__(says)
        self.fix = fix


def parts(settings: Settings) -> list[Part]:
    """Every part of the system of a home, in the order in which they need each other."""
    asked: list[tuple[str, Callable[[Settings], str | None], str]] = [
        ("home", _home, "make room, or set ASSAY_HOME to another folder"),
        ("Prefect server", _server, AGAIN),
        ("worker", _worker, AGAIN),
        ("keeper", _keeper, AGAIN),
        ("service", _service, AGAIN),
        ("database", _database, "assay restore FILE, from a backup"),
        ("origin", _origin, AGAIN),
        ("clone", _clone, _mend_clone(settings)),
        ("ledger", _ledger, "assay ledger --verify"),
        ("clock", _clock, MEND),
        ("release store", _releases, "promote the version again: assay promote MODEL VERSION --because WHY"),
        ("DVC cache", _cache, "dvc pull; what no remote has is made anew from its commit when it is needed"),
    ]
    return [_asked(settings, *one) for one in asked]


def _asked(settings: Settings, name: str, ask: Callable[[Settings], str | None], fix: str) -> Part:
    try:
        says = ask(settings)
    except _Unwell as error:
        return Part(name, "not well", str(error), error.fix)
    except AssayError as error:
        return Part(name, "not well", str(error), fix)
    except Exception as error:
        return Part(name, "not well", f"it cannot be asked ({type(error).__name__}: {error})", fix)
    return Part(name, "not started", "") if says is None else Part(name, "well", says)


def _home(settings: Settings) -> str | None:
    if not settings.home.is_dir():
        return None
    before = Processes(settings.home).moved_from()
    if before:
        raise _Unwell(f"it was {before} when its system was started, and what runs still looks there", AGAIN)
    if not os.access(settings.home, os.W_OK | os.X_OK):
        raise _Unwell(f"{settings.home} cannot be written", "change its permissions, or set ASSAY_HOME")
    free = shutil.disk_usage(settings.home).free
    if free < LEAST_FREE:
        raise _Unwell(f"{settings.home} has {free >> 20} MiB free", "make room, or set ASSAY_HOME to another folder")
    return f"{settings.home}, {free >> 30} GiB free"


def _runs(settings: Settings, part: str) -> int | None:
    """The process of a part; None where the system was not started.

    Raises:
        _Unwell: it was started and has ended, or another process answers at its address.
    """
    started, processes = state.recorded(settings), Processes(settings.home)
    if started is None:
        return None
    process = processes.alive(part)
    if process is None:
        log = settings.home / f"logs/{part}.log"
        raise _Unwell(f"it was started and does not run any more; its log is {log}", AGAIN)
    url = state.addresses(started).get(part)
    if url and not processes.answers_at(part, url):
        raise _Unwell(f"process {process.pid} runs, and does not listen at {url}", AGAIN)
    return process.pid


def _server(settings: Settings) -> str | None:
    pid, started = _runs(settings, "server"), state.recorded(settings)
    if pid is None or started is None:
        return None
    own_server(settings, started.api_url).call("GET", "/version")
    return f"{started.api_url.removesuffix('/api')}, process {pid}"


def _worker(settings: Settings) -> str | None:
    pid, started = _runs(settings, "worker"), state.recorded(settings)
    if pid is None or started is None:
        return None
    late = late_runs(own_server(settings, started.api_url))
    waits = [run for run in late if run.queue in QUEUED]
    told = "; ".join(map(str, waits[:3]))
    if others := [run for run in late if run.queue not in QUEUED]:
        raise _Unwell(
            f"{len(others)} runs are late, such as {others[0]}", "look at what runs in the Prefect UI, and cancel it"
        )
    return f"process {pid}" + (f"; {len(waits)} runs wait for a place: {told}" if waits else "")


def _keeper(settings: Settings) -> str | None:
    pid = _runs(settings, "keeper")
    return None if pid is None else f"process {pid}"


def _service(settings: Settings) -> str | None:
    pid, started = _runs(settings, "service"), state.recorded(settings)
    if pid is None or started is None:
        return None
    health = service_health(settings, started.service_url)
    if health is None:
        raise _Unwell(f"process {pid} listens at {started.service_url}, and gives no answer", AGAIN)
    if health["access"] != "keys":
        raise _Unwell(str(health["access"]), "unset ASSAY_ACCESS; assay down; assay up")
    if health["problems"]:
        told = "; ".join(f"{name}: {sentence}" for name, sentence in sorted(health["problems"].items()))
        raise _Unwell(told, "promote or roll back to a version that can be loaded")
    return f"{started.service_url}, process {pid}"


def service_health(settings: Settings, url: str) -> dict[str, Any] | None:
    """What the service says of itself; None where it does not answer.

    Raises:
        AssayError: it answers, and tells nothing to the key of this home's commands.
    """
    try:
        with client(settings, url, timeout=5) as asked:
            answer = asked.get("/health")
        health: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    if answer.is_error:
        raise AssayError(f"{url} refuses the key in {settings.own_key}: {detail(answer)}")
    return health


def _database(settings: Settings) -> str | None:
    if not settings.has_log:
        return None
    database = Database(settings.log_database)
    try:
        with database.engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT max(seq) FROM predictions")).scalar()
        return f"{database.where}, {rows or 0} predictions so far"
    except sa.exc.SQLAlchemyError as error:
        raise _Unwell(database.sentence(error), "assay restore FILE, from a backup") from None
    finally:
        database.close()


def _origin(settings: Settings) -> str | None:
    if not settings.has_origin:
        return None
    if not settings.origin:
        hooks = Git(Path(settings.origin_url)).path / "hooks"
        for name, otherwise in HOOKS.items():
            if not os.access(hooks / name, os.X_OK):
                raise _Unwell(f"{hooks / name} is missing, so {otherwise}", AGAIN)
    with suppress(AssayError):  # the part "clone" says why
        if odd := left_out(ensure_clone(settings)):
            named = f"{odd[0][:60]!r}{'...' if len(odd[0]) > 60 else ''} ({len(odd[0])} characters)"
            raise _Unwell(
                f"{len(odd)} branches or tags of it cannot be had here, such as {named}: the name is too long for a "
                "file, or stands beside one that excludes it. Nothing else depends on them",
                "git push ORIGIN --delete NAME",
            )
    return settings.origin_named


def _clone(settings: Settings) -> str | None:
    if not settings.has_origin:
        return None
    git = ensure_clone(settings)
    names = git.lines("for-each-ref", "--format=%(refname:strip=3)", "refs/remotes/origin")
    if settings.branch not in names:
        raise _Unwell(f"the origin has no branch {settings.branch!r}", "push it, or name another one in ASSAY_BRANCH")
    if "assay" in names:
        raise _Unwell(
            "the origin has a branch 'assay', beside which there can be no 'assay/ledger'",
            "git push ORIGIN origin/assay:refs/heads/OTHER :refs/heads/assay",
        )
    cut = git.run("rev-parse", "--is-shallow-repository") == "true"
    return f"{settings.clone}{', truncated: older commits are not there' if cut else ''}"


def _mend_clone(settings: Settings) -> str:
    """A clone holds what was seen of the ledger: it may be made anew only where the home holds that, too."""
    if not (settings.home / memory.NAME).exists():
        return "assay restore FILE --replace, from a backup; the clone alone knows which ledger is this home's"
    kept = settings.home / "replaced-clone"
    return f"mv '{settings.clone}' '{kept}'; it is made anew, and held to what {settings.home / memory.NAME} holds"


def _ledger(settings: Settings) -> str | None:
    if not settings.has_origin:
        return None
    now = state_of(settings)
    broken = [sentence for sentence in now.problems if sentence not in now.remembered]
    if now.unproven or broken:
        raise CorruptionError(now.unproven or broken[0])
    return f"{now.sequence} entries"


def _clock(settings: Settings) -> str | None:
    if not settings.has_origin and not settings.has_log:
        return None
    said = set_back(settings)
    if said.exists() and state.recorded(settings) is not None:
        raise _Unwell("; ".join([said.read_text(), *clock_problems(settings)]), AGAIN)
    if wrong := clock_problems(settings):
        raise _Unwell("; ".join(wrong), MEND)
    return "no entry and no prediction is of later than now"


def _releases(settings: Settings) -> str | None:
    if not settings.releases.is_dir():
        return None
    names = sorted(folder.name for folder in settings.releases.glob("[a-z]*") if folder.is_dir())
    wrong = [sentence for name in names if (sentence := releases.problem(settings, name))]
    if settings.has_origin and (late := [said for said, _ in pointers.behind(settings).values()]):
        raise _Unwell("; ".join([*wrong, *late]), "wait a minute; then: assay monitor MODEL")
    if wrong:
        raise _Unwell("; ".join(wrong), "promote the version again: assay promote MODEL VERSION --because WHY")
    return f"{settings.releases}, {len(names)} models"


def _cache(settings: Settings) -> str | None:
    if not settings.has_origin or not (settings.cache.exists() or settings.releases.exists()):
        return None
    git, lost = ensure_clone(settings), []
    registry = Registry(settings)
    for folder in sorted(settings.releases.glob("[a-z]*")):
        champion = registry.champion(folder.name)
        if champion and not any(kept(settings.cache, md5).exists() for md5 in _outs(git, champion.commit, folder.name)):
            lost.append(f"{folder.name} {champion.tag}")
    if lost:
        raise _Unwell(
            f"{settings.cache} holds nothing of {', '.join(lost)}",
            "dvc pull; what no remote has is made anew from its commit when it is needed",
        )
    return str(settings.cache)


def _outs(git: Git, commit: str, model: str) -> list[str]:
    stages = lockfile.stages_of(git.run("show", f"{commit}:dvc.lock"), f"dvc.lock of {commit[:12]}")
    made = (out for name, stage in stages.items() if name.endswith(f"@{model}") for out in stage.get("outs") or ())
    return [out["md5"] for out in made]
