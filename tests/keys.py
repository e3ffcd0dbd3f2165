"""People's keys for tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def key(folder: Path, name: str) -> Path:
    """A new OpenSSH key without a passphrase; gives the private half's path."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen on this machine; Debian's openssh-client has it")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], check=True)
    return folder / name
