"""Where the service may listen and what it believes: without keys, with certificates, behind a proxy."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tasks.cli import credentials
from tasks.serving.keys import KeyFile, public_id
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests import asking
from tests.asking import bearer
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start, until
from tests.serving.stranger import PAGE, browser, field, raw


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(home: Path, **environment: str) -> Iterator[Service]:
    config = load_model(ROOT, "care")
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    running = start(home, config, environment)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(timeout=10)


def refused(home: Path, *arguments: str, **environment: str) -> str:
    """What the service says that does not start."""
    command = [sys.executable, "-m", "tasks.cli.service", "--port", str(free_port()), *arguments]
    known = os.environ | {"ASSAY_HOME": str(home)} | environment
    done = subprocess.run(command, env=known, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip()


def certificate(folder: Path, name: str) -> tuple[str, str]:
    """A certificate for one name, signed by itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
    return str(pem), str(secret)


def test_without_keys_it_answers_this_machine_alone_and_says_so_in_red(tmp_path: Path) -> None:
    with serving(tmp_path, ASSAY_ACCESS="open") as service:
        del asking.KEYS[service.url]
        predicted = asking.post(f"{service.url}/models/care/predict", json={"rows": service.rows(1)})
        assert predicted.status_code == 200
        health = asking.get(f"{service.url}/health").json()
        assert health["status"] == "degraded" and health["access"] == (
            "anybody on this machine may ask and report, since ASSAY_ACCESS=open; unset it and start the service again"
        )
        assert "<p class=bad role=alert>Anybody on this machine may ask and report" in asking.get(service.url).text
        assert asking.get(f"{service.url}/health/ready").status_code == 200, "that is no reason not to ask it"
        for header in (
            "X-Forwarded-For: 10.0.0.9",
            "Forwarded: for=10.0.0.9",
            "X-Real-IP: 1",
            "x-forwarded-host: a",
        ):
            said = raw(service, "GET /models HTTP/1.1", "Host: localhost", header)
            assert said.startswith(b"HTTP/1.1 403") and b"the request was forwarded" in said, header
        said = raw(service, "GET /models HTTP/1.1", "Host: evil.example")
        assert said.startswith(b"HTTP/1.1 400") and b"answers by the names of this machine alone" in said
        body = b'{"row": {}}'
        foreign = raw(
            service, "POST /models/care/predict HTTP/1.1", "Host: localhost", "Origin: https://evil.example",
            "Content-Type: application/json", f"Content-Length: {len(body)}", body=body,
        )  # fmt: skip
        assert foreign.startswith(b"HTTP/1.1 403") and b"a page of another site sent the request" in foreign
        log = service.log()
        assert len(log) == 1


