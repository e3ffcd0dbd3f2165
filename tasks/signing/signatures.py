"""OpenSSH signatures of people and of the examiner; whatever they sign, ``ssh-keygen -Y verify`` can check.

A person's key may have a passphrase or live in an agent, so OpenSSH makes that signature. The examiner's is made here.
The form is that of OpenSSH's PROTOCOL.sshsig.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from tasks.spec.base import canonical_json
from tasks.spec.errors import ConfigError

STATEMENT, ENTRY, POLICY, POINTER = "assay", "assay-ledger", "assay-policy", "assay-pointer"
"""Namespaces: what was signed as one thing never holds as another."""
MAGIC = b"SSHSIG"
BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
LONGEST = 10_000
"""Characters of an armoured signature; that of an RSA key of 16,384 bits has 5,700."""
ED25519 = b"ssh-ed25519"
UNREADABLE = (
    "the signature is not as ssh-keygen wrote it: blanks, line ends or padding are others, as where an editor folds "
    "lines. Paste it unchanged, or sign again"
)


def sign(content: dict[str, Any], key: Path, namespace: str = STATEMENT) -> str:
    """The armoured signature of a document's canonical JSON, by OpenSSH.

    Args:
        content: what is signed, and nothing beyond it.
        key: an OpenSSH private key, or the public half of one that an agent holds.

    Raises:
        ConfigError: the key is missing or cannot be used.
    """
    if not key.exists():
        raise ConfigError(
            f"key {key} does not exist. Make one with: ssh-keygen -t ed25519 -f {key}; and have its public half "
            "added to the list: assay policy --help"
        )
    done = _ssh_keygen(["-Y", "sign", "-q", "-n", namespace, "-f", str(key)], canonical_json(content))
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise ConfigError(
            f"key {key} could not sign: {said[-1].rstrip('.') if said else f'exit code {done.returncode}'}. Give an "
            "OpenSSH private key that you may read."
        )
    return done.stdout.decode()


def sign_as_examiner(content: dict[str, Any], key: Ed25519PrivateKey, namespace: str) -> str:
    """The armoured signature of a document's canonical JSON, by a key of our own."""
    public, how = _blob(key.public_key()), b"sha512"
    signature = _string(ED25519) + _string(key.sign(_signed(canonical_json(content), namespace.encode(), how)))
    content_of = (public, namespace.encode(), b"", how, signature)
    return _armored(MAGIC + struct.pack(">I", 1) + b"".join(map(_string, content_of)))


def as_written(armor: str) -> bytes:
    """What an armor holds, which has to be the text that ssh-keygen writes, but for line feeds at its end.

    Readers of blanks and padding differ, so only one form counts: a signature holds for everybody, or for nobody.

    Raises:
        ValueError: it is another text.
    """
    raw = base64.b64decode("".join(armor.split("\n")[1:]).partition("-")[0]) if len(armor) <= LONGEST else b""
    if not raw.startswith(MAGIC + struct.pack(">I", 1)) or armor.rstrip("\n") + "\n" != _armored(raw):
        raise ValueError(UNREADABLE)
    return raw


def unreadable(armor: str) -> str:
    """Why an armor is none that ssh-keygen wrote, and what to do, in a sentence; empty where it is one."""
    try:
        as_written(armor)
    except ValueError:
        return UNREADABLE
    return ""


def holds(content: dict[str, Any], armor: str, keys: tuple[str, ...], namespace: str = STATEMENT) -> str:
    """The one of the keys whose signature over exactly this document it is; empty where it is none's.

    Args:
        armor: the signature, as :func:`sign` gives it.
        keys: public keys, each ``TYPE BASE64``.
    """
    try:
        public, named, reserved, how, signature = _strings(as_written(armor)[len(MAGIC) + 4 :], 5)
    except (struct.error, ValueError):
        return ""
    key = next((k for k in keys if k.split()[1] == base64.b64encode(public).decode() and not wrong_key(k)), "")
    if not key or named != namespace.encode() or reserved:
        return ""
    data = canonical_json(content)
    if key.split()[0].encode() != ED25519:  # of a FIDO key, flags and a counter follow the signature
        return key if _checked_by_openssh(data, armor, namespace) else ""
    try:
        (_, point), (kind, proof) = _strings(public, 2), _strings(signature, 2)
        if kind != ED25519 or how not in (b"sha512", b"sha256"):
            return ""
        Ed25519PublicKey.from_public_bytes(point).verify(proof, _signed(data, named, how))
    except (InvalidSignature, struct.error, ValueError):
        return ""
    return key


def wrong_key(key: str) -> str:
    """Why a line ``TYPE BASE64`` of a list is no key that a signature can hold by; empty where it is one."""
    kind, text = key.split()
    try:
        raw = base64.b64decode(text)
        if base64.b64encode(raw).decode() != text or not raw.startswith(_string(kind.encode())):
            raise ValueError
    except ValueError:
        return f"{key} is no public key: its type and its content differ, or it was cut. Paste the file *.pub unchanged"
    return f"{key} is a certificate; list the key that it certifies" if "-cert-" in kind else ""


def fingerprint(public: str) -> str:
    """``SHA256:...`` of a public key, as ``ssh-keygen -l`` says it."""
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def examiner_key(path: Path) -> Ed25519PrivateKey:
    """The examiner's key; made at the first start, readable by its owner alone.

    Raises:
        ConfigError: the file holds no ed25519 key that can be read.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
        with os.fdopen(handle, "wb") as stream:
            stream.write(made)
            os.fsync(handle)
        try:
            os.link(name, path)  # of two that start at once, the first one's key stays
        except FileExistsError:
            pass
        finally:
            os.unlink(name)
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the examiner's key {path} cannot be read ({error}). Put it back from the backup of the home; where it is "
            "lost, see 'Lost keys' in docs/ledger.md."
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the examiner's key {path} is no ed25519 key. Make one with: ssh-keygen -t ed25519")
    return key


def public_line(key: Ed25519PrivateKey) -> str:
    """``ssh-ed25519 AAAA...`` of a private key."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _armored(raw: bytes) -> str:
    text = base64.b64encode(raw).decode()
    return "\n".join([BEGIN, *(text[i : i + 70] for i in range(0, len(text), 70)), END, ""])


def _checked_by_openssh(data: bytes, armor: str, namespace: str) -> bool:
    """Whether it is a signature of the key that it names itself."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(armor.encode())
        file.flush()
        return _ssh_keygen(["-Y", "check-novalidate", "-n", namespace, "-s", file.name], data).returncode == 0


def _blob(key: Ed25519PublicKey) -> bytes:
    return _string(ED25519) + _string(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def _signed(data: bytes, namespace: bytes, how: bytes) -> bytes:
    digest = hashlib.new(how.decode(), data).digest()
    return MAGIC + b"".join(map(_string, (namespace, b"", how, digest)))


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _strings(raw: bytes, count: int) -> list[bytes]:
    found, at = [], 0
    for _ in range(count):
        (size,) = struct.unpack_from(">I", raw, at)
        if at + 4 + size > len(raw):
            raise ValueError("it ends too early")
        found.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(raw):
        raise ValueError("it goes on behind its end")
    return found


def _ssh_keygen(arguments: list[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["ssh-keygen", *arguments], input=content, capture_output=True, check=False)
    except FileNotFoundError:
        raise ConfigError(
            "signatures need ssh-keygen, which this machine does not have. Install OpenSSH's client."
        ) from None
