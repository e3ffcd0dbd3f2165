"""Which pointer a service follows: signed by an examiner, and no older than one that it has seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tasks.records.registry import releases
from tasks.signing.signatures import POINTER, examiner_key, sign_as_examiner
from tasks.spec.manifest import Pointer
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.settings import Settings
from tests import asking
from tests.serving.running import ROOT, Service, point, release, start, until


def test_forged_and_old_pointers_are_refused_and_the_newest_serves_on(tmp_path: Path) -> None:
    config = load_model(ROOT, "care")
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")
    service = start(tmp_path, config)
    try:
        _refused(service, config)
    finally:
        service.process.kill()
        service.process.wait()


def _refused(service: Service, config: ModelConfig) -> None:
    path = service.home / "releases/care/champion.json"
    old = path.read_text()
    release(service.home, service.config, "v2.0.0", 2)
    releases.point(Settings(home=service.home), "care", "v2.0.0", "", 7, "sha256:7")
    until(lambda: service.predict(rows=service.rows(1)).json()["version"] == "v2.0.0")
    assert asking.get(f"{service.url}/health").json()["heights"] == {"care": 7}
    mallory = examiner_key(service.home / "keys/of-mallory")
    new = json.loads(path.read_text())
    forged = Pointer.model_validate_json(path.read_text()).model_copy(update={"version": "v1.0.0", "height": 9})
    own = forged.model_copy(update={"signature": sign_as_examiner(forged.signed(), mallory, POINTER)})
    for content, says in (
        (old, "is old: it has height 0, and 7 was seen before. What served before goes on"),
        (json.dumps(new | {"height": 9}), "is not signed by an examiner, so what served before goes on"),
        (json.dumps(new | {"height": 9, "signature": ""}), "is not signed by an examiner"),
        (own.model_dump_json(), "is not signed by an examiner"),
    ):
        path.write_text(content)
        until(lambda says=says: says in problem(service))  # type: ignore[misc]
        assert service.predict(rows=service.rows(1)).json()["version"] == "v2.0.0"
    other = service.home / "releases/wages"
    shutil.copytree(service.home / "releases/care", other)  # a model that was never served here
    (other / "champion.json").write_text(json.dumps(new | {"model": "wages", "signature": ""}))
    unsigned = "champion.json of wages is not signed by an examiner, so what served before goes on"
    until(lambda: unsigned in asking.get(f"{service.url}/health").json()["problems"].get("wages", ""))
    assert asking.get(f"{service.url}/models").json() == {"care": "v2.0.0"}
    shutil.rmtree(other)
    path.unlink()
    until(lambda: "champion.json is gone, and height 7 was seen before" in problem(service))
    assert service.predict(rows=service.rows(1)).json()["version"] == "v2.0.0"
    service.process.kill()
    service.process.wait()
    path.write_text(old)  # a new start does not forget what was seen
    again = start(service.home, config)
    try:
        assert "care is old: it has height 0, and 7 was seen" in problem(again)
        assert again.predict(rows=service.rows(1)).status_code == 503
    finally:
        again.process.kill()
        again.process.wait()


def problem(service: Service) -> str:
    until(lambda: asking.get(f"{service.url}/health").json()["status"] == "degraded")
    return str(asking.get(f"{service.url}/health").json()["problems"]["care"])
