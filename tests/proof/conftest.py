"""One honest ledger for all tests of this folder; whoever changes it works on a copy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import git
from tests.proof import ledgers
from tests.proof.ledgers import Ledger


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    folder = tmp_path_factory.mktemp("ledger")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", "origin.git")
        git(folder, "clone", "--quiet", "origin.git", "developer")
        (folder / "developer/model.txt").write_text("first\n")
        git(folder / "developer", "checkout", "--quiet", "-B", "main")
        git(folder / "developer", "add", ".")
        git(folder / "developer", "commit", "--quiet", "-m", "first")
        git(folder / "developer", "push", "--quiet", "origin", "main")
        yield ledgers.build(folder, folder / "origin.git")
