"""One real system for all tests of flows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.authority import authority
from tests.system import Running, audit_commands, require_package_index, running_system, set_value


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With an authority for timestamps on this machine, where it has openssl."""
    with ExitStack() as stack:
        timestamps: dict[str, str] = {}
        if shutil.which("openssl"):
            tsa = stack.enter_context(authority(tmp_path_factory.mktemp("authority") / "own"))
            timestamps = {"ASSAY_TIMESTAMP_URL": tsa.url, "ASSAY_TIMESTAMP_CA": str(tsa.ca)}
        yield stack.enter_context(running_system(tmp_path_factory.mktemp("system"), **timestamps))


@pytest.fixture(autouse=True)
def audited(running: Running, isolated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    audit_commands(running, monkeypatch)


@pytest.fixture(scope="session")
def released(running: Running) -> dict[str, Any]:
    """``care`` v1.0.0, released by a push; its training run's final state."""
    require_package_index()
    commit = running.push("care: first release", model=set_value("max_iter", "81"))
    return running.finished("train/training", commit) | {"pushed": commit, "said": running.said}
