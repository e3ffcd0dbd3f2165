"""People's keys for tests."""

from __future__ import annotations

import base64
import hashlib
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tasks.spec.base import canonical_json


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


FIDO, SOFTWARE, APPLICATION = b"sk-ssh-ed25519@openssh.com", Ed25519PrivateKey.from_private_bytes(b"f" * 32), b"ssh:"
PRESENT = b"\x01\0\0\0\x05"
"""Of a FIDO signature: that a person touched the key, and how often it has signed."""


def fido_line() -> str:
    return f"{FIDO.decode()} {base64.b64encode(fido_blob()).decode()}"


def fido_blob() -> bytes:
    point = SOFTWARE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return string(FIDO) + string(point) + string(APPLICATION)


def as_fido(said: dict[str, Any], told: bytes = PRESENT) -> str:
    """A signature as a FIDO key makes it (OpenSSH, PROTOCOL.u2f), which puts flags and a counter behind its own.

    Args:
        told: flags and counter as they are written; what is signed says ``PRESENT``.
    """
    digest = hashlib.sha512(canonical_json(said)).digest()
    content = b"SSHSIG" + b"".join(map(string, (b"assay", b"", b"sha512", digest)))
    covered = hashlib.sha256(APPLICATION).digest() + PRESENT + hashlib.sha256(content).digest()
    proof = string(FIDO) + string(SOFTWARE.sign(covered)) + told
    return armored(b"SSHSIG" + struct.pack(">I", 1)
                   + b"".join(map(string, (fido_blob(), b"assay", b"", b"sha512", proof))))  # fmt: skip
