"""A search that is killed at thirty random moments: no finished trial is lost, none changes, and the study goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests import searches
from tests.test_searching import kill_at_random, results, studied

KILLS, TRIALS = 30, 500


@pytest.mark.acceptance
def test_thirty_kills_lose_no_finished_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("ASSAY_HOME", str(home))
    searches.checkout(tmp_path / "co", rows=400, search=searches.part(trials=TRIALS, folds=2, space=[searches.C]))
    began = time.monotonic()
    searches.run(tmp_path / "co", trials=1)
    longest = 2 * (time.monotonic() - began) + 4  # on any machine: some are killed before a trial ends, others after
    counts = kill_at_random(tmp_path / "co", home, KILLS, 20261130, longest)
    assert counts["kills"] == KILLS, counts
    before = results(home)
    assert len(before) > 3, "nearly every process was killed before its first trial ended, so little was shown"
    searches.run(tmp_path / "co", trials=len(before) + 2)
    table = studied(home)
    assert sum(table["state"] != "interrupted") == len(before) + 2
    assert {number: results(home)[number] for number in before} == before
    print(f"{counts}, interrupted: {sum(table['state'] == 'interrupted')}")
