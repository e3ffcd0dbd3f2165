"""A few hundred requests that nobody here shaped; tests/acceptance sends ten thousand of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.spec.model import load_model
from tests import asking
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start
from tests.serving.strange_requests import Seen, by_document, raw_requests


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home, config = tmp_path_factory.mktemp("home"), load_model(ROOT, "care")
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    found = start(home, config, {"ASSAY_READ_SECONDS": "1"})
    yield found
    found.process.kill()
    found.process.wait()


def well(service: Service, seen: Seen, total: int) -> None:
    """All were answered below 500, and the service answers on."""
    assert seen.wrong == []
    assert seen.total == total and {status // 100 for _, status in seen.statuses} <= {2, 3, 4}
    assert service.process.poll() is None and service.predict(rows=service.rows(3)).status_code == 200
    assert asking.get(f"{service.url}/health").json()["problems"] == {}


def test_requests_of_the_document_are_answered_as_it_says(service: Service) -> None:
    seen = by_document(service, 250)
    well(service, seen, 250)
    asked = seen.of("positive POST /models/care/predict")
    assert asked[200] >= 5, f"the document describes rows that are taken: {asked}"


def test_bytes_that_chance_has_changed_are_answered(service: Service) -> None:
    seen = raw_requests(service, 800)
    well(service, seen, 800)
    assert {200, 400, 401, 404, 405, 408} <= {status for _, status in seen.statuses}, seen.kinds()