def test_without_keys_it_listens_nowhere_else(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        said = refused(tmp_path, "--host", host, ASSAY_ACCESS="open", ASSAY_PROXIES="10.0.0.1")
        assert said.startswith("ASSAY_ACCESS=open lets nobody but this machine ask, and the service was to listen on ")
    with socket.create_server(("0.0.0.0", 0)) as bound:
        command = [sys.executable, "-m", "tasks.cli.service", "--socket", str(bound.fileno())]
        known = os.environ | {"ASSAY_HOME": str(tmp_path), "ASSAY_ACCESS": "open", "ASSAY_PROXIES": "10.0.0.1"}
        done = subprocess.run(
            command, env=known, cwd=ROOT, capture_output=True, text=True, timeout=60, pass_fds=[bound.fileno()]
        )
    assert done.returncode == 2 and "listen on 0.0.0.0" in done.stderr


def test_keys_do_not_travel_in_clear_text(tmp_path: Path) -> None:
    assert refused(tmp_path, "--host", "0.0.0.0").startswith(
        "the service was to listen on 0.0.0.0 in clear text, where others read the keys. Set ASSAY_TLS_CERT and "
    )
    pem, key = certificate(tmp_path, "assay.example")
    for environment, said in (
        ({"ASSAY_TLS_CERT": pem}, "ASSAY_TLS_CERT and ASSAY_TLS_KEY go together: set both, or neither."),
        ({"ASSAY_TLS_CERT": pem, "ASSAY_TLS_KEY": f"{key}.no"}, f"ASSAY_TLS_KEY is {key}.no, which cannot be read."),
        ({"ASSAY_PROXIES": "*"}, "ASSAY_PROXIES has '*'; allowed are addresses and networks"),
        ({"ASSAY_ACCESS": "maybe"}, "ASSAY_ACCESS is 'maybe': Input should be 'keys' or 'open'."),
        ({"ASSAY_MOST_REQUESTS": "0"}, "ASSAY_MOST_REQUESTS is '0': Input should be greater than 0."),
    ):
        assert refused(tmp_path, **environment).startswith(said), environment


def test_certificates_make_it_speak_tls_and_cookies_secure(tmp_path: Path) -> None:
    pem, key = certificate(tmp_path, "assay.example")
    port, home = free_port(), tmp_path / "home"
    config = load_model(ROOT, "care")
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    token, _ = KeyFile(home / "access").add("tests", ("read",))
    settings = Settings(home=home, tls_cert=Path(pem), tls_key=Path(key))
    known = os.environ | {
        "ASSAY_HOME": str(home),
        "ASSAY_TLS_CERT": pem,
        "ASSAY_TLS_KEY": key,
        "ASSAY_HOSTS": "assay.example",
    }
    process = subprocess.Popen([sys.executable, "-m", "tasks.cli.service", "--port", str(port)], cwd=ROOT, env=known)
    url = f"https://127.0.0.1:{port}"
    try:
        until(lambda: credentials.says_yes(settings, f"{url}/health/live"))
        with credentials.client(settings, url) as client:
            client.headers["authorization"] = f"Bearer {token}"
            assert client.get("/models").json() == {"care": "v1.0.0"}
            assert client.get("/models", headers={"host": "assay.example"}).status_code == 200
            assert "; Secure" in client.get("/login").headers["set-cookie"]
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{url}/health/live")
        other = Settings(home=home, tls_cert=Path(certificate(tmp_path, "other.example")[0]))
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            credentials.says_yes(other, f"{url}/health/live")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/health/live")
    finally:
        process.kill()
        process.wait(timeout=10)


NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl; server_name assay.example;
    ssl_certificate {pem}; ssl_certificate_key {key};
    location / {{
      proxy_pass {upstream};
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[tuple[str, ssl.SSLContext]]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no nginx on this machine; Debian has it as nginx-light")
    pem, key = certificate(folder, "assay.example")
    port, conf = free_port(), folder / "nginx.conf"
    conf.write_text(NGINX.format(folder=folder, port=port, pem=pem, key=key, upstream=upstream))
    folder.chmod(0o755)
    process = subprocess.Popen([program, "-c", str(conf), "-p", str(folder)], stderr=subprocess.PIPE)
    trusted = ssl.create_default_context(cafile=pem)
    trusted.check_hostname = False
    try:
        url = f"https://127.0.0.1:{port}"
        named = {"host": "assay.example"}
        until(lambda: httpx.get(f"{url}/health/live", verify=trusted, headers=named).status_code == 200, seconds=20)
        yield url, trusted
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_behind_a_proxy_that_is_named(tmp_path: Path) -> None:
    """Debian's nginx speaks TLS before it: cookies are secure, and wrong keys are counted by who sent them."""
    home, folder = tmp_path / "home", tmp_path / "nginx"
    folder.mkdir()
    with (
        serving(home, ASSAY_PROXIES="127.0.0.1", ASSAY_HOSTS="assay.example") as service,
        nginx(folder, service.url) as (url, trusted),
        httpx.Client(base_url=url, verify=trusted, headers={"host": "assay.example"}, timeout=20) as client,
    ):
        key = service.key("read", "predict")
        until(lambda: client.get("/models", headers=bearer(key)).status_code == 200, seconds=5)
        assert client.get("/models").status_code == 401
        assert client.get("/models", headers={"host": "evil.example"} | bearer(key)).status_code == 400
        answer = client.post("/models/care/predict", json={"rows": service.rows(1)}, headers=bearer(key))
        assert answer.status_code == 200
        login = client.get("/login", headers=PAGE)
        cookie = login.headers["set-cookie"]
        assert "; Secure" in cookie
        form = {"key": key, "form": field(login.text, "form"), "next": "/"}
        came = client.post("/login", data=form, headers=PAGE | {"cookie": cookie.split(";")[0]})
        assert came.status_code == 303 and "; Secure" in came.headers["set-cookie"]
        said = (folder / "access.log").read_text()
        assert public_id(key) not in said and key not in said


def test_many_wrong_keys_of_one_address_wait(tmp_path: Path) -> None:
    with serving(tmp_path, ASSAY_PROXIES="127.0.0.1") as service, browser(service) as client:
        good = service.key("read")

        def attempt(key: str, address: str) -> httpx.Response:
            from_there = {"x-forwarded-for": address}
            form = field(client.get("/login", headers=from_there).text, "form")
            return client.post("/login", data={"key": key, "form": form, "next": "/"}, headers=from_there)

        statuses = [attempt("assay_000000000000_x", "10.0.0.9").status_code for _ in range(11)]
        assert statuses == [401] * 10 + [429]
        waits = attempt(good, "10.0.0.9")
        assert waits.status_code == 429 and 0 < int(waits.headers["retry-after"]) <= 60
        assert "Too many wrong keys came from 10.0.0.9. Try again in" in waits.text
        until(lambda: attempt(good, "10.0.0.8").status_code == 303, seconds=5)


def test_nobody_else_says_who_forwards(tmp_path: Path) -> None:
    """Without a named proxy an address in a header is no way around that wait."""
    with serving(tmp_path) as service, browser(service) as client:
        last: Any = None
        for n in range(12):
            headers = {"x-forwarded-for": f"10.0.0.{n}", "x-forwarded-proto": "https"}
            page = client.get("/login", headers=headers)
            assert "Secure" not in page.headers["set-cookie"]
            form = {"key": "x", "form": field(page.text, "form"), "next": "/"}
            last = client.post("/login", data=form, headers=headers)
        assert last.status_code == 429 and "Too many wrong keys came from 127.0.0.1." in last.text
