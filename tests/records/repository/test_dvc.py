"""DVC's own command on small real repositories, with a cache that somebody damages."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks.records.repository import dvc, workspace
from tasks.spec.errors import CorruptionError, StageError
from tasks.spec.settings import Settings
from tests.conftest import git

PREPARE = (
    "import pathlib as p; d = p.Path('data/income/prepared'); d.mkdir(); (d / 'a.txt').write_text('aaa'); "
    "(d / 'b.txt').write_text(2 * p.Path('data/income/collected/rows.txt').read_text())"
)
TRAIN = (
    "import pathlib as p; t = p.Path('data/income/prepared/b.txt').read_text(); int(t); "
    "p.Path('data/income/model.bin').write_text(t + chr(10) + p.Path('knob.txt').read_text())"
)
STAGES = {
    "prepare": {
        "matrix": {"model": ["income"]},
        "cmd": f'python -c "{PREPARE}"',
        "deps": ["data/income/collected"],
        "outs": ["data/income/prepared"],
    },
    "train": {
        "matrix": {"model": ["income"]},
        "cmd": f'python -c "{TRAIN}"',
        "deps": ["data/income/prepared", "knob.txt"],
        "outs": ["data/income/model.bin"],
    },
}


@pytest.fixture
def pipeline(dvc_developer: Path, settings: Settings) -> Settings:
    """An origin with two stages and one collected file, reproduced once, so that the cache holds everything."""
    (dvc_developer / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (dvc_developer / "knob.txt").write_text("1\n")
    (dvc_developer / "data/income/collected").mkdir(parents=True)
    (dvc_developer / "data/income/collected/.gitignore").write_text("")
    git(dvc_developer, "add", ".")
    git(dvc_developer, "commit", "--quiet", "-m", "stages")
    git(dvc_developer, "push", "--quiet", "origin", "main")
    with workspace.worktree(settings, "main") as tree:
        (tree / "data/income/collected/rows.txt").write_text("12345")
        dvc.add(tree, tree / "data/income/collected/rows.txt")
        dvc.reproduce(tree, "train@income")
        workspace.push_data(settings, tree, "reproduced")
    return settings


def damage(settings: Settings, md5: str, content: bytes) -> Path:
    """Change one cache file's bytes as a bad disk would: its time and mode stay."""
    path = settings.cache / "files/md5" / md5[:2] / md5[2:]
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path


def md5_of(content: str) -> str:
    return hashlib.md5(content.encode()).hexdigest()


def rerun(tree: Path) -> None:
    """As the training flow does it."""
    dvc.reproduce(tree, "train@income")


def test_a_damaged_file_is_never_laid_out_for_use(pipeline: Settings) -> None:
    path = damage(pipeline, md5_of("1234512345\n1\n"), b"9999999999\n1\n")
    with workspace.worktree(pipeline, "main") as tree:
        dvc.checkout(tree, "prepare@income")
        with pytest.raises(CorruptionError) as caught:
            dvc.checkout(tree, "train@income")
    assert all(
        part in str(caught.value)
        for part in (
            "data/income/model.bin has md5 ",
            md5_of("9999999999\n1\n"),
            md5_of("1234512345\n1\n"),
            f"Delete {path}",
            "dvc pull",
        )
    )
    path.unlink()  # what the sentence says
    with workspace.worktree(pipeline, "main") as tree:
        rerun(tree)
        assert (tree / "data/income/model.bin").read_text() == "1234512345\n1\n"


def test_a_damaged_file_of_a_folder_and_a_damaged_list_are_named(pipeline: Settings) -> None:
    listed = json.loads((manifest := _manifest(pipeline)).read_text())
    damage(pipeline, md5_of("aaa"), b"bbb")
    with (
        workspace.worktree(pipeline, "main") as tree,
        pytest.raises(
            CorruptionError,
            match=f"^data/income/prepared/a.txt has md5 {md5_of('bbb')}, and dvc.lock says {md5_of('aaa')}",
        ),
    ):
        dvc.checkout(tree, "prepare@income")
    damage(pipeline, md5_of("aaa"), b"aaa")
    damage(pipeline, manifest.parent.name + manifest.name, json.dumps(listed[:1]).encode())
    with (
        workspace.worktree(pipeline, "main") as tree,
        pytest.raises(CorruptionError, match="^the list of files of data/income/prepared has md5 "),
    ):
        dvc.checkout(tree, "prepare@income")


