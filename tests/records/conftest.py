"""What the tests of the records share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def dvc_developer(developer: Path) -> Path:
    """The developer's clone, with DVC set up and not yet committed."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet", "--force"], cwd=developer, check=True)
    return developer
