"""What the texts for newcomers say is so: commands, paths, links, and the files that a change touches."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer

from tasks.cli.app import app
from tests.changes import Change, changes
from tests.conftest import ROOT
from tests.test_house import defined

TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
KINDS = {"a gate", "a monitor", "a metric", "an estimator", "a flow", "a column kind", "an alert channel"}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_kind_of_change_is_in_the_table() -> None:
    assert {change.what for change in changes()} == KINDS


@pytest.mark.parametrize("change", changes(), ids=lambda change: change.what)
def test_the_files_that_a_change_touches_are_there(change: Change) -> None:
    """A new file has a folder to go to; a changed one exists, and holds the symbol that is named."""
    assert change.files > 0
    for path in change.new:
        folder = (ROOT / path.split("<")[0]).parent if "/<" not in path else ROOT / path.split("/<")[0]
        assert "<" in path and folder.is_dir() and any(folder.iterdir()), path
    for path, symbol in change.changed:
        file = ROOT / path
        assert file.is_file(), path
        if symbol:
            known = defined(file) if file.suffix == ".py" else set(re.findall(r"\w+", file.read_text()))
            assert symbol in known, f"{path} does not define {symbol}"


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_commands_and_links_of_a_text_exist(text: Path) -> None:
    said = text.read_text()
    commands = set(re.findall(r"(?:`|^|\n)(?:OMP_NUM_THREADS=1 )?make ([a-z]+)\b", said))
    assert commands <= targets(), commands - targets()
    for module in re.findall(r"python -m ((?:tests|tasks)[\w.]*)", said):
        assert importlib.util.find_spec(module) is not None, module
    for path in re.findall(r"(?<![\w/])(tests/[\w./]+)", said):
        assert (ROOT / path.rstrip(".")).exists(), path
    commanded = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commanded |= {group.name for group in app.registered_groups}
    assert isinstance(app, typer.Typer)
    for command in re.findall(r"`assay ([a-z]+)", said):
        assert command in commanded, f"assay {command}"
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", said):
        if not link.startswith("http"):
            assert (text.parent / link).exists(), link


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[0] for line in listed.splitlines()} == targets()
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared is not None and set(declared[1].split()) == targets()


def test_the_licence_is_the_one_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    title, version = (line.strip() for line in (ROOT / "LICENSE").read_text().split("\n")[1:3])
    assert (project["license"], title, version) == ("Apache-2.0", "Apache License", "Version 2.0, January 2004")


def test_commits_that_only_format_are_known_to_blame() -> None:
    """Each is a whole commit hash of this history, and the text says how to use the list."""
    listed = [line for line in (ROOT / ".git-blame-ignore-revs").read_text().splitlines() if not line.startswith("#")]
    assert listed and all(re.fullmatch(r"[0-9a-f]{40}", commit) for commit in listed)
    assert "git config blame.ignoreRevsFile .git-blame-ignore-revs" in (ROOT / "CONTRIBUTING.md").read_text()
