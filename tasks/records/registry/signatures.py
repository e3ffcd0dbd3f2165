"""Signatures of people, made and checked by OpenSSH: a private key never leaves its owner's machine."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tasks.records.repository.git import Git, GitError
from tasks.spec.base import canonical_json
from tasks.spec.errors import ConfigError, PromotionRefused

NAMESPACE = "assay"
SIGNERS = "deployments/signers"
"""OpenSSH's allowed signers file, read from the origin's main branch, never from what is to be signed."""


def sign(statement: dict[str, Any], key: Path) -> str:
    """The armoured signature of a statement's canonical JSON.

    Args:
        statement: what is signed, and nothing beyond it.
        key: an OpenSSH private key, or the public half of one that an agent holds.

    Raises:
        ConfigError: the key is missing or cannot be used.
    """
    if not key.exists():
        raise ConfigError(
            f"key {key} does not exist. Make one with: ssh-keygen -t ed25519 -f {key}; and add its public half to "
            f"{SIGNERS}."
        )
    done = _ssh_keygen(["-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key)], canonical_json(statement))
    if done.returncode:
        raise ConfigError(
            f"key {key} could not sign: {_last_line(done)}. Give an OpenSSH private key that you may read."
        )
    return done.stdout.decode()


def check(statement: dict[str, Any], signature: str, signer: str, allowed: str) -> None:
    """Accept a signature, or say why not.

    Args:
        statement: what should have been signed.
        signature: armoured, as :func:`sign` gives it.
        signer: the principal that it should be of, e.g. an email address.
        allowed: the content of the allowed signers file.

    Raises:
        PromotionRefused: it is not this signer's signature over exactly this statement.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed, armoured = Path(folder) / "signers", Path(folder) / "signature"
        listed.write_text(allowed)
        armoured.write_text(signature)
        command = ["-Y", "verify", "-q", "-n", NAMESPACE, "-f", str(listed), "-I", signer, "-s", str(armoured)]
        done = _ssh_keygen(command, canonical_json(statement))
    if done.returncode:
        known = sorted({line.split()[0] for line in allowed.splitlines() if line.strip() and not line.startswith("#")})
        raise PromotionRefused(
            f"the signature is not {signer}'s over exactly this statement ({_last_line(done)}). "
            f"Allowed signers: {', '.join(known) or f'none yet; add them to {SIGNERS} on the main branch'}."
        )


def allowed_signers(git: Git, branch: str) -> str:
    """The allowed signers file of the origin's main branch; empty where there is none."""
    try:
        return git.run("show", f"refs/remotes/origin/{branch}:{SIGNERS}") + "\n"
    except GitError:
        return ""


def _ssh_keygen(arguments: list[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ssh-keygen", *arguments], input=content, capture_output=True, check=False)
    except FileNotFoundError:
        raise ConfigError(
            "signatures need ssh-keygen, which this machine does not have. Install OpenSSH's client."
        ) from None


def _last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return said[-1].rstrip(".") if said else f"ssh-keygen exit code {done.returncode}"
