"""``python -m tasks.cli.service``: the prediction service as a process."""

from __future__ import annotations

import os

# OpenMP threads make small requests slower under load; it must be said before numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import ipaddress
import resource
import socket
import sys
from typing import Any

import uvicorn
from fastapi.staticfiles import StaticFiles

from tasks.cli.homes import refuse_newer
from tasks.cli.sockets import serve
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.serving.access import OPEN, Access
from tasks.serving.app import create_app
from tasks.serving.connections import bounded
from tasks.serving.keys import Keys
from tasks.serving.sessions import Sessions
from tasks.serving.trust import Trust
from tasks.spec.errors import AssayError, ConfigError
from tasks.spec.settings import Settings

DRAIN_SECONDS = 25
"""How long requests in flight may take after a signal: more than a write waits for the log's lock."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--socket", type=int, help="number of a socket that listens already, instead of host and port")
    arguments = parser.parse_args()
    try:
        settings = Settings()
        settings.home.mkdir(parents=True, exist_ok=True)
        refuse_newer(settings)
        host = _bound(arguments.socket) if arguments.socket is not None else arguments.host
        transport = _transport(settings, host)
        access = _access(settings, host)
        trust = Trust(settings.home / "keys/examiners", settings.home / "service/heights.json")
        log = PredictionLog(settings.log_database)
    except AssayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    app = create_app(settings.releases, trust, log, Prediction, settings.most_body_bytes, access)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection is a file, and so is the log
    app.mount("/reports", StaticFiles(directory=settings.reports, html=True, check_dir=False), name="reports")
    config = uvicorn.Config(
        app,
        host=arguments.host,
        port=arguments.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
        http=bounded(settings.most_connections, settings.read_seconds),
        **transport,
    )
    # The app closes the log: after a signal uvicorn drains, lets the app end, and then raises the signal again,
    # which ends this process.
    serve(config, arguments.socket)
    return 0


def _access(settings: Settings, host: str) -> Access:
    """Who may ask.

    Raises:
        ConfigError: nobody is asked for a key, and others than this machine could reach the service.
    """
    requests, rows = settings.most_requests, settings.most_rows
    if settings.access == "open":
        if not _is_loopback(host) or settings.proxy_addresses:
            raise ConfigError(
                f"ASSAY_ACCESS=open lets nobody but this machine ask, and the service was to listen on {host}"
                f"{' behind ' + settings.proxies if settings.proxies else ''}. Unset ASSAY_ACCESS and use keys, or "
                "listen on 127.0.0.1 without ASSAY_PROXIES."
            )
        print(f"warning: {OPEN}", file=sys.stderr, flush=True)
        return Access(None, None, requests=requests, rows=rows)
    folder = settings.access_folder
    named = frozenset() if _is_loopback(host) or _is_any(host) else frozenset({host.lower()})
    return Access(Keys(folder), Sessions(folder), settings.host_names | named, requests, rows)


def _transport(settings: Settings, host: str) -> dict[str, Any]:
    """What uvicorn is told of certificates and proxies.

    Raises:
        ConfigError: a file is missing, or keys would travel in clear text.
    """
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ConfigError("ASSAY_TLS_CERT and ASSAY_TLS_KEY go together: set both, or neither.")
    for name, file in (("ASSAY_TLS_CERT", settings.tls_cert), ("ASSAY_TLS_KEY", settings.tls_key)):
        if file is not None and not os.access(file, os.R_OK):
            raise ConfigError(f"{name} is {file}, which cannot be read. Name a PEM file.")
    for address in settings.proxy_addresses:
        try:
            ipaddress.ip_network(address)
        except ValueError:
            raise ConfigError(
                f"ASSAY_PROXIES has {address!r}; allowed are addresses and networks, such as 127.0.0.1 or 10.0.0.0/8."
            ) from None
    if settings.tls_cert is None and not settings.proxy_addresses and not _is_loopback(host):
        raise ConfigError(
            f"the service was to listen on {host} in clear text, where others read the keys. Set ASSAY_TLS_CERT and "
            "ASSAY_TLS_KEY, or ASSAY_PROXIES where a proxy before it speaks TLS."
        )
    # uvicorn would believe whoever asks from 127.0.0.1
    return {
        "proxy_headers": bool(settings.proxy_addresses),
        "forwarded_allow_ips": settings.proxy_addresses or None,
        "ssl_certfile": str(settings.tls_cert) if settings.tls_cert else None,
        "ssl_keyfile": str(settings.tls_key) if settings.tls_key else None,
    }


def _bound(number: int) -> str:
    """The address that a socket which was handed over listens on."""
    with socket.socket(fileno=os.dup(number)) as handed:
        return str(handed.getsockname()[0])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


if __name__ == "__main__":
    sys.exit(main())
