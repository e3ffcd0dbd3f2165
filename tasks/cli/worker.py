"""A process of the prediction service: ``python -m tasks.cli.worker``, or the only one (:mod:`tasks.cli.service`)."""

from __future__ import annotations

import os

# OpenMP threads make small requests slower under load; it must be said before numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import resource
import signal
import sys
import threading
from pathlib import Path

import uvicorn
from fastapi.staticfiles import StaticFiles

from tasks.cli.homes import refuse_newer
from tasks.cli.sockets import is_any, is_loopback, refuse_open, serve, transport
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.serving.access import OPEN, Access
from tasks.serving.app import create_app
from tasks.serving.cells import Cells, OwnCells, SharedCells
from tasks.serving.connections import bounded
from tasks.serving.crew import Place
from tasks.serving.keys import Keys
from tasks.serving.rates import ATTEMPTS, BUCKET
from tasks.serving.sessions import Sessions
from tasks.serving.trust import Trust
from tasks.spec.errors import AssayError
from tasks.spec.settings import Settings

DRAIN_SECONDS = 25
"""How long requests in flight may take after a signal: more than a write waits for the log's lock."""


def run(
    host: str, port: int, handed: int | None, place: Place | None = None, counts: tuple[int, int] | None = None
) -> int:
    """Answer until a signal ends it; gives the exit code.

    Args:
        handed: number of a socket that listens already, which is then served instead of host and port.
        place: of this process among those on that socket.
        counts: files in which they count rates and wrong keys together.
    """
    try:
        settings = Settings()
        settings.home.mkdir(parents=True, exist_ok=True)
        refuse_newer(settings)
        told = transport(settings, host)
        access = _access(settings, host, _cells(counts))
        trust = Trust(settings.home / "keys/examiners", settings.home / "service/heights.json")
        log = PredictionLog(settings.log_database)
    except AssayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    app = create_app(settings.releases, trust, log, Prediction, settings.most_body_bytes, access, place)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection is a file, and so is the log
    settings.reports.mkdir(parents=True, exist_ok=True)  # what serves files answers 500 where their folder is not there
    app.mount("/reports", StaticFiles(directory=settings.reports, html=True, check_dir=False), name="reports")
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
        http=bounded(settings.most_connections, settings.read_seconds),
        ws="none",  # no route speaks it, and the library for it leaves half a greeting unanswered
        **told,
    )
    # The app closes the log: after a signal uvicorn drains, lets the app end, and then raises the signal again,
    # which ends this process.
    serve(config, handed)
    return 0


def _cells(counts: tuple[int, int] | None) -> tuple[Cells, Cells]:
    if counts is None:
        return OwnCells(BUCKET), OwnCells(ATTEMPTS)
    return SharedCells(counts[0], BUCKET), SharedCells(counts[1], ATTEMPTS)


def _access(settings: Settings, host: str, cells: tuple[Cells, Cells]) -> Access:
    """Who may ask.

    Raises:
        ConfigError: nobody is asked for a key, and others than this machine could reach the service.
    """
    requests, rows = settings.most_requests, settings.most_rows
    refuse_open(settings, host)
    if settings.access == "open":
        print(f"warning: {OPEN}", file=sys.stderr, flush=True)
        return Access(None, None, frozenset(), requests, rows, *cells)
    folder = settings.access_folder
    named = frozenset() if is_loopback(host) or is_any(host) else frozenset({host.lower()})
    return Access(Keys(folder), Sessions(folder), settings.host_names | named, requests, rows, *cells)


def _end_with(pipe: int) -> None:
    """Drain and end once the other end of a pipe is closed, which is when the process that holds it ends."""
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--socket", type=int, required=True, help="number of the socket that listens")
    parser.add_argument("--number", type=int, required=True, help="of this process, from 1 on")
    parser.add_argument("--of", type=int, required=True, help="how many answer")
    parser.add_argument("--folder", type=Path, required=True, help="where they tell of themselves")
    parser.add_argument("--counts", type=int, nargs=2, required=True, help="files in which they count together")
    parser.add_argument("--parent", type=int, required=True, help="a pipe that ends with the process that started them")
    told = parser.parse_args()
    threading.Thread(target=_end_with, args=[told.parent], name="parent", daemon=True).start()
    place = Place(told.number, told.of, told.folder)
    return run(told.host, 0, told.socket, place, (told.counts[0], told.counts[1]))


if __name__ == "__main__":
    sys.exit(main())