def test_a_stage_that_would_be_skipped_does_not_pass_damaged_rows_on(pipeline: Settings) -> None:
    damage(pipeline, md5_of("1234512345\n1\n"), b"9999999999\n1\n")
    with (
        workspace.worktree(pipeline, "main") as tree,
        pytest.raises(CorruptionError, match="^data/income/model.bin has md5 "),
    ):
        rerun(tree)


@pytest.mark.parametrize("rows", ["99999", "no number, so that training fails over it"])
def test_a_stage_that_runs_on_damaged_rows_ends_with_the_damage(pipeline: Settings, rows: str) -> None:
    prepared = [i["md5"] for i in json.loads(_manifest(pipeline).read_text()) if i["relpath"] == "b.txt"]
    damage(pipeline, prepared[0], rows.encode())
    with workspace.worktree(pipeline, "main") as tree:
        (tree / "knob.txt").write_text("2\n")
        with pytest.raises(CorruptionError, match=f"^data/income/prepared/b.txt has md5 {md5_of(rows)}"):
            rerun(tree)


def test_a_damaged_collected_file_says_that_no_stage_makes_it(pipeline: Settings) -> None:
    damage(pipeline, md5_of("12345"), b"99999")
    with (
        workspace.worktree(pipeline, "main") as tree,
        pytest.raises(
            CorruptionError,
            match=r"^data/income/collected/rows.txt has md5 .*/rows.txt.dvc says .* no stage can make it anew",
        ),
    ):
        dvc.checkout(tree, "data/income/collected/rows.txt.dvc")


def test_a_file_that_the_cache_lacks_is_fetched_or_named_with_the_fix(
    pipeline: Settings, dvc_developer: Path, tmp_path: Path
) -> None:
    """A person gave rows to DVC in a clone with a cache of its own, as ``dvc add`` says, and pushed."""
    git(dvc_developer, "pull", "--quiet", "origin", "main")
    (dvc_developer / "data/income/collected/more").mkdir()
    (dvc_developer / "data/income/collected/more/new.txt").write_text("678")
    dvc.add(dvc_developer, dvc_developer / "data/income/collected/more/new.txt")
    git(dvc_developer, "add", ".")
    git(dvc_developer, "commit", "--quiet", "-m", "rows")
    git(dvc_developer, "push", "--quiet", "origin", "HEAD:main")
    with workspace.worktree(pipeline, "main") as tree, pytest.raises(StageError) as caught:
        dvc.reproduce(tree, "train@income")
    assert str(caught.value) == (
        f"data/income/collected/more/new.txt is not in the DVC cache {pipeline.cache}, and could not be "
        "fetched. Run 'dvc push' where the file was added and name that remote in .dvc/config, or let that checkout "
        f"use this cache: dvc config --local cache.dir '{pipeline.cache}'; then run 'dvc commit --force' there."
    )
    for arguments in (("remote", "add", "--default", "shared", str(tmp_path / "shared")), ("push", "--quiet")):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=dvc_developer, check=True, capture_output=True)
    git(dvc_developer, "commit", "--quiet", "-a", "-m", "a remote")
    git(dvc_developer, "push", "--quiet", "origin", "HEAD:main")
    with workspace.worktree(pipeline, "main") as tree:
        dvc.reproduce(tree, "train@income")
        assert (tree / "data/income/collected/more/new.txt").read_text() == "678"


def test_a_failed_stage_is_no_damage(pipeline: Settings) -> None:
    with workspace.worktree(pipeline, "main") as tree:
        (tree / "knob.txt").unlink()
        (tree / "knob.txt").mkdir()
        with pytest.raises(StageError, match="IsADirectoryError"):
            rerun(tree)


def _manifest(settings: Settings) -> Path:
    (found,) = settings.cache.rglob("*.dir")
    return found


def test_a_model_written_by_hand_needs_no_empty_folders(pipeline: Settings) -> None:
    """Git keeps no empty folder, so that of rows collected in production is not there before the first of them."""
    with workspace.worktree(pipeline, "main") as tree:
        config = tree / "deployments/models/wages/model.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.touch()
        ask = "import os; open('data/seen.txt', 'w').write(str(os.listdir('data/wages/collected')))"
        stage = {"cmd": f'python -c "{ask}"', "deps": ["data/wages/collected"], "outs": ["data/seen.txt"]}
        (tree / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES | {"look": stage}}))
        assert not (tree / "data/wages").exists()
        dvc.reproduce(tree, "look")
        assert (tree / "data/seen.txt").read_text() == "[]"
