"""A checkout in which a stranger's file becomes a model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import git


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "checkout"
    (root / "deployments/models").mkdir(parents=True)
    (root / "deployments/models.yaml").write_text("# what there is\nmodels: [other]  # as listed\n")
    git(root, "init", "--quiet")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=root, check=True)
    return root


@pytest.fixture
def checkout(template: Path, tmp_path: Path) -> Path:
    """A checkout with DVC and one model in its list."""
    return shutil.copytree(template, tmp_path / "checkout")
