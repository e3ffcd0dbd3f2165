"""Commits that are mixed from two: each part is that of the side it was asked from, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.records.repository.mixed import PARTS, Mixing
from tests.conftest import git
from tests.stages.worlds import NAME
from tests.told import CONFIG, SOURCE, SPLITTING, Past, home_of, model_yaml

ODD = f"data/{NAME}/source/an odd\tname\nof größe.csv"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Past, str, str]]:
    """Two pushed commits that differ in everything, and in what makes no model."""
    with home_of(tmp_path_factory.mktemp("mixed")) as made:
        made.write(CONFIG, model_yaml())
        made.write(SOURCE, lambda _: "a\n1\n")
        made.write(f"deployments/models/{NAME}/code/own.py", lambda _: "x = 1\n")
        made.write(f"data/{NAME}/source/gone.csv", lambda _: "gone\n")
        old = made.push("old")
        made.write(SOURCE, lambda _: "a\n2\n")
        made.write(ODD, lambda _: "odd\n")
        (made.developer / f"data/{NAME}/source/gone.csv").unlink()
        made.write(f"deployments/models/{NAME}/code/own.py", lambda _: "x = 2\n")
        made.write(SPLITTING, lambda text: text.replace("    salted = ", "    seed = int(seed)\n    salted = "))
        made.write("requirements.lock", lambda text: text.replace("joblib==", "joblib==0."))
        made.write("README.md", lambda _: "of no account\n")
        made.write(
            CONFIG,
            model_yaml(lambda m: m.update(seed=8, title="Other", owner="new@example.org", features=["age", "hours"])),
        )
        yield made, old, made.push("new")


def mixing(pair: tuple[Past, str, str], old: str = "", new: str = "") -> tuple[Mixing, Git]:
    made, before, after = pair
    clone = workspace.ensure_clone(made.settings)
    return Mixing(clone, NAME, old or before, new or after), clone


def test_each_part_comes_from_the_side_that_was_asked(pair: tuple[Past, str, str]) -> None:
    mix, clone = mixing(pair)
    _, old, new = pair
    assert mix.parts == PARTS
    files = {
        "code": (SPLITTING, f"deployments/models/{NAME}/code/own.py"),
        "data": (SOURCE, ODD, f"data/{NAME}/source/gone.csv"),
        "environment": ("requirements.lock",),
    }
    for some in (set(chosen) for size in (0, 1, 4) for chosen in combinations(PARTS, size)):
        commit = mix.commit(some, 77)
        for part, paths in files.items():
            for path in paths:
                assert blob(clone, commit, path) == blob(clone, new if part in some else old, path), (some, path)
        config = yaml.safe_load(clone.read("show", f"{commit}:{CONFIG}"))
        assert config["features"] == (["age", "hours"] if "parameters" in some else ["age", "hours", "job"])
        assert (config["seed"], config["title"], config["owner"]) == (77, "Other", "new@example.org")
        assert blob(clone, commit, "README.md") == blob(clone, new, "README.md")
        assert git(pair[0].folder / "origin.git", "cat-file", "-t", new) == "commit"
    assert not clone.lines("for-each-ref", "--contains", mix.commit(PARTS, 77))  # no branch holds such a commit


def blob(clone: Git, commit: str, path: str) -> str:
    listed = clone.lines("--literal-pathspecs", "ls-tree", "-z", commit, "--", path, end="\0")
    return listed[0].split("\t")[0] if listed else ""


def test_comments_layout_seed_and_title_are_no_part(pair: tuple[Past, str, str], tmp_path: Path) -> None:
    made = pair[0]
    made.write(SPLITTING, lambda text: f"# a comment\n{text}\n\n# and another\n")
    made.write(CONFIG, model_yaml(lambda found: found.update(seed=9, title="Another")))
    again = made.push("comments")
    mix, _ = mixing(pair, pair[2], again)
    assert mix.parts == () and mix.difference.sentence == "parameters: title Other to Another, seed 8 to 9"


def test_a_source_that_is_pinned_otherwise_is_data(pair: tuple[Past, str, str]) -> None:
    made = pair[0]
    base = git(made.developer, "rev-parse", "HEAD")
    made.write(CONFIG, model_yaml(lambda found: found["data"]["source"].update(path=f"data/{NAME}/source/other.csv")))
    moved = made.push("source")
    mix, clone = mixing(pair, base, moved)
    assert mix.parts == ("data",)
    named = [yaml.safe_load(clone.read("show", f"{mix.commit(p, 1)}:{CONFIG}"))["data"]["source"]["path"]
             for p in ((), ("data",))]  # fmt: skip
    assert named == [SOURCE, f"data/{NAME}/source/other.csv"]


def test_what_a_candidate_commits_of_its_stages_is_no_data(pair: tuple[Past, str, str]) -> None:
    made = pair[0]
    base = git(made.developer, "rev-parse", "HEAD")
    for name in ("metrics.json", "plots/roc.csv"):
        made.write(f"data/{NAME}/{name}", lambda _: "measured\n")
    assert mixing(pair, base, made.push("candidate"))[0].parts == ()
