"""Pushed commits whose stages would read other rows than the commit holds, or than DVC hashes; each is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tasks.records.repository import dvc, lockfile, workspace
from tasks.spec.errors import AssayError, StageError
from tasks.spec.settings import Settings
from tests.conftest import git

MODEL = "income"
ROWS, CODE = f"data/{MODEL}/source/rows.csv", f"deployments/models/{MODEL}/code"
COUNT = (
    "import pathlib as p; d = p.Path('data/income'); "
    "(d / 'rows.txt').write_text(''.join(f.read_text() for f in sorted((d / 'source').rglob('*.csv')) + "
    "sorted((d / 'collected').rglob('*.csv')) + sorted(p.Path('deployments/models/income/code').rglob('*.p*'))))"
)
STAGES = {
    "prepare": {
        "matrix": {"model": [MODEL]},
        "cmd": f'python -c "{COUNT}"',
        "deps": [f"data/{MODEL}/source", f"data/{MODEL}/collected", CODE],
        "outs": [f"data/{MODEL}/rows.txt"],
    }
}


@pytest.fixture
def honest(dvc_developer: Path, settings: Settings) -> Path:
    """An origin whose one stage reads rows and code."""
    push(dvc_developer, {
        "dvc.yaml": yaml.safe_dump({"stages": STAGES}), ROWS: "honest\n", f"{CODE}/own.py": "x = 1\n",
        f"deployments/models/{MODEL}/model.yaml": "name: income\n",
        f"data/{MODEL}/collected/.gitignore": "", "Makefile": "all:\n",
    })  # fmt: skip
    return dvc_developer


def push(developer: Path, files: dict[str, str | None]) -> None:
    for name, content in files.items():
        path = developer / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if content is None else path.write_text(content)
    git(developer, "add", "--all", "--force")
    git(developer, "commit", "--quiet", "-m", "a change")
    git(developer, "push", "--quiet", "origin", "HEAD:main")


def rows(settings: Settings) -> str:
    """What the stage read, as the training flow has it run."""
    with workspace.worktree(settings, "main") as tree:
        lockfile.claim_nothing(tree, MODEL)
        dvc.reproduce(tree, f"prepare@{MODEL}")
        return (tree / f"data/{MODEL}/rows.txt").read_text()


def refused(settings: Settings) -> str:
    with pytest.raises(AssayError) as caught:
        rows(settings)
    assert isinstance(caught.value, StageError)
    return str(caught.value)


def test_rows_of_the_commit_are_read(honest: Path, settings: Settings) -> None:
    assert rows(settings) == "honest\nx = 1\n"


def test_stages_of_another_file_are_refused(honest: Path, settings: Settings) -> None:
    """They would run first: what they write lies in a folder that a stage of ours reads."""
    swap = "python -c \"import pathlib as p; p.Path('../data/income/source/rows.csv').write_text('made up')\""
    stages = {"swap": {"cmd": swap, "outs": [f"../data/{MODEL}/source/zz.txt"], "always_changed": True}}
    push(honest, {"extra/dvc.yaml": yaml.safe_dump({"stages": stages})})
    said = "extra/dvc.yaml declares stages; stages are declared in the dvc.yaml at the top alone."
    assert refused(settings) == said


@pytest.mark.parametrize("back", [False, True])
def test_a_stage_that_writes_rows_is_refused_though_it_puts_them_back(
    honest: Path, settings: Settings, back: bool
) -> None:
    write = "import pathlib as p; p.Path('data/income/source/rows.csv').write_text('{}'); {}"
    made = "p.Path('data/income/{}').write_text('made')"
    stages: dict[str, object] = {
        "swap": {
            "matrix": {"model": [MODEL]}, "outs": [f"data/{MODEL}/a.txt"],
            "cmd": f'python -c "{write.format("made up", made.format("a.txt"))}"',
        },
        "prepare": STAGES["prepare"] | {"deps": [*STAGES["prepare"]["deps"], f"data/{MODEL}/a.txt"]},
    }  # fmt: skip
    if back:
        stages["back"] = {
            "matrix": {"model": [MODEL]}, "outs": [f"data/{MODEL}/b.txt"], "deps": [f"data/{MODEL}/rows.txt"],
            "cmd": f'python -c "{write.format("honest", made.format("b.txt"))}"',
        }  # fmt: skip
    push(honest, {"dvc.yaml": yaml.safe_dump({"stages": stages})})
    said = f"prepare@{MODEL} read another data/{MODEL}/source than the commit holds: a stage in between changed it."
    with workspace.worktree(settings, "main") as tree, pytest.raises(StageError) as caught:
        dvc.reproduce(tree, f"{'back' if back else 'prepare'}@{MODEL}")
    assert str(caught.value).startswith(said)


HIDDEN = "is hidden from DVC, by .dvcignore or its name, and a stage reads it; remove it."


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({f"data/{MODEL}/collected/.dvcignore": "*.csv\n.dvcignore\n"}, f"data/{MODEL}/collected/.dvcignore"),
        ({".dvcignore": f"data/{MODEL}/collected/more.csv\n"}, f"data/{MODEL}/collected/more.csv"),
        ({f"data/{MODEL}/collected/.hg/more.csv": "made up\n"}, f"data/{MODEL}/collected/.hg/more.csv"),
        ({f"{CODE}/__pycache__/own.pyc": "made up\n"}, f"{CODE}/__pycache__/own.pyc"),
    ],
)
def test_what_dvc_does_not_hash_is_refused_and_leaves_nothing_to_the_next_commit(
    honest: Path, settings: Settings, files: dict[str, str | None], named: str
) -> None:
    before = git(honest, "rev-parse", "HEAD")
    push(honest, {f"data/{MODEL}/collected/more.csv": "made up\n", ".dvcignore": "__pycache__/\n"} | files)
    assert refused(settings) == f"{named} {HIDDEN}"
    git(honest, "reset", "--quiet", "--hard", before)
    git(honest, "push", "--quiet", "--force", "origin", "HEAD:main")
    assert rows(settings) == "honest\nx = 1\n"
