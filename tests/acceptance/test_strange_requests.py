"""Ten thousand requests of the OpenAPI document and ten thousand of bytes that chance has changed."""

from __future__ import annotations

import json

import pytest

from tests.serving.running import Service
from tests.serving.strange_requests import by_document, raw_requests
from tests.serving.test_strange_requests import service as serving
from tests.serving.test_strange_requests import well

pytestmark = pytest.mark.acceptance
service = serving
EACH = 10_000


def test_ten_thousand_requests_of_the_document(service: Service) -> None:
    seen = by_document(service, EACH, seed=1)
    print(json.dumps(seen.kinds()))
    well(service, seen, EACH)


def test_ten_thousand_requests_of_changed_bytes(service: Service) -> None:
    seen = raw_requests(service, EACH, seed=1)
    print(json.dumps(seen.kinds()))
    well(service, seen, EACH)
