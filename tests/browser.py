"""A real browser for tests: Debian's chromium, headless; tests that need it skip where there is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
]


def document(url: str, profile: Path, width: int, seconds: int = 20) -> str:
    """The document of a page after its scripts have run for some virtual seconds, in a window of this width."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine; Debian has it as a package of that name")
    command = [
        chromium,
        *QUIET,
        f"--user-data-dir={profile}",
        f"--window-size={width},1200",
        f"--virtual-time-budget={seconds * 1000}",
        "--dump-dom",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
