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


def public(path: Path) -> str:
    """The public half of a key, as the list of people has it."""
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])
