"""The local system: an origin, a Prefect server, a worker and the prediction service, started and stopped together."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from tasks.cli import upgrading
from tasks.cli.alignment import align
from tasks.cli.credentials import ensure_own_key, says_yes
from tasks.cli.environment import for_parts
from tasks.cli.logins import of_client, of_server, own_server
from tasks.cli.parts import HOOKS
from tasks.cli.prefect_api import POOL, ensure_places
from tasks.cli.processes import HOST, Processes, listen
from tasks.cli.state import PARTS, PATIENCE, System, alone, state
from tasks.records.registry import ledger, pointers
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import ensure_clone, prepare_origin, take_back
from tasks.spec.errors import AssayError, UnreachableError
from tasks.spec.settings import ROOT, Settings

SERVER_PORT, SERVICE_PORT = 4200, 8090


def up(settings: Settings, server_port: int = SERVER_PORT, service_port: int = SERVICE_PORT) -> System:
    """Start everything, wait until it answers, and deploy; whoever starts it twice gets what runs.

    Args:
        settings: of the home.
        server_port: wanted for the Prefect server; 0, or a port that is taken: any free one.
        service_port: the same for the service.

    Raises:
        AssayError: a part does not start; the message holds the last lines of its log.
    """
    with alone(settings):
        there = state(settings)
        if there is not None:
            _refuse_moved(settings)
            return there
        _down(settings)
        said = upgrading.upgrade(settings)
        if said:
            print(said, file=sys.stderr)
        sockets = {"server": listen(server_port), "service": listen(service_port)}
        api, service = (f"{HOST}:{sockets[part].getsockname()[1]}" for part in ("server", "service"))
        scheme = "https" if settings.tls_cert else "http"
        try:
            return _started(
                settings, System(f"http://{api}/api", f"{scheme}://{service}", settings.origin_named), sockets
            )
        except BaseException:  # Ctrl-C too: what was started must not outlive a start that failed
            _down(settings)
            raise
        finally:
            for bound in sockets.values():
                bound.close()


def _started(settings: Settings, system: System, sockets: dict[str, socket.socket]) -> System:
    (settings.home / "logs").mkdir(exist_ok=True)
    processes = Processes(settings.home)
    ensure_own_key(settings)
    environment = for_parts(settings, system, processes.begin())
    place = sockets["server"].dup()
    sockets["place"] = place  # whoever waits for a server that died would tell its login to the next who listens there
    processes.start("server", ["tasks.cli.server"], environment | of_server(settings), sockets["server"])
    processes.start("service", ["tasks.cli.service"], environment, sockets["service"])
    _origin(settings)
    system = replace(system, root=ledger.begin(settings).root)
    try:
        pointers.align(settings)
    except AssayError as error:  # the service says of each what is wrong with it, and the keeper tries again
        print(f"what serves is not pointed at anew: {error}", file=sys.stderr)
    _wait(settings, "server", f"{system.api_url}/health")
    most = ensure_places(own_server(settings, system.api_url))
    worker = ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", str(most)]
    processes.start("worker", worker, environment | of_client(settings))
    processes.start("keeper", ["tasks.cli.keeper"], environment, held=place)
    _deploy(settings, environment | of_client(settings))
    try:
        align_models(settings, system)
    except UnreachableError:
        raise
    except AssayError as error:  # what somebody pushed must not keep what serves from starting
        print(f"schedules and forms stay as they are: {error}", file=sys.stderr)
    _wait(settings, "service", f"{system.service_url}/health/live")
    (settings.home / "run/system.json").write_text(json.dumps(system.__dict__))
    if state(settings) is None:
        raise AssayError(
            f"the worker stopped while it was starting. Its log ends with:\n{_log_end(settings, 'worker')}"
        )
    return system


def down(settings: Settings) -> list[str]:
    """Stop what :func:`up` started from this home, and nothing else; gives the names of the stopped parts."""
    if not settings.home.is_dir():
        return []
    with alone(settings):
        return _down(settings)


def _down(settings: Settings) -> list[str]:
    processes = Processes(settings.home)
    stopped = [part for part in PARTS if processes.stop(part)]
    processes.stop_orphans()
    (settings.home / "run/system.json").unlink(missing_ok=True)
    return stopped


def _refuse_moved(settings: Settings) -> None:
    before = Processes(settings.home).moved_from()
    if before:
        raise AssayError(
            f"{settings.home} was {before} when its system was started, and what runs still looks there. Stop it and "
            "start it again: assay down; assay up"
        )


@contextmanager
def running(settings: Settings, server_port: int = SERVER_PORT, service_port: int = SERVICE_PORT) -> Iterator[System]:
    """The system for the length of a ``with`` block."""
    try:
        yield up(settings, server_port, service_port)
    finally:
        down(settings)


def _wait(settings: Settings, part: str, url: str) -> None:
    """Until a part answers; asked is nothing but the process that was started."""
    processes, end = Processes(settings.home), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if processes.alive(part) is None:
            raise AssayError(
                f"the {part} stopped while it was starting. Its log ends with:\n{_log_end(settings, part)}"
            )
        try:
            if processes.answers_at(part, url) and says_yes(settings, url):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssayError(
        f"the {part} did not answer at {url} within {PATIENCE:.0f} s. Its log ends with:\n{_log_end(settings, part)}"
    )


def _log_end(settings: Settings, part: str) -> str:
    return "\n".join((settings.home / f"logs/{part}.log").read_text(errors="replace").splitlines()[-15:])


def _origin(settings: Settings) -> None:
    """A bare origin of our own, unless another one is configured.

    Its hooks keep others from the ledger's branch, and tell who pushes what the keeper starts.
    """
    if settings.origin:
        return
    origin = Path(settings.origin_url)
    git = Git(origin)
    if not (origin / "HEAD").exists():
        Git(settings.home).run("init", "--quiet", "--bare", "--initial-branch", settings.branch, str(origin))
    prepare_origin(git)
    if not git.run("for-each-ref", f"refs/heads/{settings.branch}"):
        Git(ROOT, str(origin)).run("push", "--quiet", str(origin), f"HEAD:refs/heads/{settings.branch}")
    take_back(git)
    for name in HOOKS:
        shutil.copy(ROOT / "deployments/hooks" / name, origin / "hooks" / name)
        (origin / "hooks" / name).chmod(0o755)
    git.run("config", "assay.branch", settings.branch)


def align_models(settings: Settings, system: System) -> list[str]:
    """Bring schedules and forms in line with the models of the origin's branch; gives what changed."""
    git = ensure_clone(settings)
    return align(own_server(settings, system.api_url), git, f"refs/remotes/origin/{settings.branch}")


def _deploy(settings: Settings, environment: dict[str, str]) -> None:
    command = ["-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    (settings.home / "logs/deploy.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        raise AssayError(f"the flows could not be deployed:\n{_log_end(settings, 'deploy')}")
