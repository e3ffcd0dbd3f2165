"""YAML of strangers: whatever it holds, it is one sentence with its line, soon, and in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.records.repository.declared import digests, parameters
from tasks.spec.base import load_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.expectations import Expectations

QUOTE = "so quote it if it is text"
MEANT = "so write out what is meant"


def bomb(levels: int) -> str:
    """Ten times as much a level, by aliases."""
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    return text + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, levels))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2026-13-45\n", f", line 2 is not valid YAML: '2026-13-45' cannot be read as timestamp, {QUOTE}"),
        (
            "b: 2001-1-1 99:00:00",
            f", line 1 is not valid YAML: '2001-1-1 99:00:00' cannot be read as timestamp, {QUOTE}",
        ),
        ("2026-13-45: b", f", line 1 is not valid YAML: '2026-13-45' cannot be read as timestamp, {QUOTE}"),
        ("b: !!int x", f", line 1 is not valid YAML: 'x' cannot be read as int, {QUOTE}"),
        ("b: !!int ''", f", line 1 is not valid YAML: '' cannot be read as int, {QUOTE}"),
        ("b: !!float x", f", line 1 is not valid YAML: 'x' cannot be read as float, {QUOTE}"),
        ("b: !!bool x", f", line 1 is not valid YAML: 'x' cannot be read as bool, {QUOTE}"),
        ("b: !!timestamp x", f", line 1 is not valid YAML: 'x' cannot be read as timestamp, {QUOTE}"),
        ("b: 0b_", f", line 1 is not valid YAML: '0b_' cannot be read as int, {QUOTE}"),
        ("b: " + "7" * 5000, f", line 1 is not valid YAML: '{'7' * 37}...' cannot be read as int, {QUOTE}"),
        ("b: !!map [1]", ", line 1 is not valid YAML: expected a mapping node, but found sequence"),
        ("a: 1\nb: \0", ", line 2 is not valid YAML: special characters are not allowed"),
        ("b: &a {c: *a}", f", line 1 is not valid YAML: an alias stands inside its own anchor, {MEANT}"),
        (bomb(9), f", line 1 is not valid YAML: its aliases stand for more than 4,194,304 characters, {MEANT}"),
        (
            "b: " + "[" * 100_000,
            ", line 1 is not valid YAML: it nests more than 60 lists and mappings, so write it flatter",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "expectations.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path, Expectations)
    assert str(caught.value) == f"{path}{said}. Mend that line."
    assert parameters(text) == {}, "whoever compares commits reads it by the quick reader"
    assert digests(f"stages:\n  train@care:\n    {text}\n", "train@care", "outs") == {}


def test_a_file_of_rows_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "expectations.yaml"
    path.write_text("a: " + "x" * (1 << 20))
    with pytest.raises(ConfigError) as caught:
        load_yaml(path, Expectations)
    assert str(caught.value) == (f"{path} has 1,048,579 characters; allowed are 1,048,576. Keep long lists elsewhere.")
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError) as caught:
        load_yaml(path, Expectations)
    assert str(caught.value) == f"{path} cannot be read (Is a directory). Put a file there."


def test_aliases_cost_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(bomb(12) + "monitoring: *a11\n")
    code = """import pathlib, re, sys
from tasks.spec.base import read_yaml
try:
    read_yaml(pathlib.Path(sys.argv[1]))
finally:
    print(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
"""  # its own peak: what getrusage tells begins with that of the process that started it
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False, timeout=60)
    assert "its aliases stand for more than 4,194,304 characters" in done.stderr
    assert int(done.stdout) <= 400 << 10  # kB
