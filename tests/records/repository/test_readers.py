"""Parameters that DVC hashes as one value and a stage reads as another: they would fill the run cache for others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml as as_dvc_reads

from tasks.checking import check
from tasks.records.repository import readers
from tasks.spec.base import parse_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.settings import Settings
from tests.records.repository.test_hidden_inputs import STAGES, honest, push, refused, rows

ROOT = Path(__file__).parents[3]
__all__ = ["honest"]


@pytest.mark.parametrize(
    "written",
    [
        "020261124", "0o17", "1_000", "1:30", "190:20:30", "0b11", "yes", "No", "on", "OFF", "1e3", "1.5e3", "089",
        "08.5", "0x_1f", "-010", "[1, 0o7]", "{a: {010: 1}}", "{yes: 1, no: 2}", "&x 010", "2001-1-1 1:00:00",
    ],
)  # fmt: skip
def test_a_value_that_dvc_reads_otherwise_is_named(written: str) -> None:
    text = f"seed: {written}\nother: 1\n"
    ours, theirs = parse_yaml(text, "x")["seed"], as_dvc_reads(text, "x")["seed"]
    alike = repr(ours) == repr(theirs)
    found = list(readers.differences(text, "model.yaml"))
    assert len(found) == (not alike), (ours, theirs)
    if not alike:
        assert found[0][0][0] == "seed"
        assert list(readers.differences(text, "model.yaml", {"other"})) == []


def test_shipped_files_are_read_alike() -> None:
    for path in (ROOT / "dvc.yaml", *(ROOT / "deployments").rglob("*.yaml")):
        readers.refuse_differences(path.read_text(), path.name)
    assert list(readers.differences("a: [1.0, .nan, null, ~, true, 'yes', 2026-11-30, -1]\n", "x")) == []
    for text in ("", "# none yet\n\n", "a: 2001-01-01T00:00:00Z\nb: 2001-01-01T00:00:00+02:00\n"):
        assert list(readers.differences(text, "x")) == []


def test_what_only_one_of_them_can_read_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^x cannot be read by DVC \(.*\)\. Mend it\.$"):
        readers.refuse_differences("a: {0x0A: 1, 10: 2}\n", "x")


def test_a_pushed_seed_fills_no_run_cache(honest: Path, settings: Settings) -> None:
    """The branch's stage would split by another seed, and the next honest commit would take what it made."""
    model = "deployments/models/income/model.yaml"
    stages = {"prepare": {**STAGES["prepare"], "params": [{model: ["seed"]}]}}
    text = "name: income\nseed: {}\ngates: [{{mandatory: yes}}]\n"
    push(honest, {"dvc.yaml": yaml.safe_dump({"stages": stages}), model: text.format("020261124")})
    assert refused(settings) == (
        f"{model}: seed is 4285012 to Assay, which reads YAML 1.1, and 20261124 to DVC, which reads YAML 1.2. Write a "
        "number, true or false plainly; quote it if it is text."
    )
    push(honest, {model: text.format("20261124")})  # what no stage reads does not matter
    assert rows(settings) == "honest\nx = 1\n"
    push(honest, {"dvc.yaml": yaml.safe_dump({"stages": stages}) + "vars: [{a: 0o7}]\n"})
    assert refused(settings).startswith("dvc.yaml: vars.0.a is '0o7' to Assay")


def test_check_names_the_line(tmp_path: Path) -> None:
    folder = tmp_path / "deployments/models/income"
    folder.mkdir(parents=True)
    (tmp_path / "deployments/models.yaml").write_text("models: [income]\n")
    (folder / "model.yaml").write_text("name: income\nseed: 020261124\nowner: no\n")
    found = [f for f in check(tmp_path, "income").findings if "DVC" in f.message]
    assert [(f.file, f.line, f.key, f.message[:24], f.wrong) for f in found] == [
        ("deployments/models/income/model.yaml", 2, "seed", "seed is 4285012 to Assay", True)
    ]
