"""``python -m tasks.cli.service``: the prediction service, as one process or as several on one port.

Of several, one listens and starts the others, which answer. The socket is bound once, here, and handed down, so the
port never is without somebody who listens. A worker that ends is started again; when this process ends, however it
does, its workers drain and end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tasks.cli.homes import refuse_newer
from tasks.cli.sockets import bound_host, refuse_open, transport
from tasks.serving.cells import SharedCells
from tasks.serving.crew import Place, write_down
from tasks.serving.rates import ATTEMPTS, BUCKET
from tasks.spec.errors import AssayError, ConfigError
from tasks.spec.settings import Settings

BACKLOG = 2048
LOOK_SECONDS, WELL_SECONDS, LONGEST_WAIT = 0.1, 60.0, 30.0
"""Between two looks at the workers; how long one lives that is started again at once; the longest wait for the next
start of one that does not."""
STOP_SECONDS = 30.0
"""For workers to drain; one takes less, or is ended."""
NAME = "workers-"


@dataclass
class Worker:
    number: int
    process: subprocess.Popen[bytes]
    started: float
    short: int = 0
    """How many of its processes in a row ended soon."""
    again: float = field(default=0.0)
    """When it is started again, where it has ended."""


def supervise(settings: Settings, host: str, port: int, handed: int | None) -> int:
    """Listen, start the workers, and keep them until a signal comes; gives the exit code."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        refuse_newer(settings)
        refuse_open(settings, host)
        transport(settings, host)
        bound = _listening(host, port, handed)
    except AssayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    with bound, _folder(settings.home / "run") as folder, ExitStack() as open_files:
        counts = []
        for size in (BUCKET, ATTEMPTS):
            file = open_files.enter_context(tempfile.TemporaryFile())
            SharedCells.prepare(file.fileno(), size)
            counts.append(file.fileno())
        return _Supervisor(settings.workers, host, bound.fileno(), folder, counts).run()


class _Supervisor:
    def __init__(self, of: int, host: str, listening: int, folder: Path, counts: list[int]) -> None:
        self.of, self.folder, self._asked = of, folder, 0
        self._ends = threading.Event()
        self._pipe, self._held = os.pipe()  # the held end closes when this process ends, and all workers see that
        self._handed = [listening, self._pipe, *counts]
        self._words = [
            "--host", host, "--socket", str(listening), "--of", str(of), "--folder", str(folder),
            "--parent", str(self._pipe), "--counts", *map(str, counts),
        ]  # fmt: skip
        self.workers: list[Worker] = []

    def run(self) -> int:
        """Until a signal ends it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        try:
            self.workers = [Worker(n, self._start(n), time.monotonic()) for n in range(1, self.of + 1)]
            while not self._ends.wait(LOOK_SECONDS):
                for worker in self.workers:
                    if (code := self._look(worker)) is not None:
                        return code
        finally:
            self._stop()
        signal.signal(self._asked, signal.SIG_DFL)  # who asked sees that it was obeyed, as of a single process
        shutil.rmtree(self.folder, ignore_errors=True)
        os.kill(os.getpid(), self._asked)
        return 0

    def _signalled(self, number: int, _: object) -> None:
        if self._ends.is_set():  # asked twice: not even draining is waited for
            for worker in self.workers:
                worker.process.kill()
        self._asked = number
        self._ends.set()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tasks.cli.worker", "--number", str(number), *self._words],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(self.folder / "metrics")},
            pass_fds=self._handed,
        )

    def _look(self, worker: Worker) -> int | None:
        """Start a worker again where that is due; gives an exit code where none can ever start."""
        code = worker.process.poll()
        if code is None:
            return None
        if not worker.again:
            if code > 0 and not any(self.folder.glob("*.json")):  # it said why, and the others will say the same
                return code
            self._note(worker, code)
        if time.monotonic() >= worker.again:
            worker.process, worker.started, worker.again = self._start(worker.number), time.monotonic(), 0.0
        return None

    def _note(self, worker: Worker, code: int) -> None:
        """Decide when one that ended is started again, and let the others tell."""
        now = time.monotonic()
        worker.short = worker.short + 1 if now - worker.started < WELL_SECONDS else 0
        wait = min(2.0 ** (worker.short - 2), LONGEST_WAIT) if worker.short > 1 else 0.0
        worker.again = now + wait
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        soon = f"in {wait:g} s" if wait else "now"
        said = f"process {worker.process.pid} {how}; another is started {soon}"
        print(f"worker {worker.number}: {said}", file=sys.stderr, flush=True)
        with suppress(OSError):
            write_down(Place(0, self.of, self.folder), worker.number, {"ended": said})

    def _stop(self) -> None:
        processes = [worker.process for worker in self.workers]
        for process in processes:
            with suppress(ProcessLookupError):
                process.terminate()
        until = time.monotonic() + STOP_SECONDS
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(until - time.monotonic(), 0.01))
        for process in processes:
            process.kill()
            process.wait()


def _listening(host: str, port: int, handed: int | None) -> socket.socket:
    """The socket that all workers take connections from.

    Raises:
        ConfigError: nobody can listen there.
    """
    if handed is not None:
        bound = socket.socket(fileno=handed)
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            bound = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened on ({os.strerror(error.errno or 0)}). Stop what listens there, or "
                "choose another --port."
            ) from None
    return bound


@contextmanager
def _folder(run: Path) -> Iterator[Path]:
    """A folder in which the workers tell of themselves and count; what processes that died left is removed."""
    run.mkdir(exist_ok=True)
    for left in run.glob(f"{NAME}*"):
        number = left.name.removeprefix(NAME)
        if not number.isdigit() or not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    made = run / f"{NAME}{os.getpid()}"
    shutil.rmtree(made, ignore_errors=True)  # of a process that had this number before
    (made / "metrics").mkdir(parents=True)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--socket", type=int, help="number of a socket that listens already, instead of host and port")
    parser.add_argument("--workers", type=int, help="processes that answer; else what ASSAY_WORKERS says")
    told = parser.parse_args()
    host = told.host if told.socket is None else bound_host(told.socket)
    try:
        settings = Settings() if told.workers is None else Settings(workers=told.workers)
    except AssayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if settings.workers == 1:
        from tasks.cli.worker import run  # a parent that answers nobody loads nothing that it takes to answer

        return run(host, told.port, told.socket)
    return supervise(settings, host, told.port, told.socket)


if __name__ == "__main__":
    sys.exit(main())
