"""One real system for all tests of flows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.system import Running, audit_commands, require_package_index, running_system, set_value


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_system(tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest.fixture(autouse=True)
def audited(running: Running, isolated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    audit_commands(running, monkeypatch)


@pytest.fixture(scope="session")
def released(running: Running) -> dict[str, Any]:
    """``care`` v1.0.0, released by a push; its training run's final state."""
    require_package_index()
    commit = running.push("care: first release", model=set_value("max_iter", "81"))
    return running.finished("train/training", commit) | {"pushed": commit, "said": running.said}
