"""``python -m tasks.cli.service``: the prediction service as a process."""

from __future__ import annotations

import os

# OpenMP threads make small requests slower under load; it must be said before numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import sys

import uvicorn
from fastapi.staticfiles import StaticFiles

from tasks.cli.homes import refuse_newer
from tasks.cli.sockets import serve
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.serving.app import create_app
from tasks.serving.trust import Trust
from tasks.spec.errors import AssayError
from tasks.spec.settings import Settings

DRAIN_SECONDS = 25
"""How long requests in flight may take after a signal: more than a write waits for the log's lock."""


def main() -> int:
    settings = Settings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--socket", type=int, help="number of a socket that listens already, instead of host and port")
    arguments = parser.parse_args()
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        refuse_newer(settings)
        trust = Trust(settings.home / "keys/examiners", settings.home / "service/heights.json")
        log = PredictionLog(settings.log_database)
    except AssayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    app = create_app(settings.releases, trust, log, Prediction, settings.most_body_bytes)
    app.mount("/reports", StaticFiles(directory=settings.reports, html=True, check_dir=False), name="reports")
    config = uvicorn.Config(
        app,
        host=arguments.host,
        port=arguments.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    # The app closes the log: after a signal uvicorn drains, lets the app end, and then raises the signal again,
    # which ends this process.
    serve(config, arguments.socket)
    return 0


if __name__ == "__main__":
    sys.exit(main())
