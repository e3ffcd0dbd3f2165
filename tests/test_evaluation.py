"""What is kept between two examinations of one candidate."""

from __future__ import annotations

from pathlib import Path

from tasks.evaluation import evidence_path
from tasks.spec.settings import Settings
from tasks.training import Candidate


def test_another_champion_is_another_evidence(tmp_path: Path) -> None:
    """What the gates read is kept by this path; one path for two champions would judge the second by the first one's scores."""
    candidate = Candidate("care", "a" * 40, "branch", tmp_path, "sha256:0")
    paths = {evidence_path(Settings(home=tmp_path), candidate, champion) for champion in (None, "v1.0.0", "v2.0.0")}
    assert len(paths) == 3
