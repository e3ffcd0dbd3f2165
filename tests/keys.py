"""People's keys for tests."""

from __future__ import annotations

import base64
import shutil
import struct
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


def reserved(armor: str) -> str:
    """The same signature with text in a field that nothing covers."""
    parts = strings(base64.b64decode("".join(armor.split("\n")[1:-2]))[10:])
    parts[2] = b"x"
    return armored(b"SSHSIG" + struct.pack(">I", 1) + b"".join(map(string, parts)))


def armored(raw: bytes) -> str:
    """A signature as ssh-keygen writes it."""
    text = base64.b64encode(raw).decode()
    lines = (text[i : i + 70] for i in range(0, len(text), 70))
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def string(content: bytes) -> bytes:
    """As OpenSSH writes one: its length, then its bytes."""
    return struct.pack(">I", len(content)) + content


def strings(raw: bytes) -> list[bytes]:
    found = []
    while raw:
        end = 4 + int.from_bytes(raw[:4])
        found.append(raw[4:end])
        raw = raw[end:]
    return found
