"""The local system: an origin, a Prefect server, a worker and the prediction service, started and stopped together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil

from tasks.cli.alignment import align
from tasks.cli.prefect_api import PrefectApi
from tasks.records.registry import ledger
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import ensure_clone, take_back
from tasks.spec.errors import AssayError, ConfigError
from tasks.spec.settings import ROOT, Settings

PARTS = ("service", "worker", "server")
PATIENCE = 120.0
SERVER_PORT, SERVICE_PORT = 4200, 8090
MARK = "ASSAY_SYSTEM"
_STARTED: dict[int, subprocess.Popen[bytes]] = {}
"""What this very process started: a parent has to reap its children."""
QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


PATIENT = {"GOMP_SPINCOUNT": "1000"}
"""GNU OpenMP's threads wait for each other awake for microseconds and then asleep, unless the environment says
otherwise. By default they stay awake for long and take the cores that the others need: on a busy machine boosted trees
take many times as long. Asleep at once (OMP_WAIT_POLICY=PASSIVE), they take many times as long on a quiet one."""


@dataclass(frozen=True)
class System:
    api_url: str
    service_url: str
    origin: str
    root: str = ""
    """Fingerprint of the ledger's first list."""


def free_port(wanted: int) -> int:
    """``wanted``, or another one where it is taken; connections of the past that linger do not take it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port(0)
        return int(probe.getsockname()[1])


def state(settings: Settings) -> System | None:
    """The system that runs from this home, or None."""
    path = settings.home / "run/system.json"
    if not path.exists() or not all(_alive(settings, part) for part in PARTS):
        return None
    return System(**json.loads(path.read_text()))


def up(settings: Settings, server_port: int = SERVER_PORT, service_port: int = SERVICE_PORT) -> System:
    """Start everything, wait until it answers, and deploy; whoever starts it twice gets what runs.

    Raises:
        AssayError: a part does not start; the message holds the last lines of its log.
    """
    there = state(settings)
    if there is not None:
        return there
    down(settings)
    (settings.home / "run").mkdir(parents=True, exist_ok=True)
    (settings.home / "logs").mkdir(exist_ok=True)
    api_port, port = free_port(server_port), free_port(service_port)
    system = System(f"http://127.0.0.1:{api_port}/api", f"http://127.0.0.1:{port}", settings.origin_url)
    (settings.home / "run/mark").write_text(uuid.uuid4().hex)
    environment = _environment(settings, system)
    try:
        server = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(api_port)]
        _start(settings, "server", server, environment)
        _start(settings, "service", ["-m", "tasks.cli.service", "--port", str(port)], environment)
        _origin(settings, system)
        system = replace(system, root=ledger.begin(settings).root)
        _wait(settings, "server", f"{system.api_url}/health")
        httpx.post(f"{system.api_url}/work_pools/", json={"name": "assay", "type": "process"}, trust_env=False)
        worker = ["-m", "prefect", "worker", "start", "--pool", "assay", "--type", "process", "--limit", "2"]
        _start(settings, "worker", worker, environment)
        _deploy(settings, environment)
        try:
            align_models(settings, system)
        except ConfigError as error:  # a list that cannot be read must not keep what serves from starting
            print(f"schedules and forms stay as they are: {error}", file=sys.stderr)
        _wait(settings, "service", f"{system.service_url}/health")
    except BaseException:  # Ctrl-C too: what was started must not outlive a start that failed
        down(settings)
        raise
    (settings.home / "run/system.json").write_text(json.dumps(system.__dict__))
    return system


def down(settings: Settings) -> list[str]:
    """Stop what :func:`up` started from this home, and nothing else; gives the names of the stopped parts."""
    stopped = []
    for part in PARTS:
        process = _alive(settings, part)
        if process is not None:
            _stop(process)
            stopped.append(part)
        (settings.home / f"run/{part}.json").unlink(missing_ok=True)
    _stop_orphans(settings)
    (settings.home / "run/system.json").unlink(missing_ok=True)
    return stopped


@contextmanager
def running(settings: Settings, server_port: int = SERVER_PORT, service_port: int = SERVICE_PORT) -> Iterator[System]:
    """The system for the length of a ``with`` block."""
    try:
        yield up(settings, server_port, service_port)
    finally:
        down(settings)


def _environment(settings: Settings, system: System) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {
        **PATIENT,
        **kept,
        **QUIET,
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_PROFILES_PATH": str(settings.home / "prefect/profiles.toml"),
        "PREFECT_API_URL": system.api_url,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "true",
        MARK: _mark(settings),
        "ASSAY_HOME": str(settings.home),
        "ASSAY_ORIGIN": settings.origin_url,
        "ASSAY_BRANCH": settings.branch,
        "ASSAY_LOG_URL": settings.log_database,
        "ASSAY_SERVICE_URL": system.service_url,
    }


def _start(settings: Settings, part: str, command: list[str], environment: dict[str, str]) -> None:
    # A session of its own: a worker in a background job of a shell ignores SIGINT and hangs on SIGTERM.
    with (settings.home / f"logs/{part}.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _STARTED[process.pid] = process
    known = {"pid": process.pid, "created": psutil.Process(process.pid).create_time()}
    (settings.home / f"run/{part}.json").write_text(json.dumps(known))


def _alive(settings: Settings, part: str) -> psutil.Process | None:
    path = settings.home / f"run/{part}.json"
    try:
        known = json.loads(path.read_text())
        process = psutil.Process(known["pid"])
        same = abs(process.create_time() - known["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, psutil.NoSuchProcess, ValueError, KeyError):
        return None
    return process if same else None


def _stop(process: psutil.Process) -> None:
    family = [process, *process.children(recursive=True)]
    os.killpg(process.pid, signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=10)
    for one in left:
        one.kill()
    psutil.wait_procs(left, timeout=5)
    if process.pid in _STARTED:
        _STARTED.pop(process.pid).wait()


def _mark(settings: Settings) -> str:
    path = settings.home / "run/mark"
    return path.read_text() if path.exists() else ""


def _stop_orphans(settings: Settings) -> None:
    """Flow runs outlive a worker that was killed; :func:`up` put a mark into their environment to find them by."""
    mark = _mark(settings)
    left = []
    for process in psutil.process_iter():
        try:
            if mark and process.environ().get(MARK) == mark and process.pid != os.getpid():
                process.terminate()
                left.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    _, left = psutil.wait_procs(left, timeout=5)
    for process in left:
        process.kill()
    (settings.home / "run/mark").unlink(missing_ok=True)


def _wait(settings: Settings, part: str, url: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if _alive(settings, part) is None:
            raise AssayError(
                f"the {part} stopped while it was starting. Its log ends with:\n{_log_end(settings, part)}"
            )
        try:
            if httpx.get(url, timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssayError(
        f"the {part} did not answer at {url} within {PATIENCE:.0f} s. Its log ends with:\n{_log_end(settings, part)}"
    )


def _log_end(settings: Settings, part: str) -> str:
    return "\n".join((settings.home / f"logs/{part}.log").read_text(errors="replace").splitlines()[-15:])


def _origin(settings: Settings, system: System) -> None:
    """A bare origin of our own, unless another one is configured; its hook starts training."""
    if settings.origin:
        return
    origin = Path(settings.origin_url)
    git = Git(origin)
    if not origin.exists():
        Git(settings.home).run("init", "--quiet", "--bare", "--initial-branch", settings.branch, str(origin))
        git.run("config", "receive.shallowUpdate", "true")  # CI's checkouts often hold one commit
        Git(ROOT).run("push", "--quiet", str(origin), f"HEAD:refs/heads/{settings.branch}")
    take_back(git)
    hook = origin / "hooks/post-receive"
    shutil.copy(ROOT / "deployments/hooks/post-receive", hook)
    hook.chmod(0o755)
    git.run("config", "assay.api", system.api_url)
    git.run("config", "assay.branch", settings.branch)
    git.run("config", "assay.python", sys.executable)


def align_models(settings: Settings, system: System) -> list[str]:
    """Bring schedules and forms in line with the models of the origin's branch; gives what changed."""
    git = ensure_clone(settings)
    return align(PrefectApi(system.api_url), git, f"refs/remotes/origin/{settings.branch}")


def _deploy(settings: Settings, environment: dict[str, str]) -> None:
    command = ["-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    (settings.home / "logs/deploy.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        raise AssayError(f"the flows could not be deployed:\n{_log_end(settings, 'deploy')}")
