"""Long runs from outside, for ``make acceptance``: whole systems, the demo, forgeries and kills."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system import Running, require_package_index, running_system


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A system of the module's own."""
    require_package_index()
    with running_system(tmp_path_factory.mktemp("system")) as system:
        yield system
