"""Several processes on one port: what holds of one holds of all, and none that dies takes an answer with it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tasks.serving.keys import KeyFile, public_id
from tasks.spec.model import load_model
from tests import asking
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start, until
from tests.serving.stranger import PAGE, assay
from tests.serving.under_load import Load

WORKERS = 2


def serving(home: Path, said: Path | None = None) -> Service:
    config = load_model(ROOT, "care")
    release(home, config, "v1.0.0", 1)
    release(home, config, "v2.0.0", 2)
    point(home, "v1.0.0")
    left = home / "run/workers-999999999"  # of a service that was killed
    left.mkdir(parents=True)
    more = {} if said is None else {"stdout": said.open("wb"), "stderr": subprocess.STDOUT}
    found = start(home, config, {"ASSAY_WORKERS": str(WORKERS)}, **more)
    until(lambda: asking.get(f"{found.url}/health/ready").status_code == 200)
    assert not left.exists()
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    found = serving(home, home / "said")
    yield found
    found.process.kill()
    found.process.wait()


@pytest.fixture
def each(service: Service) -> Iterator[dict[int, httpx.Client]]:
    """A connection that is kept to each process, by its number."""
    found: dict[int, httpx.Client] = {}
    held: list[httpx.Client] = []
    end = time.monotonic() + 30
    while len(found) < WORKERS:
        assert time.monotonic() < end, f"only {list(found)} answer"
        one = asking.client(service.url)
        held.append(one)
        with suppress(httpx.HTTPError):
            found.setdefault(one.get("/health").json()["process"], one)
    yield found
    for one in held:
        one.close()


def seconds_until_all(
    each: dict[int, httpx.Client],
    ask: Callable[[httpx.Client], httpx.Response],
    right: Callable[[httpx.Response], bool],
) -> float:
    """Until each process was seen to answer so."""
    begun, left = time.monotonic(), set(each)
    while left:
        left -= {number for number in left if right(ask(each[number]))}
        assert time.monotonic() - begun < 10, left
        time.sleep(0.02)
    return time.monotonic() - begun


def predict(service: Service, client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post("/models/care/predict", json={"rows": service.rows(1)}, **more)


def test_a_key_is_new_and_revoked_everywhere_within_two_seconds(
    service: Service, each: dict[int, httpx.Client]
) -> None:
    key = service.key("predict", "read")
    sent = {"headers": asking.bearer(key)}
    assert seconds_until_all(each, lambda c: c.get("/models", **sent), lambda a: a.status_code == 200) < 2
    assert seconds_until_all(each, lambda c: predict(service, c, **sent), lambda a: a.status_code == 200) < 2
    KeyFile(service.home / "access").revoke(public_id(key))
    assert seconds_until_all(each, lambda c: predict(service, c, **sent), lambda a: a.status_code == 401) < 2


def test_a_version_and_a_stop_are_everywhere_within_two_seconds(
    service: Service, each: dict[int, httpx.Client]
) -> None:
    def version(answer: httpx.Response) -> str:
        return str(answer.json().get("version"))

    for name in ("v2.0.0", "v1.0.0"):
        point(service.home, name)
        taken = seconds_until_all(each, lambda c: predict(service, c), lambda a, name=name: version(a) == name)  # type: ignore[misc]
        assert taken < 2
    point(service.home, "v1.0.0", stopped="a person says so")
    assert seconds_until_all(each, lambda c: predict(service, c), lambda a: a.status_code == 503) < 2
    point(service.home, "v1.0.0")
    assert seconds_until_all(each, lambda c: predict(service, c), lambda a: a.status_code == 200) < 2


def test_a_link_logs_in_once_over_all(service: Service, each: dict[int, httpx.Client]) -> None:
    headers = asking.bearer(service.key("read", "operate"))
    time.sleep(0.6)
    for _ in range(3):
        path = httpx.post(f"{service.url}/links", headers=headers).json()["path"]
        with ThreadPoolExecutor(WORKERS) as pool:
            answers = list(pool.map(lambda client: client.get(path, headers=PAGE), each.values()))  # noqa: B023
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * (WORKERS - 1)
        (good,) = [answer for answer in answers if answer.status_code == 200]
        sent = PAGE | {"cookie": good.headers["set-cookie"].split(";")[0]}
        seen: set[int] = set()
        until(lambda: seen.add(httpx.get(f"{service.url}/health", headers=sent).json()["process"]) or seen == set(each))  # noqa: B023


def test_a_keys_rate_holds_over_all(service: Service, each: dict[int, httpx.Client]) -> None:
    headers = asking.bearer(service.key("predict", requests=10, rows=1000))
    time.sleep(0.6)
    begun, good, many = time.monotonic(), 0, 0
    while time.monotonic() - begun < 3:
        for client in each.values():
            answer = predict(service, client, headers=headers)
            good, many = good + (answer.status_code == 200), many + 1
    taken = time.monotonic() - begun
    assert 10 * taken - 3 <= good <= 10 * (taken + 1) + 1 < many, (good, many)


def test_wrong_keys_of_one_address_wait_at_all_and_a_right_one_does_not(
    service: Service, each: dict[int, httpx.Client]
) -> None:
    """They were counted by each process for itself, and a program could try without end."""
    wrong = asking.bearer(f"assay_{'0' * 12}_{'x' * 43}")
    codes = [client.get("/models", headers=wrong).status_code for _ in range(20) for client in each.values()]
    assert codes == sorted(codes) and codes[-1] == 429 and set(codes) <= {401, 429} and codes.count(401) <= 30, codes
    for client in each.values():
        answer = client.get("/models", headers=wrong)
        assert re.fullmatch(
            r"too many wrong keys came from 127\.0\.0\.1\. Try again in \d\d? s", answer.json()["detail"]
        )
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert client.get("/models").status_code == 200


def test_metrics_are_those_of_all(service: Service, each: dict[int, httpx.Client]) -> None:
    def counted(client: httpx.Client) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("assay_predictions_total{"))

    before = [counted(client) for client in each.values()]
    for client in each.values():
        assert predict(service, client).status_code == 200
    assert len(set(before)) == 1 and [counted(c) for c in each.values()] == [before[0] + WORKERS] * WORKERS
    text = next(iter(each.values())).get("/metrics").text
    assert 'assay_champion{model="care",version="v1.0.0"} 1.0' in text


def test_keys_list_says_when_a_key_was_last_used(service: Service, each: dict[int, httpx.Client]) -> None:
    one, other = service.key("read"), service.key("read")
    time.sleep(0.6)
    for client in each.values():
        assert client.get("/models", headers=asking.bearer(one)).status_code == 200
    lines = {line.split()[0]: line for line in assay(service, "keys", "list").stdout.splitlines()}
    minute = time.strftime("%Y-%m-%d %H:", time.gmtime())
    assert f"  last used {minute}" in lines[public_id(one)] and "  not used yet  " in lines[public_id(other)]
    used = service.home / "access/used" / public_id(one)
    written = used.stat().st_mtime_ns
    for client in each.values():
        assert client.get("/models", headers=asking.bearer(one)).status_code == 200
    assert used.stat().st_mtime_ns == written and used.stat().st_mode & 0o777 == 0o600


def test_a_worker_that_is_killed_takes_no_answer_with_it_and_is_started_again(
    service: Service, each: dict[int, httpx.Client]
) -> None:
    ready = f"{service.url}/health/ready"
    with Load(service.url, service.rows(1)) as load:
        for pause, soon in ((0.0, "now"), (1.0, "in 1 s")):
            before = workers(service)
            victim = next(iter(before))
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            until(lambda: asking.get(ready).status_code == 503, seconds=5)
            said = asking.get(ready).json()["problems"]
            if said:  # it may be back
                assert list(said.values()) == [f"process {victim} was ended by SIGKILL; another is started {soon}"]  # noqa: B023
            until(lambda: asking.get(ready).status_code == 200, seconds=30)
            assert time.monotonic() - killed > pause
            after = workers(service)
            assert victim not in after and len(after) == WORKERS
    assert load.ids <= set(service.log()["_id"]) and len(load.ids) > 100
    assert not any(load.refused) and load.broken <= 2 * 6, "one that is killed breaks the connections that it had"
    said = (service.home / "said").read_text()
    assert said.count("was ended by SIGKILL; another is started") == 2 and "Traceback" not in said


def workers(service: Service) -> dict[int, dict[str, Any]]:
    """What each process says of itself, by its number."""
    told = asking.get(f"{service.url}/health").json()["workers"].values()
    return {one["process"]: one for one in told}


def family(service: Service) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children(recursive=True)


def test_a_stop_drains_and_leaves_nobody(service: Service) -> None:
    """The last test of this service."""
    children = family(service)
    with Load(service.url, service.rows(1)) as load:
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=30) == -signal.SIGTERM
    assert load.ids <= set(service.log()["_id"]) and not any(load.refused)
    assert len(children) == WORKERS and not psutil.wait_procs(children, timeout=1)[1]
    assert list((service.home / "run").glob("workers-*")) == []


def test_no_worker_outlives_who_started_it(tmp_path: Path) -> None:
    service = serving(tmp_path)
    children = family(service)
    try:
        with Load(service.url, service.rows(1)) as load:
            service.process.kill()
            service.process.wait()
            assert not psutil.wait_procs(children, timeout=20)[1]
        assert load.ids <= set(service.log()["_id"])
    finally:
        for one in children:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def test_what_cannot_start_says_so_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from tasks.cli.app import main; main()", "serve", "--workers", "2"]

    def refused(*more: str, **environment: str) -> str:
        known = os.environ | {"ASSAY_HOME": str(tmp_path)} | environment
        done = subprocess.run([*command, *more], cwd=ROOT, env=known, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        return done.stderr.strip()

    assert refused("--host", "192.0.2.1").startswith("the service was to listen on 192.0.2.1 in clear text")
    assert refused("--workers", "0") == "ASSAY_WORKERS is 0: Input should be greater than or equal to 1."
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused("--port", str(port)) == (
            f"127.0.0.1:{port} cannot be listened on (Address already in use). Stop what listens there, or choose "
            "another --port."
        )
    assert refused(ASSAY_TLS_CERT="x") == ("ASSAY_TLS_CERT and ASSAY_TLS_KEY go together: set both, or neither.")
