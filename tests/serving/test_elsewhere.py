"""A model that scikit-learn answers for can end or hang its own process, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.serving import elsewhere
from tasks.serving.release import load_release
from tests.serving.door import Door, lay, opened
from tests.serving.running import until
from tests.serving.test_explaining import follow, people, republished
from tests.stages.worlds import NAME, document


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """A forest whose order of sums nobody knows, so that it is not compiled."""
    monkeypatch.setattr(elsewhere, "AGAIN_SECONDS", 1.0)
    monkeypatch.setenv("ASSAY_LOG_URL_PASSWORD", "of the service alone")
    model = document("binary")
    model["estimator"] = {"kind": "random_forest", "parameters": {"n_estimators": 5, "n_jobs": 2}}
    with opened(lay(tmp_path, model)) as found:
        yield found


def child() -> int:
    """The one process of a model below this one."""
    found = [
        int(p.name)
        for p in Path("/proc").glob("[0-9]*")
        if b"tasks.serving.elsewhere" in _read(p / "cmdline")
        and f"PPid:\t{os.getpid()}\n".encode() in _read(p / "status")
    ]
    assert len(found) == 1, found
    return found[0]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def ask(door: Door, rows: list[dict[str, Any]]) -> Any:
    return door.post("predict", json.dumps({"rows": rows}))


def test_it_answers_the_same_from_a_process_with_limits_and_without_passwords(door: Door) -> None:
    rows = people(20)
    answer = ask(door, rows)
    assert answer.status_code == 200
    here = load_release(door.paths.model)  # in this process
    full = [{c.name: row.get(c.name) for c in here.manifest.columns} for row in rows]
    assert [p["score"] for p in answer.json()["predictions"]] == here.answer(full).tolist()
    limits = _read(Path(f"/proc/{child()}/limits")).decode()
    assert f"Max address space         {8 * 2**30}" in limits and "Max core file size        0 " in limits
    assert b"of the service alone" not in _read(Path(f"/proc/{child()}/environ"))
    assert "sums its trees in the order in which 2 threads end" in door.client.get("/health").json()["general"][NAME]


def test_a_process_that_ends_is_told_and_started_again(door: Door) -> None:
    first, before = child(), len(door.log.frame(NAME, 0, 2**62))
    os.kill(first, signal.SIGKILL)
    answer = ask(door, people(2))
    said = f"The process that answers for {NAME} was given up: it ended by SIGKILL."
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1" and answer.json()["detail"] == said
    assert len(door.log.frame(NAME, 0, 2**62)) == before
    ready = door.client.get("/health/ready")
    assert ready.status_code == 503 and ready.json()["problems"] == {NAME: said}
    until(lambda: ask(door, people(2)).status_code == 200)
    assert child() != first and door.client.get("/health/ready").status_code == 200


def test_a_process_that_hangs_is_given_up(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "ANSWER_SECONDS", 1.0)
    os.kill(child(), signal.SIGSTOP)
    begun = time.monotonic()
    answer = ask(door, people(2))
    assert answer.status_code == 503 and time.monotonic() - begun < 10
    assert answer.json()["detail"] == (
        f"The process that answers for {NAME} was given up: it did not answer within 1.4 s."
    )
    until(lambda: ask(door, people(2)).status_code == 200)


def test_no_process_outlives_its_version_or_its_service(tmp_path: Path) -> None:
    model = document("binary")
    model["estimator"] = {"kind": "random_forest", "parameters": {"n_estimators": 5, "n_jobs": 2}}
    paths = lay(tmp_path, model)
    with opened(paths) as door:
        first = child()
        manifest = json.loads((paths.root / "home/releases" / NAME / "versions/v1.0.0/manifest.json").read_text())
        republished(paths.root, manifest | {"title": "another"})
        follow(door)
        until(lambda: not _read(Path(f"/proc/{first}/cmdline")), seconds=20)
        second = child()
        assert second != first and ask(door, people(2)).status_code == 200
    assert not _read(Path(f"/proc/{second}/cmdline"))


BITING = """
import os
from sklearn.linear_model import LogisticRegression

class Biter(LogisticRegression):
    def predict_proba(self, X):
        age, hours = (X.toarray() if hasattr(X, "toarray") else X)[0, :2]  # in standard deviations
        if age > 4.8:
            os.abort()
        if age > 4.2:
            bytearray(16 * 2**30)
        if 3.6 < age < 4.2:
            import socket
            socket.create_connection(("127.0.0.1", 1))
        while hours > 3.5:
            pass
        return super().predict_proba(X)
"""


def test_rows_that_end_hang_or_swell_a_custom_model_hurt_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found only on a row that no trial knew: a crash, an endless loop, and more memory than there may be."""
    monkeypatch.setattr(elsewhere, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(elsewhere, "ANSWER_SECONDS", 3.0)
    model = document("binary")
    model["estimator"] = {"kind": "custom", "factory": "biting_of_mine:Biter"}
    paths = lay(tmp_path, model)
    code = paths.root / "deployments/models" / NAME / "code"
    code.mkdir()
    (code / "biting_of_mine.py").write_text(BITING)
    (code / "trusted.yaml").write_text("types: [biting_of_mine.Biter]\nbecause: looked at by us\n")
    monkeypatch.syspath_prepend(str(code))
    with opened(paths) as door:
        general = door.client.get("/health").json()["general"][NAME]
        assert elsewhere.ONLINE not in general, "this machine cuts its network"
        row = people(2)[0] | {"age": 40.0, "hours": 20}
        usual = ask(door, [row])
        assert usual.status_code == 200
        for name, value, status, said in (
            ("age", 120.0, 503, "it ended by SIGABRT"),
            ("age", 113.0, 422, "the model cannot score this row (ValueError: its estimator raised MemoryError"),
            ("age", 103.0, 422, "its estimator raised PermissionError: [Errno 13] Permission denied"),
            ("hours", 80, 503, "it did not answer within 3.2 s"),
        ):
            answer = ask(door, [row | {name: value}])
            assert answer.status_code == status and said in answer.text, answer.text
            until(lambda: ask(door, [row]).status_code == 200)
        again = ask(door, [row]).json()["predictions"][0]
        assert again["score"] == usual.json()["predictions"][0]["score"]
