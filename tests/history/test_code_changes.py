"""What ``assay diff`` says of two commits that nobody trained: code, parameters and packages, by syntax tree."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.spec.settings import Settings
from tests.conftest import ROOT, git
from tests.told import MAIN

TRAIN = '''"""Train."""
from __future__ import annotations
from typing import TYPE_CHECKING
from tasks.shared.tools import scaled
if TYPE_CHECKING:
    from tasks.shared import types_only
LIMIT = 5


class Fit:
    """A fit."""

    rate = 1

    def run(self, rows: int) -> int:
        """Run it."""
        return scaled(rows) + LIMIT  # as asked


def late() -> None:
    from tasks.shared import deep
    deep.work()
'''
FILES = {
    "tasks/stages/ingest.py": "import tasks.shared.reading\n",
    "tasks/stages/prepare.py": "from . import common\n",
    "tasks/stages/common.py": "def both() -> int:\n    return 1\n",
    "tasks/stages/train.py": TRAIN,
    "tasks/stages/evaluate.py": "def measure() -> int:\n    return 1\n",
    "tasks/shared/__init__.py": "",
    "tasks/shared/reading.py": "def read() -> int:\n    return 1\n",
    "tasks/shared/tools.py": "def scaled(x: int) -> int:\n    return 2 * x\n\n\ndef spare() -> int:\n    return 0\n",
    "tasks/shared/deep.py": "def work() -> None:\n    pass\n",
    "tasks/shared/types_only.py": "def kind() -> int:\n    return 1\n",
    "tasks/shared/unloaded.py": "def nobody() -> int:\n    return 1\n",
    "deployments/models/care/code/forest.py": "def build(depth: int = 3) -> int:\n    return depth\n",
    "deployments/models/care/model.yaml": "seed: 1\nestimator: {kind: custom, "
    "factory: 'deployments.models.care.code.forest:build'}\n",
    "requirements.lock": "numpy==2.4.6 \\\n    --hash=sha256:1\nscikit-learn==1.9.1 \\\n    --hash=sha256:2\n",
}  # fmt: skip
Edit = Callable[[str], str]


@pytest.fixture
def home(developer: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A developer's clone with a few modules that train the model care, pushed."""
    for name, text in FILES.items():
        (developer / name).parent.mkdir(parents=True, exist_ok=True)
        (developer / name).write_text(text)
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    push(developer)
    return developer


def push(developer: Path) -> None:
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "change")
    git(developer, "push", "--quiet", "origin", "main")


def assay(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MAIN, *words], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)


def changed(developer: Path, edits: dict[str, Edit]) -> dict[str, Any]:
    """What is said of one more commit with these edits; a file that an edit leaves empty is removed."""
    for name, edit in edits.items():
        (developer / name).parent.mkdir(parents=True, exist_ok=True)
        text = edit((developer / name).read_text() if (developer / name).exists() else "")
        (developer / name).write_text(text) if text else (developer / name).unlink()
    push(developer)
    done = assay("diff", "care", "main~1", "main", "--json")
    assert done.returncode == 3, done.stderr  # nobody trained them, which is said
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["unknown"][0].startswith("nothing was trained from ")
    return found


def code(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(c["file"].rpartition("/")[2], c["name"], c["kind"]) for c in found["changed"]["code"]]


def test_comments_layout_docstrings_and_what_is_not_loaded_are_no_change(home: Path) -> None:
    found = changed(
        home,
        {
            "tasks/stages/train.py": lambda t: (
                t.replace("# as asked", "# as ordered")
                .replace('"""Run it."""', '"""Run it now."""')
                .replace("return scaled(rows) + LIMIT", "return (scaled(rows) +\n                LIMIT)")
                .replace('"""A fit."""', '"""One fit."""')
            ),
            "tasks/shared/unloaded.py": lambda t: t.replace("1", "2"),
            "tasks/shared/types_only.py": lambda t: t.replace("1", "2"),
            "tasks/stages/evaluate.py": lambda t: t.replace("1", "2"),
            "docs/readme.md": lambda t: "words\n",
        },
    )
    assert found["changed"]["code"] == [] and found["changed_said"] == "nothing that makes or judges it"


