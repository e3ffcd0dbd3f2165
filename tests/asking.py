"""Requests of tests to a service, with a key of it: ``asking.get`` and ``asking.post`` are httpx's otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

KEYS: dict[str, str] = {}
"""By the service's address, the key that tests ask it with."""


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def headers(url: str) -> dict[str, str]:
    """The header for an address; none where no key is known for it."""
    key = next((key for begin, key in KEYS.items() if url == begin or url.startswith(f"{begin}/")), None)
    return {} if key is None else bearer(key)


def know(url: str, home: Path) -> None:
    """Ask a system by the key of its home's commands, where its release makes one."""
    if (home / "access/key").exists():
        KEYS[url] = (home / "access/key").read_text().strip()


def client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers=headers(url), timeout=60)


def get(url: str, **more: Any) -> httpx.Response:
    return httpx.get(url, **_with_key(url, more))


def post(url: str, **more: Any) -> httpx.Response:
    return httpx.post(url, **_with_key(url, more))


def _with_key(url: str, more: dict[str, Any]) -> dict[str, Any]:
    return more | {"headers": headers(url) | dict(more.get("headers") or {})}
