"""Are the records of two systems equal but for commits, digests, times and durations?

    python -m tests.compare_records play CHECKOUT
    python -m tests.compare_records BEFORE AFTER

``play`` runs the demo of a checkout that is set up, with prediction ids from a fixed seed (``tests/fixed_ids``).
BEFORE and AFTER are two checkouts in which it was played: one before a change that is meant to move code only, one
after it. Every verdict, window report and other evidence document of the two ledgers is compared, as JSON, field by
field. Exit 0 where all are equal, 1 where any differs; each difference is printed with its path.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LEDGER = "assay/ledger"
HOME = ".assay/demo"
FIXED_IDS = Path(__file__).parent / "fixed_ids"
CLOCK_GATES = {"readiness"}
"""Gates that measure durations and memory: their numbers differ between two runs of the same code."""
CLOCK_FINDINGS = {"feed"}
"""Findings about when rows arrived."""
MASKS = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<digest>"),
    (re.compile(r"\b[0-9a-f]{40}\b|\b[0-9a-f]{12}\b|\b[0-9a-f]{8}\b"), "<commit>"),
    (re.compile(r"\b\d{8}T\d{6}\b"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|seconds|MiB|rows/s)\b"), "<measured>"),
    (re.compile(r"<commit>-[0-9a-f]{6}\b"), "<commit>-<worktree>"),
)


def play(checkout: Path) -> int:
    """Run the demo of a checkout without schedules, whose runs depend on the clock; gives its exit code."""
    environment = os.environ | {
        "PYTHONPATH": str(FIXED_IDS),
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    }
    return subprocess.run(
        [".venv/bin/python", "-m", "tasks.demo"], cwd=checkout, env=environment, check=False
    ).returncode


def documents(home: Path) -> dict[str, Any]:
    """Every ledger entry of a home with its evidence, by a name that both homes give it."""
    found: dict[str, Any] = {}
    for commit in _git(home, "rev-list", "--reverse", LEDGER).split():
        entry = json.loads(_git(home, "show", f"{commit}:entry.json"))
        if entry.get("evidence"):
            entry["evidence"] = json.loads(_git(home, "show", f"{commit}:evidence.json"))
        window = (entry["evidence"] or {}).get("window", "")
        key = " ".join(str(part) for part in (entry["model"], entry["kind"], entry["version"], window) if part)
        while key in found:
            key += "+"
        found[key] = _masked(entry)
    return found


def _git(home: Path, *arguments: str) -> str:
    command = ["git", "-C", str(home / "origin.git"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _masked(value: Any) -> Any:
    """The document without what differs between two runs of the same code."""
    if isinstance(value, dict):
        if value.get("kind") in CLOCK_GATES and "gate" in value:
            return {"gate": value["gate"], "state": value["state"]}
        if value.get("kind") in CLOCK_FINDINGS and "alarm" in value:
            return {"kind": value["kind"], "subject": value["subject"], "alarm": value["alarm"]}
        return {k: _masked(v) for k, v in value.items() if k not in ("sequence", "previous")}
    if isinstance(value, list):
        return [_masked(v) for v in value]
    if isinstance(value, str):
        for pattern, mask in MASKS:
            value = pattern.sub(mask, value)
    return value


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """One line for each place where two documents differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if key not in before or key not in after:
                yield f"{path}/{key}: only {'before' if key in before else 'after'}"
            else:
                yield from differences(before[key], after[key], f"{path}/{key}")
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{path}: {len(before)} items before, {len(after)} after"
        for i, (a, b) in enumerate(zip(before, after, strict=False)):
            yield from differences(a, b, f"{path}/{i}")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"


def main(before: Path, after: Path) -> int:
    """Print what differs; 0 where nothing does."""
    one, other = documents(before / HOME), documents(after / HOME)
    found = list(differences(one, other))
    print("\n".join(found))
    verdicts = sum("verdict" in (d["evidence"] or {}) for d in one.values())
    reports = sum("findings" in (d["evidence"] or {}) for d in one.values())
    print(f"{len(one)} entries compared, {verdicts} verdicts and {reports} window reports among them: ", end="")
    print(f"{len(found)} differences" if found else "all equal")
    return 1 if found or not one else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {__doc__}")
    if sys.argv[1] == "play":
        sys.exit(play(Path(sys.argv[2]).absolute()))
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
