"""A real uvicorn process over a real release store and a real SQLite log."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.serving.release import load_release, read_pointer
from tasks.spec.base import digest_file
from tasks.spec.errors import CorruptionError
from tasks.spec.model import ModelConfig, load_model
from tests import asking
from tests.serving.running import ROOT, Service, point, release, start, until


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model(ROOT, "care")


@pytest.fixture
def service(tmp_path: Path, config: ModelConfig) -> Iterator[Service]:
    yield from _running(tmp_path, config)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, config: ModelConfig) -> Iterator[Service]:
    """One service for the tests that change nothing of it and do not ask what it has logged."""
    yield from _running(tmp_path_factory.mktemp("standing"), config)


def _running(home: Path, config: ModelConfig) -> Iterator[Service]:
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    running = start(home, config)
    yield running
    running.process.kill()
    running.process.wait(timeout=10)


def test_predictions_are_answered_logged_and_joined_with_outcomes(service: Service) -> None:
    answer = service.predict(rows=service.rows(3)).json()
    assert answer["version"] == "v1.0.0" and len(answer["predictions"]) == 3
    first = answer["predictions"][0]
    outcomes = {"outcomes": [{"id": first["id"], "label": True}, {"id": "nobody", "label": False}]}
    assert asking.post(f"{service.url}/models/care/outcomes", json=outcomes).json() == {
        "accepted": 1,
        "repeated": 0,
        "changed": 0,
        "unknown": 1,
    }
    outcomes["outcomes"] = [{"id": first["id"], "label": False}]
    assert asking.post(f"{service.url}/models/care/outcomes", json=outcomes).json() == {
        "accepted": 0,
        "repeated": 0,
        "changed": 1,
        "unknown": 0,
    }
    logged = service.log()
    assert logged["_id"].tolist() == [p["id"] for p in answer["predictions"]]
    assert logged["_label"].tolist()[0] == 0.0 and logged["_label"].isna().sum() == 2
    again = load_release(service.home / "releases/care/versions/v1.0.0").score(logged)
    assert again.tolist() == [p["score"] for p in answer["predictions"]]


def test_wrong_input_is_named_with_what_is_allowed(service: Service) -> None:
    row = service.rows(1)[0]
    row |= {"xage": 400.0, "coin": 3.0, "income": "much"}
    answer = service.predict(row=row)
    messages = {p["field"]: p["message"] for p in answer.json()["problems"]}
    assert answer.status_code == 422
    assert "less than or equal to 120" in messages["xage"]
    assert "did you mean 'coins'?" in messages["coin"]
    assert "valid number" in messages["income"]
    assert "serving: care" in asking.post(f"{service.url}/models/nobody/predict", json={"row": row}).json()["detail"]
    assert service.log().empty


def test_the_documents_name_no_outside_host_and_hold_the_models_schema(standing: Service) -> None:
    schema = asking.get(f"{standing.url}/openapi.json").json()
    assert "CareRow" in schema["components"]["schemas"]
    assert "http" not in asking.get(standing.url).text
    standing.predict(rows=standing.rows(2))
    assert "assay_predictions_total{decision=" in asking.get(f"{standing.url}/metrics").text


def test_a_swap_under_load_fails_no_request(service: Service) -> None:
    seen: list[str] = []
    stop = threading.Event()

    def load() -> None:
        with httpx.Client(headers=asking.headers(service.url)) as client:
            while not stop.is_set():
                answer = client.post(f"{service.url}/models/care/predict", json={"rows": service.rows(2)})
                seen.append(answer.json()["version"] if answer.status_code == 200 else f"failed {answer.status_code}")

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    release(service.home, service.config, "v2.0.0", 2)
    point(service.home, "v2.0.0")
    until(lambda: "v2.0.0" in seen[-3:])
    point(service.home, "v1.0.0")
    until(lambda: seen[-1] == "v1.0.0")
    stop.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {"v1.0.0", "v2.0.0"}


def test_a_stopped_model_says_why_and_answers_again_once_it_is_put_back(service: Service) -> None:
    point(service.home, "v1.0.0", stopped="log_loss is beyond its limit")
    until(lambda: service.predict(rows=service.rows(1)).status_code == 503)
    assert "care is stopped: log_loss is beyond its limit" in service.predict(rows=service.rows(1)).text
    health = asking.get(f"{service.url}/health").json()
    assert health["status"] == "degraded" and "stopped" in health["problems"]["care"]
    assert health["stopped"] == ["care"]
    assert asking.get(f"{service.url}/models").json() == {}  # what serves
    assert "</a> stopped: log_loss is beyond its limit</li>" in asking.get(service.url).text
    point(service.home, "v1.0.0")
    until(lambda: service.predict(rows=service.rows(1)).status_code == 200)


def test_a_model_file_with_a_changed_byte_is_refused_and_the_old_one_serves_on(service: Service) -> None:
    path = release(service.home, service.config, "v2.0.0", 2) / "model.skops"
    good, content = path.read_bytes(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptionError, match="was not opened"):
        load_release(path.parent)
    with pytest.raises(CorruptionError, match="is not released"):
        point(service.home, "v2.0.0")
    path.write_bytes(good)
    spoiled_after_pointing(service, path, bytes(content))
    assert "its manifest says" in problem(service)
    assert service.predict(rows=service.rows(1)).json()["version"] == "v1.0.0"


def problem(service: Service) -> str:
    until(lambda: asking.get(f"{service.url}/health").json()["status"] == "degraded")
    return str(asking.get(f"{service.url}/health").json()["problems"]["care"])


def spoiled_after_pointing(service: Service, path: Path, content: bytes) -> None:
    """Point at v2.0.0 as the registry's side would, with the digests of good files, and spoil one before the service
    looks."""
    service.process.send_signal(signal.SIGSTOP)
    point(service.home, "v2.0.0")
    path.write_bytes(content)
    service.process.send_signal(signal.SIGCONT)


def test_a_manifest_with_a_changed_byte_is_refused_and_the_old_one_serves_on(service: Service) -> None:
    path = release(service.home, service.config, "v2.0.0", 2) / "manifest.json"
    good = path.read_bytes()
    spoiled_after_pointing(service, path, good.replace(b'"decision_threshold":0.5', b'"decision_threshold":0.1'))
    assert path.read_bytes() != good
    messages = problem(service)
    assert (
        "manifest.json has digest sha256:" in messages
        and "champion.json says sha256:" in messages
        and "publish the version again" in messages
    )
    assert service.predict(rows=service.rows(1)).json()["version"] == "v1.0.0"
    path.write_bytes(good)
    until(lambda: service.predict(rows=service.rows(1)).json()["version"] == "v2.0.0")
    assert asking.get(f"{service.url}/health").json()["problems"] == {}


def test_a_model_file_is_read_once_so_what_was_checked_is_what_is_loaded(tmp_path: Path, config: ModelConfig) -> None:
    folder = release(tmp_path, config, "v1.0.0", 1)
    opened: list[str] = []
    sys.addaudithook(
        lambda event, arguments: (
            opened.append(str(arguments[0]))
            if event == "open" and str(arguments[0]).startswith(str(tmp_path))
            else None
        )
    )
    load_release(folder)
    assert sorted(opened) == [str(folder / "manifest.json"), str(folder / "model.skops")]


def test_a_pointer_that_names_another_model_file_is_refused(tmp_path: Path, config: ModelConfig) -> None:
    folder = release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")
    pointer = read_pointer(tmp_path / "releases/care")
    assert pointer is not None and load_release(folder, pointer).manifest.seed == 1
    with pytest.raises(CorruptionError, match="champion.json says sha256:0"):
        load_release(folder, pointer.model_copy(update={"model_digest": "sha256:0"}))
    with pytest.raises(CorruptionError, match="manifest.json has digest"):
        load_release(folder, pointer.model_copy(update={"manifest_digest": "sha256:0"}))


def test_the_follower_outlives_whatever_a_release_raises(tmp_path: Path, config: ModelConfig) -> None:
    """A pointer that is a list, and a model file that is no archive though its digest is right."""
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")
    with (tmp_path / "stderr").open("wb") as stderr:
        service = start(tmp_path, config, stderr=stderr)
    try:
        (tmp_path / "releases/care/champion.json").write_text("[1]")
        assert "is not a champion pointer" in problem(service)
        folder = release(tmp_path, config, "v2.0.0", 2)
        old = digest_file(folder / "model.skops")
        (folder / "model.skops").write_bytes(b"no archive")
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace(old, digest_file(folder / "model.skops")))
        point(tmp_path, "v2.0.0")
        until(lambda: "BadZipFile" in problem(service))
        assert service.predict(rows=service.rows(1)).json()["version"] == "v1.0.0"
        time.sleep(1.5)  # three more looks
        release(tmp_path, config, "v3.0.0", 3)
        point(tmp_path, "v3.0.0")
        until(lambda: service.predict(rows=service.rows(1)).json()["version"] == "v3.0.0")
    finally:
        service.process.kill()
        service.process.wait()
    assert (tmp_path / "stderr").read_text().count("BadZipFile") == 1


def test_what_was_acknowledged_survives_a_kill(service: Service) -> None:
    ids = [p["id"] for seed in range(5) for p in service.predict(rows=service.rows(20, seed)).json()["predictions"]]
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    assert service.log()["_id"].tolist() == ids


def test_a_full_disk_answers_nobody_and_loses_nothing(tmp_path: Path, config: ModelConfig) -> None:
    """RLIMIT_FSIZE: from one size on the kernel refuses the log's writes, as a full disk does."""
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    service = start(tmp_path, config, preexec_fn=limited)
    try:
        acknowledged: list[str] = []
        for seed in range(60):
            answer = service.predict(rows=service.rows(100, seed))
            if answer.status_code != 200:
                break
            acknowledged += [p["id"] for p in answer.json()["predictions"]]
        assert answer.status_code == 503
        assert "cannot be written" in answer.json()["detail"] and "predictions" not in answer.json()
    finally:
        service.process.kill()
        service.process.wait()
    logged = service.log()["_id"].tolist()
    assert acknowledged and logged[: len(acknowledged)] == acknowledged


