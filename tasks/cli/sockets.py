"""Sockets: where the prediction service may listen, and how, and serving on one that a parent has bound."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import Any

import uvicorn

from tasks.spec.errors import ConfigError
from tasks.spec.settings import Settings


def serve(config: uvicorn.Config, number: int | None) -> None:
    """Serve until a signal ends it; without a number on host and port of ``config``.

    Raises:
        SystemExit: it could not start.
    """
    server = uvicorn.Server(config)
    server.run(sockets=None if number is None else [socket.socket(fileno=number)])
    if not server.started:
        sys.exit(3)


def refuse_open(settings: Settings, host: str) -> None:
    """Refuse a service that others than this machine could reach, where nobody is asked for a key.

    Raises:
        ConfigError: it would be one.
    """
    if settings.access == "open" and (not is_loopback(host) or settings.proxy_addresses):
        raise ConfigError(
            f"ASSAY_ACCESS=open lets nobody but this machine ask, and the service was to listen on {host}"
            f"{' behind ' + settings.proxies if settings.proxies else ''}. Unset ASSAY_ACCESS and use keys, or "
            "listen on 127.0.0.1 without ASSAY_PROXIES."
        )


def transport(settings: Settings, host: str) -> dict[str, Any]:
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
    if settings.tls_cert is None and not settings.proxy_addresses and not is_loopback(host):
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


def bound_host(number: int) -> str:
    """The address that a socket which was handed over listens on."""
    with socket.socket(fileno=os.dup(number)) as handed:
        return str(handed.getsockname()[0])


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host
