"""A timestamp authority of a test's own: OpenSSL's, behind HTTP on this machine, with a certificate authority."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SETTINGS = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
certs = {folder}/ca.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout")


@dataclass
class Authority:
    url: str
    folder: Path
    asked: list[bytes] = field(default_factory=list)
    """Requests that came, oldest first."""
    answer: tuple[int, str, bytes] | None = None
    """What is answered instead of a token: status, type and body."""

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def reply(self, query: bytes) -> bytes:
        with tempfile.NamedTemporaryFile() as file:
            file.write(query)
            file.flush()
            words = ("-config", str(self.folder / "tsa.cnf"), "-section", "own", "-queryfile", file.name)
            return openssl("ts", "-reply", *words)

    def token(self, digest: str) -> bytes:
        """A token over a digest, as somebody gets it who asks."""
        return self.reply(openssl("ts", "-query", "-digest", digest.removeprefix("sha256:"), "-sha256", "-cert"))


def openssl(*words: str) -> bytes:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine; Debian's openssl has it")
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


def certified(folder: Path) -> None:
    """A certificate authority, and a timestamp authority that it vouches for."""
    folder.mkdir()
    ca, tsa = (str(folder / name) for name in ("ca", "tsa"))
    openssl("req", "-x509", *KEY, f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={folder.name}", "-days", "2")
    openssl("req", *KEY, f"{tsa}.key", "-out", f"{tsa}.csr", "-subj", "/CN=timestamps", "-days", "2")
    (folder / "uses").write_text("extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n")
    signed_by = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-extfile", str(folder / "uses"))
    openssl("x509", "-req", "-in", f"{tsa}.csr", "-out", f"{tsa}.pem", "-days", "2", *signed_by)
    (folder / "tsa.cnf").write_text(SETTINGS.format(folder=folder))
    (folder / "serial").write_text("01\n")


@contextmanager
def authority(folder: Path) -> Iterator[Authority]:
    """An authority that answers until the end."""
    certified(folder)
    made = Authority("", folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            made.asked.append(query)
            status, kind, body = made.answer or (200, "application/timestamp-reply", made.reply(query))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