def test_a_deleted_log_answers_nobody(service: Service) -> None:
    assert service.predict(rows=service.rows(1)).status_code == 200
    for path in service.home.glob("predictions.db*"):
        path.unlink()
    answer = service.predict(rows=service.rows(1))
    assert answer.status_code == 503 and "was deleted while the service had it open" in answer.json()["detail"]


def test_a_request_in_flight_at_sigterm_is_answered_and_the_log_is_closed(service: Service) -> None:
    """The test holds the log's lock, so the request is in flight for as long as it wishes."""
    service.predict(rows=service.rows(1))
    holder = sqlite3.connect(service.home / "predictions.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(service.predict(rows=service.rows(5))))
    thread.start()
    time.sleep(1)
    service.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert service.process.poll() is None and not answers
    holder.execute("ROLLBACK")
    holder.close()
    thread.join()
    service.process.wait(timeout=20)
    assert answers[0].status_code == 200
    # SQLite removes its -wal file when the last connection is closed, so the log was closed and not torn off.
    assert not (service.home / "predictions.db-wal").exists()
    assert service.log()["_id"].tolist()[1:] == [p["id"] for p in answers[0].json()["predictions"]]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(standing: Service, chunked: bool) -> None:
    body = json.dumps({"rows": [{"x": "y" * 1000}] * 9000}).encode()
    content = (body[n : n + 65536] for n in range(0, len(body), 65536)) if chunked else body
    answer = asking.post(
        f"{standing.url}/models/care/predict", content=content, headers={"content-type": "application/json"}, timeout=30
    )
    assert answer.status_code == 413
    assert "allowed: 8,388,608" in answer.json()["detail"] and "Send fewer rows" in answer.json()["detail"]
    assert standing.predict(rows=standing.rows(1)).status_code == 200


def test_a_declared_size_is_refused_before_the_body_comes(standing: Service) -> None:
    host, port = standing.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(
            b"POST /models/care/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"authorization: " + asking.headers(standing.url)["authorization"].encode() + b"\r\n"
            b"content-length: 99999999999\r\n\r\n{"
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_the_service_keeps_its_log_in_postgresql(
    tmp_path: Path, config: ModelConfig, new_postgres: Callable[[], str]
) -> None:
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")
    url = new_postgres()
    services = [start(tmp_path, config, {"ASSAY_LOG_URL": url}) for _ in range(2)]
    try:
        ids = [
            p["id"]
            for seed in range(4)
            for s in services
            for p in s.predict(rows=s.rows(25, seed)).json()["predictions"]
        ]
        outcome = {"outcomes": [{"id": ids[0], "label": True}, {"id": "nobody", "label": True}]}
        answer = asking.post(f"{services[1].url}/models/care/outcomes", json=outcome)
        assert answer.json() == {"accepted": 1, "repeated": 0, "changed": 0, "unknown": 1}
        outcome["outcomes"][0]["id"] = "a\x00b"
        assert asking.post(f"{services[1].url}/models/care/outcomes", json=outcome).status_code == 422
        services[0].process.send_signal(signal.SIGTERM)
        services[0].process.wait(timeout=20)
    finally:
        for service in services:
            service.process.kill()
            service.process.wait()
    log = PredictionLog(url)
    assert log.frame("care", 0, 2**62)["_id"].tolist() == ids
    assert [w.rows for w in log.next_windows("care", 50, 10, 10)] == [50] * 4
    log.close()
    assert not (tmp_path / "predictions.db").exists()


def test_the_service_starts_without_the_orchestrator() -> None:
    code = (
        "import sys, tasks.cli.worker; print([m for m in ('prefect', 'dvc', 'great_expectations', 'gto') if m in "
        "sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_rows_of_a_version_with_other_columns_are_no_question_for_this_one(tmp_path: Path, config: ModelConfig) -> None:
    log = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")
    log.append([Prediction("a", "care", "v2.0.0", "", {"new": 1.0}, 0.5, True)])
    other = log.frame("care", 0, 2**62)
    log.append(
        [
            Prediction(
                "b",
                "care",
                "v1.0.0",
                "",
                {c.name: "0" if c.type == "category" else 1.0 for c in config.inputs},
                0.5,
                True,
            )
        ]
    )
    both = log.frame("care", 0, 2**62)
    log.close()
    loaded = load_release(release(tmp_path, config, "v1.0.0", 1))
    assert (loaded.fits(other), loaded.fits(both)) == (False, True)
    assert len(loaded.score(both[both["_version"] == "v1.0.0"])) == 1


def test_equal_models_have_equal_files(tmp_path: Path, config: ModelConfig) -> None:
    one, two = release(tmp_path / "a", config, "v1.0.0", 1), release(tmp_path / "b", config, "v1.0.0", 1)
    assert digest_file(one / "model.skops") == digest_file(two / "model.skops")
    shutil.rmtree(one)