def test_functions_constants_and_class_bodies_are_named_wherever_they_are_loaded_from(home: Path) -> None:
    found = changed(
        home,
        {
            "tasks/stages/train.py": lambda t: (
                t.replace("LIMIT = 5", "LIMIT = 6").replace("rate = 1", "rate = 2").replace("+ LIMIT", "- LIMIT")
            ),
            "tasks/stages/common.py": lambda t: t.replace("1", "2"),
            "tasks/shared/deep.py": lambda t: t.replace("pass", "return"),
            "tasks/shared/reading.py": lambda t: t + "\n\ndef more() -> int:\n    return 2\n",
            "deployments/models/care/code/forest.py": lambda t: t.replace("= 3", "= 4"),
            "tasks/shared/tools.py": lambda t: t.partition("\n\n\ndef spare")[0] + "\n",
        },
    )
    assert code(found) == [
        ("forest.py", "build", "changed"), ("deep.py", "work", "changed"), ("reading.py", "more", "added"),
        ("tools.py", "spare", "removed"), ("common.py", "both", "changed"), ("train.py", "LIMIT", "changed"),
        ("train.py", "Fit.run", "changed"), ("train.py", "Fit", "changed"),
    ]  # fmt: skip
    run = next(c for c in found["changed"]["code"] if c["name"] == "Fit.run")
    assert run["lines"][-2:] == ["-    return scaled(rows) + LIMIT", "+    return scaled(rows) - LIMIT"]
    text = assay("diff", "care", "main~1", "main").stdout
    assert "tasks/shared/deep.py work changed" in text and max(map(len, text.splitlines())) <= 80


def test_a_function_that_only_moved_is_called_moved_and_one_that_breaks_is_named(home: Path) -> None:
    spare = "def spare() -> int:\n    return 0\n"
    found = changed(
        home,
        {
            "tasks/shared/tools.py": lambda t: t.replace(f"\n\n{spare}", ""),
            "tasks/shared/reading.py": lambda t: f"{t}\n\n{spare}",
            "tasks/shared/deep.py": lambda t: "def work(:\n",
        },
    )
    assert code(found) == [("deep.py", "<module>", "changed"), ("reading.py", "spare", "moved")]
    assert found["changed"]["code"][1]["source"] == "tasks/shared/tools.py"
    assert found["changed"]["code"][0]["lines"] == ["it cannot be parsed as Python, so it is taken as changed"]


def test_parameters_and_packages_are_told_with_both_values(home: Path) -> None:
    gates, numpy = "gates: [{name: g, limit: 1}]\n", "numpy==2.4.6 \\\n    --hash=sha256:1\n"
    found = changed(
        home,
        {
            "deployments/models/care/model.yaml": lambda t: t.replace("seed: 1", "seed: 2") + gates,
            "requirements.lock": lambda t: t.replace("scikit-learn==1.9.1", "scikit_learn==1.9.2").replace(numpy, ""),
        },
    )
    assert found["changed"]["parameters"] == {"seed": [1, 2]}
    assert found["changed"]["judging"] == {"gates.g.limit": [None, 1]}
    assert found["changed"]["packages"] == {"numpy": ["2.4.6", None], "scikit-learn": ["1.9.1", "1.9.2"]}
    assert found["changed_said"] == (
        "parameters: seed 1 to 2; environment: numpy 2.4.6 to none, scikit-learn 1.9.1 to 1.9.2; what judges and "
        "watches it: gates.g.limit none to 1"
    )


def test_names_that_are_none_are_one_sentence(home: Path, tmp_path: Path) -> None:
    for words, said in (
        (("care", "v9.0.0", "main"), "the ledger knows no care v9.0.0; it knows no version."),
        (("care", "main", "--", "-x[red]\x1b[2J"), "is not a commit that the origin knows"),
        (("nobody", "main", "main"), "has no model 'nobody'; name a commit that has its model.yaml."),
        (("care", "main", "0123456789" * 4), "is not a commit that the origin knows"),
    ):
        done = assay("diff", *words)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert "\x1b" not in done.stderr


def test_a_page_that_cannot_be_written_is_one_sentence(home: Path) -> None:
    done = assay("diff", "care", "main", "main", "--page", "/proc/nowhere/page.html")
    assert done.returncode != 0 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
