"""A smaller version of docs/evidence/ledger.md: what is measured holds, whose length changes nothing that git does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tasks.cli.overview import overview
from tasks.proof.verify import check
from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.spec.models import model_names
from tasks.spec.settings import ROOT, Settings
from tests.statistics.ledger import scheduled
from tests.statistics.long_ledgers import long_ledger


def commands(settings: Settings, trace: Path, patch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each command of git is started by an append, by a schedule's run and by a status."""
    overview(settings)
    with patch.context() as context:
        context.setenv("GIT_TRACE", str(trace))
        scheduled(settings, 1)
        overview(settings)
    lines = (line.partition("trace: built-in: git ")[2] for line in trace.read_text().splitlines())
    return Counter(line.split()[0] for line in lines if line)


def test_a_long_ledger_starts_what_a_short_one_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    for size in (100, 1000):
        folder = tmp_path / str(size)
        folder.mkdir()
        settings = long_ledger(folder, size)
        now = state(settings)
        assert now.sequence == size and not now.problems and set(now.models) >= set(model_names(ROOT))
        assert all(Registry(settings).champion(model) is not None for model in model_names(ROOT))
        found = check(Path(settings.origin), now.root)
        assert (found.problems, found.notices, found.entries, found.root) == ([], [], size, now.root)
        assert sum(e.signature is not None for e in ledger.entries(settings)) == size // 50 + 1
        counted.append(commands(settings, tmp_path / f"{size}.trace", monkeypatch))
    assert counted[0] == counted[1] and counted[0]["cat-file"] > 0
